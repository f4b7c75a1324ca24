"""What is still lost of every head with something put back."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ..capture.components import LostComponents
from ..capture.head_loss import HeadLoss, head_loss
from ..capture.statistics import capture
from ..compensation.interface import Compensation, compensated
from ..models.pair import ModelPair
from ..progress import Progress
from ..text.tokens import Tokens


@dataclass(frozen=True)
class After:
    """Of every head, measured as before, with what is put back in place in its own layer and all below."""

    loss: HeadLoss
    variance: Tensor
    """[layer, head, component] mean of (δz · v_i)² along the components v_i of what was lost before; squared activation
    units, float64."""


def still_lost(
    pair: ModelPair, tokens: Tokens, lost: LostComponents, back: Compensation
) -> Generator[Progress, None, After]:
    """Both models on `tokens`, the pruned one with `back`; a constant counts as part of the activation that it is added
    to. lost: of the same pair, with nothing put back. Raises SettingError, NotFinite."""
    within = partial(compensated, pair.pruned, back)
    statistics = yield from capture(pair, tokens, samples=0, within=within, added=back.added)
    moment, directions = statistics.second_moment, lost.directions
    return After(head_loss(statistics), torch.einsum("lhid,lhde,lhie->lhi", directions, moment, directions))
