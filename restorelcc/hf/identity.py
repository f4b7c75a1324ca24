"""What a model computes: a digest of its weights, the settings that equal weights may differ in, and whether another
computes what it is meant to."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import UnsupportedModel
from .layout import context_length, device_of, vocabulary_size
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


# --- whether another model computes what it is meant to: the difference that something makes, in both, on one batch ---

ROUNDING = 16
"""By how many units of its precision the logits of two equal models may differ, as a share of their norm, for having
added in another order: up to 5 were seen, on models of 2 to 30 layers in three precisions."""
PIECE = 2**20
"""Logits that are looked at together in float64: of a large vocabulary there are many."""
SAME_SIZE = 2
"""By how many such units the sizes of two equal differences may: rounding adds about as much to either."""


@torch.no_grad()
def check_agreement(
    twin: PreTrainedModel, model: PreTrainedModel, within: Callable[[], AbstractContextManager[None]]
) -> None:
    """Raises UnsupportedModel unless `twin` computes what `model` does within the `with` that `within` enters.

    On 2 texts of 64 random tokens at most, by what it changes: ‖(twin − plain) − (within − plain)‖ may be 1 % of
    ‖within − plain‖ and what rounding explains. As rounding hides much in half precision, but leaves the size of a
    difference as it is, the two sizes must also agree within 5 %: a change that is lost on the way is found out
    wherever it moves the logits by more than twice their precision.
    """
    size = (2, min(64, context_length(model)))
    ids = torch.randint(vocabulary_size(model), size, generator=torch.Generator().manual_seed(0))
    plain = _logits(model, ids)
    with within():
        wanted = _logits(model, ids)
    found = _logits(twin, ids)
    there = plain.isfinite()  # A model may rule tokens out.
    if not there.any() or not all(torch.equal(other.isfinite(), there) for other in (wanted, found)):
        raise UnsupportedModel(
            f"in {model.dtype} not all of its logits are finite, or not those of {type(twin).__name__}, so whether it "
            "computes the same cannot be told. Load it in bfloat16 or float32."
        )
    squares = torch.zeros(4, dtype=torch.float64)
    for some in zip(*(part[there].split(PIECE) for part in (plain, wanted, found)), strict=True):
        before, meant, is_now = (part.double() for part in some)
        sizes = (before, meant - before, is_now - before, is_now - meant)
        squares += torch.stack([part.square().sum() for part in sizes])
    scale, change, changed, apart = squares.sqrt().tolist()
    unit = torch.finfo(model.dtype).eps * scale
    same_size = change == 0 or abs(changed - change) <= 0.05 * change + SAME_SIZE * unit
    if apart > 0.01 * change + ROUNDING * unit or not same_size:
        raise UnsupportedModel(
            f"as {type(twin).__name__} it computes other logits: they should change by {change / scale:.2%} of their "
            f"norm, and change by {changed / scale:.2%}, {apart / scale:.2%} apart."
        )


def _logits(model: PreTrainedModel, ids: Tensor) -> Tensor:
    logits: Tensor = model(ids.to(device_of(model)), use_cache=False).logits
    return logits.cpu()
