"""Changes of the weights that survived pruning, in the slices of picked heads: the second kind.

Zeros stay zeros, so an ordinary checkpoint carries them at the same cost and in the same places. Only the numbers
that changed are kept: where they go is read from the weights of the pruned model, which are zero everywhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ..errors import SettingError, UnsupportedModel
from ..hf.layout import HeadGeometry
from ..hf.narrow import kept_heads
from ..hf.slices import Reach, Sliced, sliced
from ..hf.twins import with_output_biases, with_weights
from ..hf.weights import value_of, weight_of
from .constants import Constants, merged
from .interface import Change, Compensation

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, eq=False)
class Weights(Compensation):
    """What is added to surviving weights: of the output projection W_O in the columns of picked heads, and of other
    linear maps of their layers. Constants may ride along."""

    output: tuple[Tensor, ...]
    """By layer what is added to W_O: [weight] float32, head after head, of each column after column."""
    counts: Tensor
    """[layer, head of the model] int64: how many of these are each head's; 0 for heads that are left alone."""
    others: Mapping[str, Tensor] = field(default_factory=dict)
    """By the name of another linear map what is added to it: [weight] float32, row after row of those that picked heads
    compute with."""
    heads: Tensor | None = None
    """[layer, head of the model] which of the dense model's heads each is; None where it has them all."""
    n_heads: int = 0
    """Heads a layer of the dense model."""
    constants: Constants | None = None

    kind: ClassVar[str] = "weights"
    made_of: ClassVar[str] = "changes of the weights that survived"
    carried_by: ClassVar[str] = "weights"
    size: ClassVar[tuple[str, str]] = ("‖ΔW_O‖", "units of the weights")

    @classmethod
    def none(cls, shape: HeadGeometry) -> Weights:
        """Nothing put back."""
        counts = torch.zeros(shape.n_layers, shape.n_heads, dtype=torch.int64)
        return cls((torch.zeros(0),) * shape.n_layers, counts, n_heads=shape.n_heads)

    @property
    def norms(self) -> Tensor:
        """[layer, head] Frobenius norm of what is added to the head's slice of W_O."""
        parts = [values.detach().split(row) for values, row in zip(self.output, self.counts.tolist(), strict=True)]
        own = torch.tensor([[float(part.norm()) for part in row] for row in parts])
        if self.heads is None:
            return own
        return torch.zeros(len(own), self.n_heads).scatter(1, self.heads, own)

    @property
    def beside(self) -> Constants | None:
        """The constants that were trained along."""
        return self.constants

    @property
    def added(self) -> Tensor | None:
        """The constants, where there are any."""
        return None if self.constants is None else self.constants.added

    def part(self, layer: int, head: int) -> Weights:
        """The slice of W_O of one head alone, with its constant."""
        own = torch.arange(self.n_heads)[None].expand(len(self.counts), -1) if self.heads is None else self.heads
        chosen = torch.zeros_like(self.counts, dtype=torch.bool)
        chosen[layer] = own[layer] == head
        parts = [values.split(row) for values, row in zip(self.output, self.counts.tolist(), strict=True)]
        output = [torch.cat([p for p, keep in zip(row, keeps, strict=True) if keep] or [row[0][:0]])
                  for row, keeps in zip(parts, chosen.tolist(), strict=True)]  # fmt: skip
        constants = None if self.constants is None else self.constants.part(layer, head)
        return replace(self, output=tuple(output), counts=self.counts * chosen, others={}, constants=constants)

    def own_heads(self, model: PreTrainedModel) -> Weights:
        """By the heads that `model` has: the weights are by those anyway."""
        if kept_heads(model) is None or self.heads is None:
            return self
        constants = None if self.constants is None else self.constants.own_heads(model)
        return replace(self, heads=None, n_heads=self.counts.shape[1], constants=constants)

    def changes(self, model: PreTrainedModel) -> list[tuple[nn.Module, Change]]:
        """What each changed weight adds to the output of its linear map, and the constants' biases."""
        added = [(part.map.module, part.change()) for part in self._parts(model)]
        return [*added, *(self.constants.changes(model) if self.constants is not None else ())]

    def fold(self, model: PreTrainedModel) -> PreTrainedModel:
        """With the weights changed where they are not zero; constants in the biases of output projections."""
        twin = with_weights(model, {part.map.name: part.folded() for part in self._parts(model)})
        # Biases by the weights as they were: that is what `changes` adds.
        return twin if self.constants is None else with_output_biases(twin, merged(model, self.constants))

    def tensors(self) -> dict[str, Tensor]:
        """`output.N` and `other.NAME` [weight] float32, `counts` [layer, head] int64; `heads` and `vectors` where there
        are any. 4 bytes a weight that is trained."""
        found = {f"{OUTPUT}{layer}": values.detach().float() for layer, values in enumerate(self.output)}
        found |= {f"{OTHER}{name}": values.detach().float() for name, values in self.others.items()}
        found["counts"] = self.counts
        if self.heads is not None:
            found["heads"] = self.heads
        return found | ({} if self.constants is None else self.constants.tensors())

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], shape: HeadGeometry, version: int) -> Weights:
        """What `tensors` gave."""
        counts, heads = tensors["counts"], tensors.get("heads")
        output = tuple(tensors[f"{OUTPUT}{layer}"] for layer in range(shape.n_layers))
        others = {name.removeprefix(OTHER): values for name, values in tensors.items() if name.startswith(OTHER)}
        width = shape.n_heads if heads is None else counts.shape[-1]
        if counts.shape != (shape.n_layers, width) or counts.dtype != torch.int64 or bool((counts < 0).any()):
            raise ValueError(f"its counts are {list(counts.shape)} {counts.dtype} for {shape}")
        if counts.sum(1).tolist() != [len(values) for values in output]:
            raise ValueError("it has more or fewer numbers than it counts")
        if heads is not None and (heads.shape != counts.shape or heads.dtype != torch.int64
                                  or not 0 <= int(heads.min()) <= int(heads.max()) < shape.n_heads):  # fmt: skip
            raise ValueError(f"its heads are none of {shape}")
        for values in (*output, *others.values()):
            if values.ndim != 1 or values.dtype != torch.float32 or not torch.isfinite(values).all():
                raise ValueError("some of its numbers are not finite, or no float32 in a row")
        constants = Constants.from_tensors(tensors, shape, 1) if "vectors" in tensors else None
        return cls(output, counts, others, heads, shape.n_heads, constants)

    def _parts(self, model: PreTrainedModel) -> Iterator[Part]:
        """The linear maps of `model` that change, each with what is added. Raises SettingError."""
        reach: Reach = "layer" if self.others else "output"
        layers = sliced(model, reach)
        names = {entry.name for row in layers for entry in row}
        if self.counts.shape != (len(layers), layers[0][0].owners.shape[1]) or not names.issuperset(self.others):
            raise SettingError(
                f"The compensation is for [layers, heads] = {list(self.counts.shape)} of another model than "
                f"{type(model).__name__}. Use it with the model it was made for."
            )
        for layer, row in enumerate(layers):
            picked = self.counts[layer] > 0
            for entry in row:
                values = self.output[layer] if entry.is_output else self.others.get(entry.name)
                if values is not None and len(values):
                    yield Part(entry, picked, values)


