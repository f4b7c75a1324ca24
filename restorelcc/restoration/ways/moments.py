"""A walk through a copy of the pruned model, a layer at a time, that repairs each linear map from what it reads there
and from the dense model's weight: what methods that are solved for have in common."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ...errors import NotFinite, SettingError
from ...hf.layout import decoder_layers
from ...hf.twins import copied
from ...hf.weights import Matrix, prunable
from ...models.pair import ModelPair
from ...progress import Progress
from ...pruning.inputs import Batch, matrix_inputs
from ...pruning.stream import Stream
from ...text.tokens import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass
class Moments:
    """Of the inputs x of one linear map, over real tokens, float32."""

    mean: Tensor
    """[input] E[x]"""
    second: Tensor
    """[input, input] E[x xᵀ]"""


Repair = Callable[[nn.Module, Tensor, Tensor, Moments], None]
"""Of a linear map, the pruned weight and the dense one [output, input] and its inputs: changes the map in place."""


@torch.no_grad()
def repaired(
    pair: ModelPair, tokens: Tokens, batch: int, what: str, repair: Repair
) -> Generator[Progress, None, PreTrainedModel]:
    """A copy of the pruned model, every linear map of its decoder layers repaired, each by what it reads once all
    layers below are. Raises SettingError where pruning removed heads or channels."""
    if pair.match is not None:
        raise SettingError(f"{what} compares weights one by one, and the pruned model has fewer. Leave it out.")
    model = copied(pair.pruned)
    layers, dense = decoder_layers(model), decoder_layers(pair.dense)
    stream = Stream(model, tokens, batch)
    for index, (layer, whole) in enumerate(zip(layers, dense, strict=True)):
        yield Progress(f"{what}, layer {index + 1} of {len(layers)}", index, len(layers))
        matrices = {name: matrix for name, matrix in prunable(layer).items() if matrix.expert is None}
        wanted = prunable(whole)
        for name, moments in moments_of(layer, matrices, stream.batches()).items():
            matrix = matrices[name]
            repair(matrix.module, matrix.weight, wanted[name].weight.to(matrix.weight), moments)
        stream.advance(layer)
    return model


def moments_of(layer: nn.Module, matrices: Mapping[str, Matrix], batches: Iterable[Batch]) -> dict[str, Moments]:
    """Of what each of a layer's matrices reads while these pass through it; of one that nothing reached none. Raises
    NotFinite."""
    sums: dict[str, Moments] = {}
    counts: dict[str, int] = dict.fromkeys(matrices, 0)
    last: list[Tensor] = []

    def add(name: str, rows: Tensor) -> None:
        if not last or last[0] is not rows:
            wide = rows.float()
            last[:] = [rows, wide.sum(0), wide.T @ wide]
        known = sums.get(name)
        if known is None:
            sums[name] = Moments(last[1].clone(), last[2].clone())
        else:
            known.mean += last[1]
            known.second += last[2]
        counts[name] += len(rows)

    matrix_inputs(layer, matrices, batches, add)
    for name, moments in sums.items():
        if not moments.second.isfinite().all():
            raise NotFinite(f"what {name} reads is infinite or NaN. Use a wider precision.")
        moments.mean /= counts[name]
        moments.second /= counts[name]
    return sums
