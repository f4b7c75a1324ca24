"""How sparse a model is to become, and how sparse it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from ..errors import SettingError
from ..hf.layout import decoder_layers
from ..hf.weights import prunable

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Pattern:
    """n:m sparsity: at most n of every m consecutive input weights of a row are not zero."""

    n: int
    m: int

    def __post_init__(self) -> None:
        if not 0 < self.n < self.m:
            raise SettingError(
                f"Pattern {self.n}:{self.m} makes no sense: n:m keeps n of every m weights, so 0 < n < m. "
                "Try 2:4 or 4:8."
            )

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """'2:4' and the like. Raises SettingError."""
        match = re.fullmatch(r"(\d+):(\d+)", text.strip())
        if match is None:
            raise SettingError(f"'{text}' is no n:m pattern. Write two numbers, such as 2:4 or 4:8.")
        return cls(int(match[1]), int(match[2]))

    @property
    def sparsity(self) -> float:
        """Share of zeros, 0 to 1."""
        return 1 - self.n / self.m

    def __str__(self) -> str:
        return f"{self.n}:{self.m}"


def lowest_in_groups(scores: Tensor, pattern: Pattern) -> Tensor:
    """Bool mask [row, input]: in every group of m inputs, the m − n of lowest score. Raises SettingError."""
    if scores.shape[-1] % pattern.m:
        raise SettingError(
            f"Pattern {pattern} needs rows that {pattern.m} divides; this model has {scores.shape[-1]} inputs."
        )
    groups: Tensor = scores.unflatten(-1, (-1, pattern.m))
    drop = groups.argsort(dim=-1, stable=True)[..., : pattern.m - pattern.n]
    return torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, drop, True).flatten(-2)


def lowest(scores: Tensor, sparsity: float) -> Tensor:
    """Bool mask of the given share of lowest scores along the last dimension, to the nearest whole weight. Of equal
    scores the first go, as in a stable sort, which takes three times as long."""
    count = round(scores.shape[-1] * sparsity)
    if count == 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    limit = scores.kthvalue(count, dim=-1, keepdim=True).values
    below, at = scores < limit, scores == limit
    left = count - below.sum(-1, keepdim=True)
    return below | (at & (at.cumsum(-1) <= left))


@dataclass(frozen=True)
class MatrixSparsity:
    """Zeros of one weight matrix."""

    layer: int
    matrix: str
    """Name inside the decoder layer: see `weights.prunable`."""
    weights: int
    zeros: int
    pattern: str
    """The n:m pattern that the zeros keep to, or an empty string."""


@dataclass(frozen=True)
class SparsityReport:
    """Zeros of every matrix that pruning may touch: the linear maps and experts of the decoder layers."""

    matrices: tuple[MatrixSparsity, ...]

    @property
    def weights(self) -> int:
        """Weights of all these matrices."""
        return sum(matrix.weights for matrix in self.matrices)

    @property
    def zeros(self) -> int:
        """How many of them are zero."""
        return sum(matrix.zeros for matrix in self.matrices)

    @property
    def sparsity(self) -> float:
        """Share of zeros, 0 to 1."""
        return self.zeros / self.weights

    def to_pandas(self) -> pd.DataFrame:
        """One row a matrix, with its sparsity."""
        frame = pd.DataFrame(self.matrices)
        return frame.assign(sparsity=frame["zeros"] / frame["weights"])


NAMED_PATTERNS = (Pattern(1, 4), Pattern(2, 4), Pattern(4, 8))
"""Strictest first: what papers prune to; GPUs compute 2:4 faster."""


def measure_sparsity(model: PreTrainedModel) -> SparsityReport:
    """Count the zeros, and name the n:m pattern where there is one."""
    return SparsityReport(
        tuple(
            MatrixSparsity(index, name, matrix.weight.numel(), int((matrix.weight == 0).sum()), named(matrix.weight))
            for index, layer in enumerate(decoder_layers(model))
            for name, matrix in prunable(layer).items()
        )
    )


def named(weight: Tensor) -> str:
    """The strictest of the patterns 1:4, 2:4 and 4:8 that `weight` [row, input] keeps to, or an empty string."""
    for pattern in NAMED_PATTERNS:
        if weight.shape[-1] % pattern.m == 0:
            kept: Tensor = (weight != 0).unflatten(-1, (-1, pattern.m)).sum(-1)
            if bool((kept <= pattern.n).all()):
                return str(pattern)
    return ""


def zeros_kept(pruned: PreTrainedModel, other: PreTrainedModel) -> tuple[int, int]:
    """(zeros in the weight matrices of `pruned`'s decoder layers, how many of them are zeros in `other` too, a model of
    the same shape)."""
    zeros = kept = 0
    for ours, theirs in zip(decoder_layers(pruned), decoder_layers(other), strict=True):
        repaired = prunable(theirs)
        for name, matrix in prunable(ours).items():
            there = matrix.weight == 0
            zeros += int(there.sum())
            kept += int((there & (repaired[name].weight == 0)).sum())
    return zeros, kept
