"""One constant per head, added to its activation at every position (RestoreLCC, Eq. 5 and 8): the first kind.

A constant c_h added to head h reaches the residual stream as W_O[:, h] c_h, so it is applied and merged as a bias of
the attention output projection: no weight changes, and sparsity stays what it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from ..capture.components import LostComponents
from ..capture.statistics import HeadStatistics
from ..errors import SettingError, UnsupportedModel
from ..hf.layout import HeadGeometry, geometry, output_projections
from ..hf.narrow import kept_heads
from ..hf.twins import takes_value_biases, with_output_biases, with_value_biases
from ..hf.weights import weight_of
from .interface import Change, Compensation

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, eq=False)
class Constants(Compensation):
    """One constant per head; zero for heads that are left alone."""

    vectors: Tensor
    """[layer, head, d_head] float32, activation units."""
    picked: Tensor | None = None
    """[layer, head] bool: the heads that are trained, whose constants may be zero only for now; None: all. It matters
    while gradients are asked for."""

    kind: ClassVar[str] = "constants"
    made_of: ClassVar[str] = "one constant a head"
    carried_by: ClassVar[str] = "biases"
    size: ClassVar[tuple[str, str]] = ("‖c‖", "activation units")

    @classmethod
    def none(cls, shape: HeadGeometry) -> Constants:
        """Nothing put back."""
        return cls(torch.zeros(shape.n_layers, shape.n_heads, shape.d_head))

    @classmethod
    def of_head(cls, shape: HeadGeometry, layer: int, head: int, constant: Tensor) -> Constants:
        """A constant [d_head] for one head, and nothing for the others."""
        vectors = cls.none(shape).vectors
        vectors[layer, head] = constant
        return cls(vectors)

    @classmethod
    def combined(cls, directions: Tensor, beta: Tensor, learned: Tensor, picked: Tensor) -> Constants:
        """Eq. 8: c = Σ β_i v_i + b, with gradients to β and b.

        directions: [layer, head, component, d_head] rows v_i; beta: [layer, head, component]; learned: [layer, head,
        d_head], b; all float32. picked: [layer, head] bool, heads where β or b may be other than zero.
        """
        return cls(torch.einsum("lhi,lhid->lhd", beta, directions) + learned, picked)

    @property
    def norms(self) -> Tensor:
        """[layer, head] ‖c‖."""
        norms: Tensor = torch.linalg.vector_norm(self.vectors, dim=-1)
        return norms

    @property
    def added(self) -> Tensor:
        """The constants."""
        return self.vectors.detach()

    def part(self, layer: int, head: int) -> Constants:
        """The constant of one head, alone."""
        vectors = torch.zeros_like(self.vectors)
        vectors[layer, head] = self.vectors[layer, head]
        return Constants(vectors)

    def own_heads(self, model: PreTrainedModel) -> Constants:
        """One constant per head that `model` has, where here is one per head of the dense model."""
        kept, vectors = kept_heads(model), self.vectors
        if kept is None or vectors.shape[:2] == kept.shape or len(vectors) != len(kept):
            return self
        if kept.max() >= vectors.shape[1]:
            return self
        places = torch.arange(len(kept))[:, None], kept
        return Constants(vectors[places], None if self.picked is None else self.picked[places])

    def changes(self, model: PreTrainedModel) -> list[tuple[nn.Module, Change]]:
        """A bias on the output projections of layers with a constant."""
        if not (self.vectors.requires_grad and torch.is_grad_enabled()):
            return [(projection, partial(_plus, bias)) for projection, bias in self._biases(model) if bias is not None]
        # Gradients need the projection's weight, which is for its own forward pass to hold, and for no other layer's.
        return [(row[0], partial(_plus_written, *row)) for row in self._rows(model) if any(row[2])]

    def fold(self, model: PreTrainedModel) -> PreTrainedModel:
        """With the constants in the biases of the output projections; else, where every head has values of its own, in
        those of the values."""
        try:
            return with_output_biases(model, merged(model, self))
        except UnsupportedModel:
            if not takes_value_biases(model):
                raise
            return with_value_biases(model, self.own_heads(model).vectors.flatten(1))

    def output_biases(self, model: PreTrainedModel) -> dict[str, Tensor]:
        """Those of the output projections of layers with a constant."""
        names = {module: name for name, module in model.named_modules()}
        return {names[projection]: bias for projection, bias in self._biases(model) if bias is not None}

    def tensors(self) -> dict[str, Tensor]:
        """`vectors` [layer, head, d_head]: 4 bytes a number."""
        return {"vectors": self.vectors.detach().float()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], shape: HeadGeometry, version: int) -> Constants:
        """What `tensors` gave."""
        vectors = tensors["vectors"]
        if vectors.shape != (shape.n_layers, shape.n_heads, shape.d_head):
            raise ValueError(f"its vectors are {list(vectors.shape)} for {shape}")
        if not torch.isfinite(vectors).all():
            raise ValueError("some of its vectors are not finite")
        return cls(vectors)

    def _biases(self, model: PreTrainedModel) -> list[tuple[nn.Module, Tensor | None]]:
        """The output projection of every layer with what to add to its bias: [d_model] float32, Σ_h W_O[:, h] c_h over
        the heads that have a constant; None where none has."""
        return [(row[0], _written(*row)) for row in self._rows(model)]

    def _rows(self, model: PreTrainedModel) -> list[tuple[nn.Module, Tensor, list[bool]]]:
        """The output projection of every layer, its constants [head, d_head], and which of them count."""
        shape, own = geometry(model), self.own_heads(model)
        if own.vectors.shape != (shape.n_layers, shape.n_heads, shape.d_head):
            raise SettingError(
                f"The compensation is for [layers, heads, d_head] = {list(own.vectors.shape)}, the model has "
                f"[{shape.n_layers}, {shape.n_heads}, {shape.d_head}]. Use it with the model it was made for."
            )
        return list(zip(output_projections(model), own.vectors, own._counting().tolist(), strict=True))

    def _counting(self) -> Tensor:
        """[layer, head] bool: heads whose constant makes a difference, in the output or in gradients."""
        if not self.vectors.requires_grad:
            return self.vectors.any(-1)
        return torch.ones(self.vectors.shape[:2], dtype=torch.bool) if self.picked is None else self.picked


def injected(components: LostComponents, picks: Tensor) -> Constants:
    """Eq. 4 without training: c = Σ α_i v_i over the picked components.

    picks: [layer, head, component] bool, or how many times α each is put back with. Raises SettingError.
    """
    if picks.shape != components.energy.shape:
        raise SettingError(
            f"Picks of shape {tuple(picks.shape)} do not fit components {tuple(components.energy.shape)}."
        )
    return Constants(components.constants(components.magnitude * picks).float())


def mean_lost(statistics: HeadStatistics, below: int) -> Constants:
    """The mean of what every head lost, in the layers below this one: what all its components inject."""
    means = torch.where(statistics.present[..., None], statistics.mean, 0.0).float()
    means[below:] = 0
    return Constants(means)


def merged(model: PreTrainedModel, constants: Constants) -> list[Tensor]:
    """What to add to the bias of every layer's output projection: [d_model] float32, Σ_h W_O[:, h] c_h.

    Differentiable in the constants. Raises SettingError if they were made for another shape of model.
    """
    nothing = torch.zeros(geometry(model).d_model)
    return [nothing if bias is None else bias for _, bias in constants._biases(model)]


def _written(projection: nn.Module, vectors: Tensor, counting: list[bool]) -> Tensor | None:
    """[d_model] float32: what the constants [head, d_head] of one layer write through its output projection, or None
    where none counts. Only columns of heads that count are read: a weight may be large, and in half precision."""
    heads = [head for head, counts in enumerate(counting) if counts]
    if not heads:
        return None
    columns = weight_of(projection)
    if len(heads) < len(counting):
        columns, vectors = columns.unflatten(1, vectors.shape)[:, heads].flatten(1), vectors[heads]
    return columns.float() @ vectors.flatten().to(columns.device)


def _plus_written(
    projection: nn.Module, vectors: Tensor, counting: list[bool], inputs: Tensor, output: Tensor
) -> Tensor:
    bias = _written(projection, vectors, counting)
    return output if bias is None else _plus(bias, inputs, output)


def _plus(bias: Tensor, _: Tensor, output: Tensor) -> Tensor:
    if bias.requires_grad and output.ndim == 3:
        # Gradients are summed over positions in the model's precision, over texts in the bias's: a sum over all tokens
        # of a batch is beyond what float16 holds.
        bias = bias.expand(len(output), 1, -1)
    return output + bias.to(output)
