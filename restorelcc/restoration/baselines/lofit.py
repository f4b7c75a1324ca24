"""A scale and a bias on what every head puts out (LoFiT: Yin et al. 2024, arXiv 2406.01563, Eq. 2 and 3)."""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ...hf.layout import output_projections
from ...hf.twins import copied
from ...hf.weights import weight_of
from ...progress import Progress
from .in_model import settle, trained, with_bias
from .rival import Rival, Task

# The best of a grid, measured as LoRA's (see `adapters`): 25.1 % nearer at 3e-3, 31.1 % at 1e-2, 31.6 % at 3e-2.
RATE = 3e-2


class Scaled(nn.Module):
    """The weight of an output projection, its input columns times 1 + a."""

    def __init__(self, width: int, transposed: bool) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(width))
        self._transposed = transposed

    def forward(self, weight: Tensor) -> Tensor:
        """In the weight's own precision."""
        factor = 1 + self.scale
        return (weight.float() * (factor[:, None] if self._transposed else factor)).to(weight.dtype)


class HeadBias(nn.Module):
    """The bias of an output projection with W v added."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.vector = nn.Parameter(torch.zeros(weight.shape[1], device=weight.device))
        self._weight = [weight]  # in a list: no part of the model

    def forward(self, bias: Tensor) -> Tensor:
        """In the bias's own precision."""
        return (bias.float() + self._weight[0].float() @ self.vector).to(bias.dtype)


def lofit(task: Task) -> Generator[Progress, None, Rival]:
    """Of every head, so that all methods may reach as far."""
    model = copied(task.pair.pruned)
    named: dict[str, nn.Parameter] = {}
    for layer, projection in enumerate(output_projections(model)):
        weight = weight_of(projection).detach().clone()
        with_bias(projection)
        scaled = Scaled(weight.shape[1], not isinstance(projection, nn.Linear)).to(weight.device)
        shifted = HeadBias(weight)
        parametrize.register_parametrization(projection, "weight", scaled)
        parametrize.register_parametrization(projection, "bias", shifted)
        named |= {f"{layer}.scale": scaled.scale, f"{layer}.vector": shifted.vector}
    rival = yield from trained(task, model, named, RATE)
    settle(model)
    return rival
