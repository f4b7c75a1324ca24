"""Surviving weights solved for, one matrix at a time: least squares under the mask."""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor, nn

from ...progress import Progress
from .moments import Moments, repaired
from .rival import Rival, Task

RIDGE = 0.01
"""Of the mean square of the inputs, as the methods that prune by Hessians have it."""
MEMORY = 2**27
"""Numbers of the systems that are solved at once."""


def ridge(task: Task) -> Generator[Progress, None, Rival]:
    """Of every linear map, by what it reads once all layers below are solved."""
    counts: list[int] = []

    def repair(module: nn.Module, weight: Tensor, dense: Tensor, moments: Moments) -> None:
        solved = least_squares(weight.float(), dense.float(), moments.second)
        counts.append(int((weight != 0).sum()))
        weight.copy_(solved.to(weight.dtype))

    model = yield from repaired(task, "solving for weights", repair)
    return Rival(model, sum(counts))


def least_squares(weight: Tensor, dense: Tensor, second: Tensor) -> Tensor:
    """[output, input] with the zeros of `weight`, nearest to `dense`: of every row w the least of
    E|(w − w_dense) x|² + λ‖w − w_pruned‖², λ = 1 % of the inputs' mean square."""
    there = weight != 0
    penalty = RIDGE * second.diagonal().mean().clamp(min=1e-12)
    right = (dense - weight) @ second  # of what is to be added: (G_SS + λ) δ = (G (w_dense − w))_S
    solved = weight.clone()
    rows = max(1, MEMORY // second.numel())
    for start in range(0, len(weight), rows):
        part = there[start : start + rows]
        # Rows of a weight that is zero become rows of the unit matrix, so that all systems are of one size.
        systems = second * part[:, :, None] * part[:, None, :]
        systems.diagonal(dim1=1, dim2=2).add_(torch.where(part, penalty, 1.0))
        wanted = (right[start : start + rows] * part)[..., None]
        solved[start : start + rows] += torch.linalg.solve(systems, wanted).squeeze(-1)
    return solved * there
