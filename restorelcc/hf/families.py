"""The families of models that every test of ours runs on; README's list is made from this table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Export = Literal["bias", "llama", "adapter"]
EXPORTS: dict[Export, str] = {
    "bias": "merged into the bias of its output projection",
    "llama": "merged as an equal `LlamaForCausalLM`",
    "adapter": "adapter",
}
"""How a restoration leaves the house, in words."""

Elsewhere = Literal["kept", "dropped", "refused", "unknown", "none"]
ELSEWHERE: dict[Elsewhere, str] = {
    "kept": "kept",
    "dropped": "**dropped**",
    "refused": "refused",
    "unknown": "not known",
    "none": "",
}
"""What another runtime does with a merged bias of the output projection, in words."""
RUNTIMES = {"vllm": "vLLM", "llama_cpp": "llama.cpp"}
"""What the runtimes are called, by the field of `Family`. Known from their source as it was between 2024 and 2026:
vLLM builds the projection with a bias where its file for the family asks the config for one, and its loaders pass over
any other bias; llama.cpp loads what its file for the family lists, and refuses a file with more tensors than that."""


@dataclass(frozen=True)
class Family:
    """Models of one architecture, which `model_type` in their config names."""

    model_type: str
    """As the config names it."""
    name: str
    """As people do."""
    export: Export
    """How a restoration is exported where the config stands in no way."""
    but: str = ""
    """What stands in the way."""
    vllm: Elsewhere = "kept"
    llama_cpp: Elsewhere = "kept"
    """What these do with the merged checkpoint, whose `model_type` may be another: that of what is written."""

    @property
    def exported(self) -> str:
        """How a restoration is exported, in words."""
        return EXPORTS[self.export] + (f"; {self.but}" if self.but else "")

    @property
    def elsewhere(self) -> dict[str, Elsewhere]:
        """What each of `RUNTIMES`, by its name, does with the merged checkpoint."""
        return {name: getattr(self, field) for field, name in RUNTIMES.items()}

    def row(self) -> list[str]:
        """Name, `model_type`, how a restoration is exported, and what each of `RUNTIMES` does: in Markdown."""
        return [
            self.name,
            f"`{self.model_type}`",
            self.exported,
            *(ELSEWHERE[does] for does in self.elsewhere.values()),
        ]


WINDOW = "adapter where it has a sliding window"
FAMILIES: dict[str, Family] = {
    family.model_type: family
    for family in (
        Family("llama", "Llama", "bias"),
        Family("mistral", "Mistral", "llama", WINDOW),
        Family("qwen2", "Qwen2", "llama", WINDOW),
        Family("qwen3", "Qwen3", "bias", vllm="dropped", llama_cpp="refused"),
        Family("gemma2", "Gemma 2", "bias", llama_cpp="refused"),
        Family("gemma3_text", "Gemma 3 (text)", "bias", llama_cpp="refused"),
        Family("phi", "Phi", "bias"),
        Family("phi3", "Phi-3", "llama", f"{WINDOW} or rotates part of a head"),
        Family("opt", "OPT", "bias", llama_cpp="unknown"),
        Family("gpt2", "GPT-2", "bias"),
        Family("gpt_neox", "GPT-NeoX, Pythia", "bias"),
        Family("olmo2", "OLMo 2", "bias", vllm="dropped", llama_cpp="refused"),
        Family("granite", "Granite", "bias"),
        Family("smollm3", "SmolLM3", "bias", llama_cpp="unknown"),
        Family("mixtral", "Mixtral", "adapter", vllm="none", llama_cpp="none"),
        Family("qwen3_moe", "Qwen3-MoE", "bias", vllm="dropped", llama_cpp="refused"),
        Family("gpt_oss", "gpt-oss", "bias"),
    )
}


STARTED = "gemma"
"""In the names of models that were never shown a text without its beginning-of-text token: without it in the window
their perplexity is hundreds to billions. The LM evaluation harness tells them the same way."""


def needs_start(model: PreTrainedModel) -> bool:
    """Whether every window of text must begin with the beginning-of-text token, whatever the tokenizer does."""
    return STARTED in model.config.get_text_config().model_type


def families_table() -> str:
    """README's table, in Markdown."""
    heading = ["family", "`model_type`", "a restoration is exported", *RUNTIMES.values()]
    rows = [family.row() for family in FAMILIES.values()]
    return "\n".join(f"| {' | '.join(row)} |" for row in [heading, ["---"] * len(heading), *rows])
