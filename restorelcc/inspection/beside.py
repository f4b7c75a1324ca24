"""Two pairs beside each other, head by head: where one lost more, and whether it is the same heads that lost."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from ..errors import PairMismatch

FEWEST = 3
"""Heads from which on an order can agree with another."""


@dataclass(frozen=True)
class Beside:
    """One measure of the heads of two pairs."""

    first: Tensor
    """[layer, head] float64; NaN where it is not known."""
    second: Tensor
    """[layer, head] float64, of the other pair."""

    @property
    def difference(self) -> Tensor:
        """[layer, head] second − first: above 0 where the second has more."""
        return self.second - self.first

    @property
    def agreement(self) -> float:
        """Spearman's rank correlation of the two over heads; NaN where there is none."""
        return rank_correlation(self.first, self.second)


def beside(first: Tensor, second: Tensor, names: tuple[str, str]) -> Beside:
    """Both [layer, head]; names: what the two pairs are called. Raises PairMismatch where they are of two shapes."""
    check_same_shape(tuple(first.shape), tuple(second.shape), names)
    return Beside(first.double(), second.double())


def check_same_shape(first: tuple[int, ...], second: tuple[int, ...], names: tuple[str, str]) -> None:
    """Of two pairs: layers, heads, and components where they matter. Raises PairMismatch where they differ."""
    if first != second:
        one, other = (
            " of ".join(f"{count} {of}" for count, of in zip(shape, ("layers", "heads", "components"), strict=False))
            for shape in (first, second)
        )
        raise PairMismatch(
            f"{names[0]} has {one}, {names[1]} has {other}: head stands beside head here. Choose a pair of the same "
            "shape."
        )


def rank_correlation(first: Tensor, second: Tensor) -> float:
    """Spearman's, of two tensors of one shape, ties at their mean rank, over where both are finite; NaN where these are
    fewer than `FEWEST` or one of them is constant."""
    known = first.isfinite() & second.isfinite()
    if int(known.sum()) < FEWEST:
        return math.nan
    ranks = [_ranks(values[known].double()) for values in (first, second)]
    centred = [rank - rank.mean() for rank in ranks]
    spread = math.prod(float(rank.square().sum()) for rank in centred) ** 0.5
    return float((centred[0] * centred[1]).sum()) / spread if spread > 0 else math.nan


def _ranks(values: Tensor) -> Tensor:
    """[n] places in ascending order, those of equal values at their mean."""
    _, group, counts = values.unique(return_inverse=True, return_counts=True)
    ends = counts.cumsum(0).double()
    ranks: Tensor = (ends - (counts - 1) / 2)[group]
    return ranks
