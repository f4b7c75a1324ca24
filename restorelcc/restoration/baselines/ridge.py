"""Surviving weights solved for, one matrix at a time: least squares under the mask."""

from __future__ import annotations

from collections.abc import Generator

from torch import Tensor, nn

from ...progress import Progress
from ..ways.least_squares import least_squares
from ..ways.moments import Moments, repaired
from .rival import Rival, Task


def ridge(task: Task) -> Generator[Progress, None, Rival]:
    """Of every linear map, by what it reads once all layers below are solved."""
    counts: list[int] = []

    def repair(module: nn.Module, weight: Tensor, dense: Tensor, moments: Moments) -> None:
        solved = least_squares(weight.float(), dense.float(), moments.second)
        counts.append(int((weight != 0).sum()))
        weight.copy_(solved.to(weight.dtype))

    model = yield from repaired(task.pair, task.tokens, task.batch, "solving for weights", repair)
    return Rival(model, sum(counts))
