"""What is put back: today one constant per head, added to its activation at every position (RestoreLCC, Eq. 5 and 8).

The only file that knows what a compensation is made of; others apply, save, merge and measure it.
A constant c_h added to head h reaches the residual stream as W_O[:, h] c_h, so it is applied and merged as a bias of
the attention output projection: no weight changes, and sparsity stays what it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..capture.components import LostComponents
from ..errors import SettingError, UnsupportedModel
from ..hf.layout import HeadGeometry, geometry, hooked, output_projections
from ..hf.narrow import kept_heads
from ..hf.twins import takes_value_biases, with_output_biases, with_value_biases
from ..hf.weights import weight_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Compensation:
    """One constant per head; zero for heads that are left alone."""

    vectors: Tensor
    """[layer, head, d_head] float32, activation units."""

    @classmethod
    def none(cls, shape: HeadGeometry) -> Compensation:
        """Nothing put back."""
        return cls(torch.zeros(shape.n_layers, shape.n_heads, shape.d_head))

    @property
    def norms(self) -> Tensor:
        """[layer, head] ‖c‖."""
        norms: Tensor = torch.linalg.vector_norm(self.vectors, dim=-1)
        return norms


def injected(components: LostComponents, picks: Tensor) -> Compensation:
    """Eq. 4 without training: c = Σ α_i v_i over the picked components.

    picks: [layer, head, component] bool, or how many times α each is put back with. Raises SettingError.
    """
    if picks.shape != components.energy.shape:
        raise SettingError(
            f"Picks of shape {tuple(picks.shape)} do not fit components {tuple(components.energy.shape)}."
        )
    return Compensation(components.constants(components.magnitude * picks).float())


def own_heads(model: PreTrainedModel, compensation: Compensation) -> Compensation:
    """One constant per head that `model` has, where `compensation` has one per head of the dense model.

    What is put back into heads that pruning removed goes nowhere.
    """
    kept, vectors = kept_heads(model), compensation.vectors
    if kept is None or vectors.shape[:2] == kept.shape or len(vectors) != len(kept) or kept.max() >= vectors.shape[1]:
        return compensation
    return Compensation(vectors[torch.arange(len(kept))[:, None], kept])


def merged(model: PreTrainedModel, compensation: Compensation) -> list[Tensor]:
    """What to add to the bias of every layer's output projection: [d_model] float32, Σ_h W_O[:, h] c_h.

    Differentiable in the compensation. Raises SettingError if it was made for another shape of model.
    """
    shape, compensation = geometry(model), own_heads(model, compensation)
    if compensation.vectors.shape != (shape.n_layers, shape.n_heads, shape.d_head):
        raise SettingError(
            f"The compensation is for [layers, heads, d_head] = {list(compensation.vectors.shape)}, the model has "
            f"[{shape.n_layers}, {shape.n_heads}, {shape.d_head}]. Use it with the model it was made for."
        )
    return [
        weight.float() @ c.to(weight.device)
        for weight, c in zip(map(weight_of, output_projections(model)), compensation.vectors.flatten(1), strict=True)
    ]


@torch.no_grad()
def folded(model: PreTrainedModel, compensation: Compensation) -> PreTrainedModel:
    """An ordinary model that computes what `model` does with the compensation, which is in its biases.

    In those of the output projections; else, where every head has values of its own, in those of the values. Raises
    SettingError as `merged` does, and UnsupportedModel with the reason where neither goes.
    """
    biases = merged(model, compensation)
    try:
        return with_output_biases(model, biases)
    except UnsupportedModel:
        if not takes_value_biases(model):
            raise
        return with_value_biases(model, own_heads(model, compensation).vectors.flatten(1))


@contextmanager
def compensated(model: PreTrainedModel, compensation: Compensation) -> Iterator[None]:
    """Within the `with`, and in this thread only, `model` computes with the compensation added.

    Other threads see the model as it is, or with compensations of their own. Gradients flow to the vectors; after a
    backward pass enter anew. Raises SettingError.
    """
    biases = merged(model, compensation)

    def add(layer: int, inputs: Tensor, output: Tensor) -> Tensor:
        return output + biases[layer].to(output)

    with hooked(output_projections(model), add):
        yield


def attach(model: PreTrainedModel, compensation: Compensation) -> None:
    """Add the compensation to `model` for good and for every thread: only for a model of the caller's own.

    Raises SettingError.
    """
    with torch.no_grad():
        biases = merged(model, compensation)
    for projection, bias in zip(output_projections(model), biases, strict=True):
        projection.register_forward_hook(lambda _, inputs, output, bias=bias: output + bias.to(output))
