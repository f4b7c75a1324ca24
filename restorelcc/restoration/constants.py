"""Training constants: magnitudes β of the picked components and a learned component b per picked head (Eq. 8)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..capture.components import LostComponents
from ..compensation.constants import Constants
from ..models.pair import ModelPair
from ..selection.picks import Selection
from ..selection.predicted_effect import longest_rate
from ..text.tokens import Tokens
from .choices import STARTS, UNITS, Loss
from .parameters import Parameters

if TYPE_CHECKING:
    from .settings import Settings


class ConstantParameters(Parameters):
    """β and b, held in `Settings.unit`, which makes one rate fit all heads."""

    def __init__(
        self,
        pair: ModelPair,
        components: LostComponents,
        selection: Selection,
        settings: Settings,
        generator: torch.Generator,
    ) -> None:
        self._directions, self._start = components.directions.float(), STARTS[settings.start]
        self._mask = selection.mask()
        self._picked = self._mask.any(-1)
        self._heads = self._picked[..., None] & torch.tensor(settings.learned)
        self._unit = UNITS[settings.unit].of_heads(components)
        self._dtype = getattr(torch, settings.precision)
        self._beta = self._started(components.magnitude.float(), generator)
        self._learned = self._started(torch.zeros_like(self._directions[:, :, 0]), generator)
        self.moved = [self._beta, self._learned] if settings.learned else [self._beta]
        self.count = trained_parameters(selection, settings, self._learned.shape[-1])

    def _started(self, alpha: Tensor, generator: torch.Generator) -> Tensor:
        """Where training begins, in units; `alpha`: the mean of what was lost, in activation units."""
        return (self._start.values(alpha, generator) / self._unit).to(self._dtype).requires_grad_()

    def longest_rate(self, pair: ModelPair, tokens: Tokens, loss: Loss) -> float:
        """By the slope and the curvature along the first step of training; one text shows no curvature."""
        if len(tokens) < 2:
            return math.inf
        return longest_rate(pair, tokens, "kl" if loss.against == "dense" else "ce", self._first_step)

    def _first_step(self, gradient: Tensor) -> Tensor:
        """What Adam's first step at a rate of 1 adds to constants: every β and every b moves by the unit of its head,
        against the sign of its gradient."""
        signs = torch.einsum("lhd,lhid->lhi", gradient, self._directions).sign() * self._mask
        step = torch.einsum("lhi,lhid->lhd", signs, self._directions) + gradient.sign() * self._heads
        return -step * self._unit

    def compensation(self) -> Constants:
        """c = Σ β_i v_i + b."""
        return Constants.combined(self._directions, **self.tensors(), picked=self._picked)

    def tensors(self) -> dict[str, Tensor]:
        """`beta` [layer, head, component], 0 where not picked, and `learned`, b: [layer, head, d_head], 0 where not
        trained; float32, activation units."""
        return {
            "beta": self._beta.float() * self._unit * self._mask,
            "learned": self._learned.float() * self._unit * self._heads,
        }


def trained_parameters(selection: Selection, settings: Settings, d_head: int) -> int:
    """One β a component, and d_head for b of every head with a component."""
    return len(selection) + (len(selection.heads) * d_head if settings.learned else 0)


def lost_units(components: LostComponents) -> Tensor:
    """[layer, head, 1] root mean square over tokens and dimensions of what each head lost, float32.

    A head that lost nothing may still be trained for the others' sake; it steps as the heads do of the layer that lost
    least. Not as the average head: below the first pruned matrix nothing is lost, and activations there are small.
    """
    mean_square = components.variance.mean(-1, keepdim=True).float()
    lost = (mean_square > 0) & components.present[..., None]
    by_layer = (mean_square * lost).sum((1, 2)) / lost.sum((1, 2)).clamp(min=1)
    some = by_layer[by_layer > 0]
    typical = some.min() if len(some) else torch.tensor(torch.finfo(torch.float32).tiny)
    return torch.where(mean_square > 0, mean_square, typical).sqrt()