OUTPUT, OTHER = "output.", "other."


@dataclass(frozen=True)
class Part:
    """What is added to one linear map of a model."""

    map: Sliced
    picked: Tensor
    """[head] bool"""
    values: Tensor
    """[weight] float32, of the surviving weights of lines that picked heads compute with."""

    def added(self, weight: Tensor) -> Tensor:
        """[line, …] what is added to `weight`, the lines that are taken, with gradients to the values. Raises
        SettingError."""
        there = weight != 0
        if int(there.sum()) != len(self.values):
            raise SettingError(
                f"{self.map.name} has {int(there.sum())} weights where {len(self.values)} were changed: it is of "
                "another model, or was pruned again. Use the compensation with the model it was made for."
            )
        if torch.is_grad_enabled() and self.values.requires_grad:
            return torch.zeros(weight.shape, device=weight.device).masked_scatter(there, self.values.to(weight.device))
        return self.moved(weight).float() - weight.float()

    def moved(self, weight: Tensor) -> Tensor:
        """[line, …] `weight` with the values added, in its own precision. A sum that comes to zero stays the least
        number that is none: zeros are pruned weights, and these are not."""
        there = weight != 0
        sums = weight.float().masked_scatter(there, weight[there].float() + self.values.detach().to(weight.device))
        rounded = sums.to(weight.dtype)
        least = torch.full_like(rounded, torch.finfo(weight.dtype).tiny).copysign(weight)
        return torch.where((rounded == 0) & there, least, rounded)

    def change(self) -> Change:
        """Of the map's output."""
        lines = self.map.taken(self.picked).nonzero().flatten()
        return partial(self._changed, None if len(lines) == len(self.map.owners) else lines)

    def _changed(self, lines: Tensor | None, inputs: Tensor, output: Tensor) -> Tensor:
        weight = self.map.weight
        lines = None if lines is None else lines.to(weight.device)
        added = self.added(weight if lines is None else weight[lines]).to(output.dtype)
        if self.map.is_output:
            return output + linear(inputs if lines is None else inputs[..., lines], added.T)
        more = linear(inputs, added)
        return output + more if lines is None else output.index_add(-1, lines, more)

    def folded(self) -> Tensor:
        """[output, input] the whole weight, changed. Raises UnsupportedModel."""
        if not value_of(self.map.module, "weight").is_floating_point():
            raise UnsupportedModel(f"{self.map.name} is packed, and nothing can be added to its weights.")
        weight = weight_of(self.map.module).detach()
        new, taken = self.map.lines(weight.clone()), self.map.taken(self.picked).to(weight.device)
        new[taken] = self.moved(new[taken])
        return self.map.lines(new)


def survivors(entry: Sliced, picked: Tensor) -> Tensor:
    """[line] how many weights of each line can be trained, where any of `picked` [head] bool computes with it."""
    taken = entry.taken(picked)
    return (entry.weight != 0).sum(1).cpu() * taken
