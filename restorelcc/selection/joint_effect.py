"""What any constants in any heads will do to the loss together, at once, from the pass that scored the heads; and which
components do most together.

Constants c in a set of heads change the mean loss by about g·c + ½ ρ c·F c (see `predicted_effect`), F with its blocks
between heads. With the gradients m of the mean NLL of single texts, c·F c = T Var(m·c) + (E[m]·c)²: so a set costs a
product of its constants with each text's gradients, whatever its size, and no matrix between heads is ever made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..capture.components import LostComponents
from ..evaluation.perplexity import Difference
from .greedy import DAMPING

if TYPE_CHECKING:
    from .predicted_effect import Slopes

SHRUNK = 0.5
"""ρ. Tokens of a text are no independent sample: what heads share, such as a shift of the whole output, moves all of
them alike, so its spread over few texts says too much of the curvature. On the embedded pair half of it foretells the
changes by random sets of heads best; with all of it they rank worse than by their slopes alone."""
MOST_IN_TURN = 4_096
"""Components that are taken in turn; the others follow by what each would add then."""


def together(slopes: Slopes, constants: Tensor) -> Difference:
    """The predicted change of the mean loss with these constants [layer, head, d_head] in place, nats per token;
    negative is better. Its standard error is the slope's, with texts as the sample: what a quadratic misses comes on
    top."""
    change, counts = constants.flatten().float(), slopes.counts.float()
    along = slopes.by_text.flatten(1) @ change / counts
    own = along if slopes.likelihood is slopes.by_text else slopes.likelihood.flatten(1) @ change / counts
    shares = counts / counts.sum()
    slope = float(along @ shares)
    curvature = float(counts.mean() * own.var() + (own @ shares).square())
    return Difference(slope + SHRUNK * curvature / 2, float(along.std()) / len(along) ** 0.5)


class Along:
    """The slope and the curvature of the loss along every component, damped as where many step at once (`greedy`)."""

    def __init__(self, gradient: Tensor, factors: Tensor, floor: Tensor, components: LostComponents) -> None:
        """gradient: [layer, head, d_head] g; factors: [factor, layer, head, d_head] x with F = Σ x xᵀ; floor: [layer,
        head] λ of each head, above 0."""
        directions = components.directions.float()
        self.shape = components.shape
        # [candidate] and [candidate, factor], in units in which λ is 1: what a set wins is ½ h·(I + Y Yᵀ)⁻¹ h then.
        self._unit = (DAMPING * floor).sqrt()[..., None].expand(self.shape).flatten().double()
        self.slope = torch.einsum("lhd,lhid->lhi", gradient, directions).flatten().double() / self._unit
        spread = torch.einsum("tlhd,lhid->lhit", factors, directions).flatten(0, 2).double()
        self.spread = spread / self._unit[:, None]
        self.slope[~components.present[..., None].expand(self.shape).flatten()] = 0

    def in_turn(self, count: int) -> Tensor:
        """[layer, head, component] rank, 0 for the first: each time the component with which all so far win most, at
        whatever magnitudes are best for them together; after `count` (at most `MOST_IN_TURN`) the others, by what each
        alone would add. Time grows with count · components · factors."""
        beyond, turn = self.slope.clone(), 1 + self.spread.square().sum(1)
        inverse, free = torch.eye(self.spread.shape[1]).double(), torch.ones(len(beyond), dtype=torch.bool)
        taken: list[int] = []
        for _ in range(min(count, MOST_IN_TURN, len(beyond))):
            taken.append(chosen := int((beyond.square() / turn).where(free, -1.0).argmax()))
            free[chosen] = False
            # The inverse of I + YᵀY with one more row in closed form (Sherman and Morrison), and with it what is left
            # of every slope beyond those taken, and how much of each step is its own.
            solved = inverse @ self.spread[chosen]
            overlap, own = self.spread @ solved, turn[chosen].clone()
            beyond -= overlap * (beyond[chosen] / own)
            turn -= overlap.square() / own
            inverse -= torch.outer(solved, solved) / own
        others = (beyond.square() / turn).argsort(descending=True, stable=True)
        order = torch.cat([torch.tensor(taken, dtype=torch.long), others[free[others]]])
        rank = torch.empty(len(order), dtype=torch.float64)
        rank[order] = torch.arange(len(order)).double()
        return rank.view(self.shape)

    def best(self, mask: Tensor) -> Tensor:
        """[layer, head, component] β, activation units: the best magnitudes of these components together, 0 elsewhere.
        mask: [layer, head, component] bool."""
        chosen = mask.flatten()
        slope, spread = self.slope[chosen], self.spread[chosen]
        solved = torch.linalg.solve(torch.eye(spread.shape[1]).double() + spread.T @ spread, spread.T @ slope)
        magnitudes = torch.zeros(len(chosen), dtype=torch.float64)
        magnitudes[chosen] = -(slope - spread @ solved) / self._unit[chosen]
        return magnitudes.view(self.shape)
