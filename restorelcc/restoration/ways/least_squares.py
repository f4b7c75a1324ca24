"""Surviving weights solved for, one matrix at a time."""

from __future__ import annotations

import torch
from torch import Tensor

RIDGE = 0.01
"""Of the mean square of the inputs, as the methods that prune by Hessians have it."""
ROUNDS, EXACT = 100, 1e-4
"""Of conjugate gradients at most; share of the right-hand side that may be left."""


def least_squares(weight: Tensor, dense: Tensor, second: Tensor, free: Tensor | None = None) -> Tensor:
    """[output, input] with the zeros of `weight`, nearest to `dense` on inputs of E[x xᵀ] = `second`: of every row w
    the least of E|(w − w_dense) x|² + λ‖w − w_pruned‖², λ = 1 % of the inputs' mean square.

    free: [output, input] bool, or what is as one row: what may move; all that is not zero by default.

    All rows at once by conjugate gradients (Hestenes and Stiefel 1952), preconditioned by the diagonal: a round costs
    one product of the matrix's size, where a factor of every row's own system would cost its cube. float32.
    """
    there = weight != 0 if free is None else (weight != 0) & free
    penalty = RIDGE * second.diagonal().mean().clamp(min=1e-12)
    scale = second.diagonal() + penalty
    left = ((dense - weight) @ second) * there  # of (G_SS + λ) δ = (G (w_dense − w))_S what δ does not give yet
    most = left.square().sum(1)
    added, direction = torch.zeros_like(weight), left / scale
    slope = (left * direction).sum(1)
    for _ in range(ROUNDS):
        if bool((left.square().sum(1) <= EXACT**2 * most).all()):
            break
        moved = (direction @ second + penalty * direction) * there
        length = slope / (direction * moved).sum(1).clamp(min=torch.finfo(weight.dtype).tiny)
        added += length[:, None] * direction
        left -= length[:, None] * moved
        conditioned = left / scale
        again = (left * conditioned).sum(1)
        direction = conditioned + (again / slope.clamp(min=torch.finfo(weight.dtype).tiny))[:, None] * direction
        slope = again
    return weight + added * there
