"""Training the weights that survived pruning, each towards what the dense model computes; zeros stay zeros."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..capture.components import LostComponents
from ..compensation.weights import Weights, survivors
from ..hf.layout import decoder_layers, layers_with_heads
from ..hf.narrow import kept_heads
from ..hf.slices import Sliced, sliced
from ..hf.weights import prunable, weight_of
from ..models.pair import ModelPair
from ..pruning.inputs import Batch
from ..selection.picks import Selection
from .choices import UNITS, WHERE
from .constants import ConstantParameters, trained_parameters
from .parameters import Parameters, has_moved
from .ways.least_squares import least_squares
from .ways.moments import moments_of

if TYPE_CHECKING:
    from .settings import Settings


class WeightParameters(Parameters):
    """What is added to each surviving weight of picked heads, in float32; constants beside them on request."""

    def __init__(
        self,
        pair: ModelPair,
        components: LostComponents,
        selection: Selection,
        settings: Settings,
        generator: torch.Generator,
    ) -> None:
        picked, self._heads = _own_picks(pair, selection)
        self._n_heads = selection.shape[1]
        layers = sliced(pair.pruned, WHERE[settings.where].reach)
        self._counts = torch.stack([_by_head(row[0], heads) for row, heads in zip(layers, picked, strict=True)])
        self.scales = []
        self.by_layer: list[dict[str, Tensor]] = []
        """What is added, by the name of its map: of each layer with heads."""
        for row, counts in zip(layers, self._counts, strict=True):
            heads, added = counts > 0, {}
            for entry in row if heads.any() else ():
                added[entry.name] = _zeros(int(survivors(entry, heads).sum())).requires_grad_()
                self.scales.append(UNITS[settings.unit].of_weights(entry.weight, WHERE[settings.where].unit))
            self.by_layer.append(added)
        self._unit = UNITS[settings.unit]
        self._pair, self._layers, self._picked = pair, layers, picked
        self._moving: set[int] = set()
        self.tried = not settings.by_layer  # Of one layer at a time a step is short enough.
        if not settings.by_layer:  # Layer by layer none moves before its turn, and takes no memory.
            self.moving(None)
        self._outputs = [row[0].name for row in layers]
        self._constants = (
            ConstantParameters(pair, components, selection, settings, generator) if settings.constants else None
        )
        self.moved = [values for added in self.by_layer for values in added.values()]
        self.count = sum(len(values) for values in self.moved)
        if self._constants is not None:
            self.moved += self._constants.moved
            self.scales += [1.0] * len(self._constants.moved)
            self.count += self._constants.count

    def together(self, layers: int) -> float:
        """Steps of layers add up in the residual stream."""
        return self._unit.share(layers)

    def moving(self, layers: Collection[int] | None) -> None:
        """See `Parameters`."""
        self._moving = set(range(len(self.by_layer)) if layers is None else layers)
        for layer in self._moving:
            for values in self.by_layer[layer].values():
                values.data = values.data.clone()

    @torch.no_grad()
    def solve(self, layer: int, batches: Iterable[Batch]) -> None:
        """See `Parameters`. What of a matrix belongs to heads that are not picked stays."""
        block = decoder_layers(self._pair.pruned)[layers_with_heads(self._pair.pruned)[layer]]
        entries = {entry.module: entry for entry in self._layers[layer] if entry.name in self.by_layer[layer]}
        matrices = {name: matrix for name, matrix in prunable(block).items() if matrix.module in entries}
        for name, moments in moments_of(block, matrices, batches).items():
            entry, weight = entries[matrices[name].module], matrices[name].weight
            taken = entry.taken(self._picked[layer]).to(weight.device)
            dense = weight_of(self._pair.dense.get_submodule(entry.name)).to(weight.device)
            solved = least_squares(weight.float(), dense.float(), moments.second, entry.lines(taken[:, None]))
            there = entry.lines(weight)[taken] != 0
            self.by_layer[layer][entry.name].data = entry.lines(solved - weight.float())[taken][there].cpu()

    def compensation(self) -> Weights:
        """What they add to each weight."""
        added: dict[str, Tensor] = {}
        begun = torch.tensor([all(map(has_moved, row.values())) for row in self.by_layer])
        for layer, row in enumerate(self.by_layer):
            for name, values in row.items() if begun[layer] else ():
                if not torch.is_grad_enabled():
                    values = values.detach().clone() if layer in self._moving else values.detach()
                added[name] = values
        return Weights(
            output=tuple(added.pop(name, torch.zeros(0)) for name in self._outputs),
            counts=self._counts * begun[:, None],
            others=added,
            heads=self._heads,
            n_heads=self._n_heads,
            constants=None if self._constants is None else self._constants.compensation(),
        )

    def tensors(self) -> dict[str, Tensor]:
        """Of the constants beside them what `ConstantParameters` gives; of weights all is in the compensation."""
        return {} if self._constants is None else self._constants.tensors()


def _zeros(count: int) -> Tensor:
    """So many zeros in the memory of one, until they move."""
    return torch.zeros(1).expand(count)


def _own_picks(pair: ModelPair, selection: Selection) -> tuple[Tensor, Tensor | None]:
    """[layer, head of the pruned model] whether a head is picked, and which of the dense model's heads each is; None
    where it has them all."""
    picked, heads = selection.mask().any(-1), kept_heads(pair.pruned)
    if heads is None or pair.match is None:
        return picked, None
    return picked.gather(1, heads), heads


def _by_head(output: Sliced, picked: Tensor) -> Tensor:
    """[head] how many surviving weights the slice of each picked head has; 0 for others."""
    counts: Tensor = survivors(output, picked).unflatten(0, (len(picked), -1)).sum(1)
    return counts


def counted(pair: ModelPair, selection: Selection, settings: Settings) -> int:
    """How many numbers a training of these settings trains, of picks of heads that are there."""
    constants = trained_parameters(selection, settings, pair.geometry.d_head)
    if settings.kind != "weights":
        return constants
    picked, _ = _own_picks(pair, selection)
    layers = zip(sliced(pair.pruned, WHERE[settings.where].reach), picked, strict=True)
    weights = sum(int(survivors(entry, row).sum()) for entries, row in layers if row.any() for entry in entries)
    return weights + (constants if settings.constants else 0)


def zeros(pair: ModelPair, where: str) -> tuple[int, int] | None:
    """(zeros of the pruned model in the matrices that are trained, of `WHERE`; how many of these are zero in the dense
    model too, so that pruning never took them). All of them stay zero. None where heads are gone: what is left of the
    matrices has another shape."""
    if pair.match is not None:
        return None
    reach = WHERE[where].reach
    both = zip(sliced(pair.dense, reach), sliced(pair.pruned, reach), strict=True)
    counts = torch.zeros(2, dtype=torch.int64)
    for dense, pruned in (entries for rows in both for entries in zip(*rows, strict=True)):
        there = pruned.weight == 0
        counts += torch.tensor([int(there.sum()), int((there & (dense.weight == 0).to(there.device)).sum())])
    return int(counts[0]), int(counts[1])


def unit_of(weight: Tensor, unit: float) -> float:
    """Root mean square of the weights that are not zero, times `unit` (see `Where.unit`): with it the rate that fits
    constants fits them too. Where all are zero, 1."""
    there = int((weight != 0).sum())
    return unit * float(weight.float().square().sum() / there) ** 0.5 if there else 1.0
