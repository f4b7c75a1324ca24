"""What tensors in a checkpoint are called that no model computes with: some are of no account, others give away how the
file was written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel

OF_NO_ACCOUNT = re.compile(
    r"(^|\.)(rotary_emb\.(inv_freq|original_inv_freq|cos_cached|sin_cached)|rope\.freqs|position_ids|masked_bias"
    r"|causal_mask|_extra_state|num_batches_tracked)$"
)
"""Tables and counters that are computed anew."""
MASK = re.compile(r"(^|\.)attn(\.attention)?\.bias$|(^|\.)(self_)?attention\.bias$")
"""The causal mask of older checkpoints, [1, 1, pos, pos]; a bias of the same name has one axis."""


@dataclass(frozen=True)
class Sign:
    """Names that give away how a checkpoint was written."""

    names: re.Pattern[str]
    are: str
    """What such tensors are, in the plural."""
    remedy: str


SIGNS = (
    Sign(
        re.compile(r"_(mask|orig)$"),
        "weights and masks of torch.nn.utils.prune that were not applied",
        "Call torch.nn.utils.prune.remove on every pruned module, and save again",
    ),
    Sign(
        re.compile(
            r"(^|\.)(lora_[AB]|lora_embedding_[AB]|lora_magnitude_vector|base_layer)(\.|$)|^base_model\.model\."
        ),
        "tensors of a PEFT adapter",
        "Merge it into the model (PeftModel.merge_and_unload), and save the result",
    ),
    Sign(
        re.compile(r"^module\."),
        "tensors of a model saved inside DataParallel",
        "Save model.module instead, or take 'module.' off the names",
    ),
    Sign(
        re.compile(r"^_orig_mod\."),
        "tensors of a model saved inside torch.compile",
        "Save model._orig_mod instead, or take '_orig_mod.' off the names",
    ),
    Sign(
        re.compile(r"_fsdp_wrapped_module|flat_param"), "tensors of a model sharded by FSDP", "Save a full state dict"
    ),
    Sign(
        re.compile(
            r"\.(qweight|qzeros|scales|g_idx|absmax|quant_map|quant_state.*|SCB|weight_scale(_inv)?|weight_packed"
            r"|weight_zero_point|bitmask|row_offsets|compressed)$"
        ),
        "packed weights whose packing the config does not name (quantization_config)",
        "Give the model in half precision, or the config that belongs to it",
    ),
    Sign(
        re.compile(r"^(layers\.\d+\.(attention|feed_forward)\.|tok_embeddings\.|output\.weight$)"),
        "tensors under the names that the authors of Llama and Mistral gave them",
        "Convert them to Transformers' format",
    ),
)


def of_account(shapes: dict[str, Sequence[int]]) -> list[str]:
    """The names among those of a file's tensors, with their shapes, that matter."""
    return sorted(
        name
        for name, shape in shapes.items()
        if not OF_NO_ACCOUNT.search(name) and not (MASK.search(name) and len(shape) != 1)
    )


def sign(names: Iterable[str]) -> tuple[Sign, list[str]] | None:
    """What the names give away, and which do; None where they are like those of any model."""
    names = sorted(names)
    for known in SIGNS:
        seen = [name for name in names if known.names.search(name)]
        if seen:
            return known, seen
    return None


def inside(model: PreTrainedModel, name: str) -> bool:
    """Whether a tensor of this name would stand among the layers of the model, and so be part of what it computes;
    others, such as the head of a reward model, stand beside it."""
    parts = {child for module in (model, model.base_model) for child, _ in module.named_children()}
    return name.partition(".")[0] in parts


def lacks_head(names: Iterable[str], model: PreTrainedModel) -> bool:
    """Whether the unembedding is among `names`, what a file lacks, and the config says that it is none of its own but
    the embedding's."""
    head = model.get_output_embeddings()
    own = next((name for name, module in model.named_modules() if module is head), None)
    return own is not None and f"{own}.weight" in set(names)
