"""Whether two models are one before and after pruning, by their weights, and what else than zeros lies between them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from ..errors import PairMismatch, SwappedSides
from ..hf.layout import decoder_layers
from ..hf.weights import embedding_of, prunable

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROWS = 64
"""Of each matrix so many rows are looked at, evenly spread."""
MORE_ZEROS = 0.01
"""By what share of all weights the dense model may have more zeros than the pruned one, for having some by chance."""
UNLIKE = 0.2
"""Cosine between the weights that two states of one model have in common, at the very least: unrelated ones have 0,
SparseGPT at 90 % left 0.92."""
ROUNDING = 0.005
"""What half precision changes in weights, and more: bfloat16 rounds by 0.001 of their size on average."""


@dataclass(frozen=True)
class Likeness:
    """Two models, weight by weight, on a sample of the rows of their matrices and embeddings."""

    dense_zeros: float
    """Share of zeros in the matrices that pruning may touch, 0 to 1."""
    pruned_zeros: float
    changed: float
    """‖W_p − W_d‖ / ‖W_d‖ over the weights that are not zero in the pruned model; of embeddings alone where matrices
    have other shapes."""
    cosine: float
    """Between the same."""


def likeness(dense: PreTrainedModel, pruned: PreTrainedModel) -> Likeness:
    """Float64 sums over a sample; each matrix is looked at on its own, so that models may be spread over places."""
    squares = dict.fromkeys(("dense", "pruned", "both", "gap"), 0.0)
    for ours, theirs in _pairs(dense, pruned):
        there = theirs != 0
        d, p = ours[there].double(), theirs[there].double()
        for name, value in {"dense": d * d, "pruned": p * p, "both": d * p, "gap": (p - d).square()}.items():
            squares[name] += float(value.sum())
    size, norms = squares["dense"], math.sqrt(squares["dense"] * squares["pruned"])
    return Likeness(
        zero_share(dense),
        zero_share(pruned),
        math.sqrt(squares["gap"] / size) if size else 0.0,
        squares["both"] / norms if norms else 0.0,
    )


def _pairs(dense: PreTrainedModel, pruned: PreTrainedModel) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows of the embeddings, and of every matrix that has the same shape in both."""
    ours, theirs = embedding_of(dense), embedding_of(pruned)
    if ours.shape == theirs.shape:
        yield _rows(ours), _rows(theirs).to(ours.device)
    for layer, other_layer in zip(decoder_layers(dense), decoder_layers(pruned), strict=True):
        matrices = prunable(other_layer)
        for name, matrix in prunable(layer).items():
            other = matrices.get(name)
            if other is not None and matrix.weight.shape == other.weight.shape:
                yield _rows(matrix.weight), _rows(other.weight).to(matrix.weight.device)


def _rows(weight: Tensor) -> Tensor:
    """The sample of a matrix: a view."""
    return weight[:: max(1, len(weight) // ROWS)]


def zero_share(model: PreTrainedModel) -> float:
    """Share of zeros in a sample of the weights that pruning may touch, 0 to 1."""
    zeros = count = 0
    for layer in decoder_layers(model):
        for matrix in prunable(layer).values():
            rows = _rows(matrix.weight)
            zeros, count = zeros + int((rows == 0).sum()), count + rows.numel()
    return zeros / max(1, count)


def check_sides(dense: float, pruned: float, dense_name: str, pruned_name: str) -> None:
    """Raises SwappedSides where the model given as the dense one has more zeros, dense and pruned being shares."""
    if dense > pruned + MORE_ZEROS:
        raise SwappedSides(
            f"{dense_name}, given as the dense model, has {dense:.1%} zeros in its weight matrices, and {pruned_name} "
            f"{pruned:.1%}: they are the wrong way round. Give the model with fewer zeros as the dense one."
        )


def judged(found: Likeness, dense_name: str, pruned_name: str, narrower: bool) -> list[str]:
    """What should be said of a pair beside its zeros, a sentence each. Raises PairMismatch where the sides are the
    wrong way round, or are not one model.

    narrower: heads are gone, so that fewer weights need not mean more zeros.
    """
    if not narrower:
        check_sides(found.dense_zeros, found.pruned_zeros, dense_name, pruned_name)
    if found.cosine < UNLIKE:
        raise PairMismatch(
            f"The weights of {dense_name} and {pruned_name} have nothing to do with each other (cosine "
            f"{found.cosine:.2f}), so they are not one model before and after pruning. Give the model that was pruned."
        )
    said = []
    if found.changed == 0 and found.dense_zeros == found.pruned_zeros and not narrower:
        said.append(f"{dense_name} and {pruned_name} hold the same weights: nothing was pruned, so nothing is lost.")
    elif found.pruned_zeros <= found.dense_zeros and not narrower:
        said.append(
            f"{pruned_name} has no more zeros than {dense_name} ({found.pruned_zeros:.1%} against "
            f"{found.dense_zeros:.1%}): what is shown as lost comes of something else than zeros."
        )
    if found.changed > ROUNDING:
        said.append(
            f"Weights that {pruned_name} kept differ from those of {dense_name} by {found.changed:.1%} of their size, "
            "as SparseGPT and training after pruning leave them: what that changes is part of what is shown as lost."
        )
    return said
