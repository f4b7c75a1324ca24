"""What each matrix lost of the mean of its output, as a bias (in the manner of FLAP: An et al. 2023, arXiv 2312.11983,
Eq. 6, whose B₀ = W_removed E[X])."""

from __future__ import annotations

from collections.abc import Generator

from torch import Tensor, nn

from ...progress import Progress
from ..ways.moments import Moments, repaired
from .in_model import with_bias
from .rival import Rival, Task


def mean_bias(task: Task) -> Generator[Progress, None, Rival]:
    """(W_dense − W_pruned) E[x] of every linear map. Where a map has no bias it gets one."""
    added: list[int] = []

    def repair(module: nn.Module, weight: Tensor, dense: Tensor, moments: Moments) -> None:
        bias = with_bias(module)
        bias.copy_(bias.float() + (dense.float() - weight.float()) @ moments.mean)
        added.append(len(bias))

    model = yield from repaired(task.pair, task.tokens, task.batch, "adding means", repair)
    return Rival(model, sum(added))
