"""The families of models that every test of ours runs on; README's list is made from this table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Export = Literal["bias", "llama", "adapter"]
EXPORTS: dict[Export, str] = {
    "bias": "merged into the bias of its output projection",
    "llama": "merged as an equal `LlamaForCausalLM`",
    "adapter": "adapter",
}
"""How a restoration leaves the house, in words."""


@dataclass(frozen=True)
class Family:
    """Models of one shape."""

    model_type: str
    """As the config names it."""
    name: str
    """As people do."""
    export: Export
    """How a restoration is exported where the config stands in no way."""
    but: str = ""
    """What stands in the way."""


WINDOW = "adapter where it has a sliding window"
FAMILIES: dict[str, Family] = {
    family.model_type: family
    for family in (
        Family("llama", "Llama", "bias"),
        Family("mistral", "Mistral", "llama", WINDOW),
        Family("qwen2", "Qwen2", "llama", WINDOW),
        Family("qwen3", "Qwen3", "bias"),
        Family("gemma2", "Gemma 2", "bias"),
        Family("gemma3_text", "Gemma 3 (text)", "bias"),
        Family("phi", "Phi", "bias"),
        Family("phi3", "Phi-3", "llama", f"{WINDOW} or rotates part of a head"),
        Family("opt", "OPT", "bias"),
        Family("gpt2", "GPT-2", "bias"),
        Family("gpt_neox", "GPT-NeoX, Pythia", "bias"),
        Family("olmo2", "OLMo 2", "bias"),
        Family("granite", "Granite", "bias"),
        Family("smollm3", "SmolLM3", "bias"),
        Family("mixtral", "Mixtral", "adapter"),
        Family("qwen3_moe", "Qwen3-MoE", "bias"),
        Family("gpt_oss", "gpt-oss", "bias"),
    )
}


def families_table() -> str:
    """README's table, in Markdown."""
    rows = [
        f"| {family.name} | `{family.model_type}` | {EXPORTS[family.export]}{f'; {family.but}' if family.but else ''} |"
        for family in FAMILIES.values()
    ]
    return "\n".join(["| family | `model_type` | a restoration is exported |", "|---|---|---|", *rows])
