"""Training numbers that live inside a copy of the pruned model, by the loop that trains constants and weights: the same
loss, text, steps, held-out figures and best step."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ...compensation.constants import Constants
from ...hf.layout import HeadGeometry, decoder_layers
from ...hf.weights import prunable, weight_of
from ...progress import Progress
from ..parameters import Parameters
from ..settings import Settings
from ..training import prepared
from .rival import Rival, Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class InModel(Parameters):
    """Parameters of the model itself, so that nothing has to be put back into it."""

    tried = True

    def __init__(self, shape: HeadGeometry, named: Mapping[str, nn.Parameter]) -> None:
        self._shape, self._named = shape, dict(named)
        self.moved = list(self._named.values())
        self.count = sum(part.numel() for part in self.moved)

    def compensation(self) -> Constants:
        """Nothing: the model computes with them as they stand."""
        return Constants.none(self._shape)

    def tensors(self) -> dict[str, Tensor]:
        """By name."""
        return {name: part.detach().clone() for name, part in self._named.items()}

    @torch.no_grad()
    def put(self, tensors: Mapping[str, Tensor]) -> None:
        """Back to where they stood."""
        for name, part in self._named.items():
            part.copy_(tensors[name])


def trained(
    task: Task, model: PreTrainedModel, named: Mapping[str, nn.Parameter], lr: float
) -> Generator[Progress, None, Rival]:
    """Train these parameters of `model`, a copy of the task's pruned one; they end at their best step.

    lr: peak rate of AdamW, in units of the parameters; as of ours, it is lowered where its first step overshoots.
    """
    for part in named.values():
        part.requires_grad_()
    parameters = InModel(task.pair.geometry, named)
    settings = Settings(lr=lr, bounded=True, unit="activation", steps=task.steps, batch=task.batch, seed=task.seed)
    training = yield from prepared(
        replace(task.pair, pruned=model),
        task.lost,
        task.picks,
        task.tokens,
        task.held_out,
        settings,
        parameters=parameters,
    )
    restoration = yield from training.run()
    parameters.put(restoration.trained)
    for part in named.values():
        part.requires_grad_(False)
    return Rival(model, parameters.count, restoration.history[-1].tokens)


def linear_maps(model: PreTrainedModel) -> dict[str, nn.Module]:
    """The linear maps of the decoder layers, by name; experts that share one parameter are left out."""
    names = {module: name for name, module in model.named_modules()}
    matrices = (matrix for layer in decoder_layers(model) for matrix in prunable(layer).values())
    return {names[matrix.module]: matrix.module for matrix in matrices if matrix.expert is None}


def settle(model: PreTrainedModel) -> None:
    """Parametrised weights become ordinary ones, of the values that they had come to."""
    for module in list(model.modules()):
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
    model.requires_grad_(False)


def with_bias(module: nn.Module) -> Tensor:
    """The bias of a linear map; where it has none it gets one of zeros."""
    bias: Tensor | None = getattr(module, "bias", None)
    if bias is None:
        weight = weight_of(module)
        bias = nn.Parameter(weight.new_zeros(len(weight)), requires_grad=False)
        module.bias = bias
    return bias
