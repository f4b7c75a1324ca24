"""Biases and norms alone (PERP: Zimmer et al. 2023, arXiv 2312.15230, section 3.1)."""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ...hf.twins import copied
from ...progress import Progress
from .in_model import settle, trained
from .rival import Rival, Task

# The best of three, measured as LoRA's (see `adapters`): 34.2 % nearer at 1e-2, 38.6 % at 3e-2, 35.0 % at 1e-1.
RATE = 3e-2


class Shifted(nn.Module):
    """A parameter with something added in float32."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.added = nn.Parameter(torch.zeros_like(value, dtype=torch.float32))

    def forward(self, value: Tensor) -> Tensor:
        """The sum, in the parameter's own precision."""
        return (value.float() + self.added).to(value.dtype)


def norms(task: Task) -> Generator[Progress, None, Rival]:
    """All vectors among the parameters."""
    model = copied(task.pair.pruned)
    named: dict[str, nn.Parameter] = {}
    for name, value in [(name, value) for name, value in model.named_parameters() if value.ndim == 1]:
        owner, _, leaf = name.rpartition(".")
        shift = Shifted(value)
        parametrize.register_parametrization(model.get_submodule(owner), leaf, shift)
        named[name] = shift.added
    rival = yield from trained(task, model, named, RATE)
    settle(model)
    return rival
