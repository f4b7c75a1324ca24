"""Whether another model computes what it is meant to: the difference that something makes, in both, on one batch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import UnsupportedModel
from .layout import context_length, device_of, vocabulary_size

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROUNDING = 16
"""By how many units of its precision the logits of two equal models may differ, as a share of their norm, for having
added in another order: up to 5 were seen, on models of 2 to 30 layers in three precisions."""
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
    plain, wanted, found = plain[there], wanted[there], found[there]
    scale = float(plain.norm())
    change, changed, apart = (float(part.norm()) for part in (wanted - plain, found - plain, found - wanted))
    unit = torch.finfo(model.dtype).eps * scale
    same_size = change == 0 or abs(changed - change) <= 0.05 * change + SAME_SIZE * unit
    if apart > 0.01 * change + ROUNDING * unit or not same_size:
        raise UnsupportedModel(
            f"as {type(twin).__name__} it computes other logits: they should change by {change / scale:.2%} of their "
            f"norm, and change by {changed / scale:.2%}, {apart / scale:.2%} apart."
        )


def _logits(model: PreTrainedModel, ids: Tensor) -> Tensor:
    logits: Tensor = model(ids.to(device_of(model)), use_cache=False).logits
    return logits.double().cpu()
