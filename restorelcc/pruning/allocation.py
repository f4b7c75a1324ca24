"""How much of a layer goes: as much of each, or less where outliers are many (OWL, Yin et al., arXiv 2310.05175)."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..hf.layout import decoder_layers
from ..hf.weights import prunable
from ..progress import Progress
from ..text.tokens import Tokens
from . import wanda
from .stream import Stream

if TYPE_CHECKING:
    from transformers import PreTrainedModel

OUTLIER = 5.0
"""M: a weight is an outlier where its Wanda score is above so many times the mean of its layer; the authors' value."""
REACH = 0.08
"""λ: no layer's sparsity is further from the target; the authors' value for LLaMA."""


def outlier_share(scores: list[Tensor]) -> float:
    """Share of a layer's weights whose score is above M times the mean of the layer (OWL, Eq. 1), 0 to 1.

    scores: Wanda's, [output, input], of every matrix of the layer.
    """
    weights = sum(matrix.numel() for matrix in scores)
    limit = OUTLIER * sum(float(matrix.double().sum()) for matrix in scores) / weights
    return sum(int((matrix > limit).sum()) for matrix in scores) / weights


def owl(target: float, shares: list[float], weights: list[int]) -> list[float]:
    """Sparsity of every layer: less where the share of outliers is larger, in proportion.

    The mean over weights is exactly `target`; the layer furthest from it is λ away, or half the way to 0 or 1 where
    that is nearer. The authors' code makes the range 2 λ wide instead, wherever the mean then falls in it.
    shares: of outliers, by layer. weights: of each layer.
    """
    size = torch.tensor(weights, dtype=torch.float64)
    share = torch.tensor(shares, dtype=torch.float64)
    offset = share - (share * size).sum() / size.sum()
    furthest = float(offset.abs().max())
    if furthest < 1e-12:  # All the same, but for rounding.
        return [target] * len(shares)
    reach = min(REACH, target / 2, (1 - target) / 2)
    return [target - reach * float(layer) / furthest for layer in offset]


def by_outliers(
    model: PreTrainedModel, tokens: Tokens, target: float, batch: int
) -> Generator[Progress, None, list[float]]:
    """Sparsity of every layer by the outliers among the Wanda scores of the model as it is; yields after each layer."""
    stream, layers = Stream(model, tokens, batch), decoder_layers(model)
    shares, sizes = [], []
    for index, layer in enumerate(layers):
        yield Progress(f"counting outliers of layer {index + 1} of {len(layers)}", index, len(layers))
        matrices = prunable(layer)
        norms = stream.read(layer, matrices, "norms")
        shares.append(outlier_share([wanda.scores(matrix.weight, norms[name]) for name, matrix in matrices.items()]))
        sizes.append(sum(matrix.weight.numel() for matrix in matrices.values()))
        stream.advance(layer)
    return owl(target, shares, sizes)
