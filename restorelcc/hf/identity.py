"""What a model computes, in short: a digest of its weights, and the settings that equal weights may differ in."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .weights import values_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROWS = 16  # of every matrix: a pruned one differs from any other in most
SETTINGS = re.compile(
    r"eps(ilon)?$|^hidden_act(ivation)?$|^activation_function$|rope|rotary|sliding|^layer_types$|softcap|multiplier|"
    r"scal(e|ing|ar)(_|$)|^num_(attention|key_value)_heads$|^head_dim$|bidirectional|norm_before|remove_final|parallel|"
    r"experts_per_tok|topk|swiglu|alibi|clip_qkv|chunk_size"
)
"""Which settings of a config say what is computed with its weights. What only training, sampling or loading looks at
is left out, and so is whatever the shapes of the weights say too."""


def weights_digest(model: PreTrainedModel) -> str:
    """16 hexadecimal digits of every parameter, in order: its shape, and up to 16 rows spread over it, rounded to
    bfloat16 so that they are the same whether loaded in that or in float32. Packed weights count as they are packed."""
    seen = hashlib.sha256()
    for _, values in values_of(model):
        seen.update(repr(tuple(values.shape)).encode())
        seen.update(_sample(values.detach()).view(torch.uint8).numpy().tobytes())
    return seen.hexdigest()[:16]


def _sample(values: Tensor) -> Tensor:
    rows = values.reshape(-1, values.shape[-1]) if values.ndim > 1 else values.reshape(1, -1)
    if len(rows) > ROWS:
        rows = rows[torch.linspace(0, len(rows) - 1, ROWS).round().long().to(rows.device)]
    if rows.is_floating_point():
        rows = rows.to(torch.bfloat16)
    return rows.to("cpu").contiguous()


def settings(model: PreTrainedModel) -> dict[str, Any]:
    """By name, as JSON has them; what is not set is left out."""
    written = model.config.get_text_config().to_dict()
    return {key: value for key, value in sorted(written.items()) if SETTINGS.search(key) and value is not None}


def other_setting(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    """The first setting that both name and that differs; empty where none does. One that only one of them knows is
    that of another version of Transformers."""
    shared = sorted(ours.keys() & theirs.keys())
    return next((key for key in shared if _plain(ours[key]) != _plain(theirs[key])), "")


def _plain(value: Any) -> Any:
    """JSON tells 10000 from 10000.0, and what is computed does not."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items() if part is not None}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return float(value) if isinstance(value, int) else value
