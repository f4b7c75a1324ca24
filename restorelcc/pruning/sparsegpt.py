"""SparseGPT (Frantar and Alistarh 2023, arXiv 2301.00774): weights go left to right, and those to the right of one that
went make up for it by the OBS update, so that the output changes least."""

import torch
from torch import Tensor

from .hessian import inverse_factor
from .sparsity import Pattern, lowest, lowest_in_groups

BLOCK = 128
"""Columns whose mask is chosen at once where there is no pattern, and whose updates of later columns are gathered
(B_s and B of the paper, section 3.4)."""


def pruned(weight: Tensor, inputs: Tensor | None, sparsity: float, pattern: Pattern | None) -> Tensor:
    """`weight` [output, input] pruned and updated (the paper's Algorithm 1). inputs: the Hessian [input, input].

    In every block of columns, rows compared with each other, or in every n:m group, the lowest w² / [H⁻¹]_jj go, by
    the weights as they are when the block or group is reached. Columns keep their order.
    """
    if inputs is None:
        raise ValueError("SparseGPT needs the Hessian of the inputs.")
    left = weight.float().clone()
    factor = inverse_factor(inputs)
    size = BLOCK if pattern is None else max(BLOCK - BLOCK % pattern.m, pattern.m)  # No group across two blocks.
    for start in range(0, left.shape[1], size):
        block = slice(start, min(start + size, left.shape[1]))
        errors = _pruned_block(left[:, block], factor[block, block], sparsity, pattern)
        left[:, block.stop :] -= errors @ factor[block, block.stop :]
    return left


def _pruned_block(columns: Tensor, factor: Tensor, sparsity: float, pattern: Pattern | None) -> Tensor:
    """Prune `columns` [output, column] in place; their errors, what later columns are updated by."""
    scales = factor.diagonal().square()
    errors = torch.zeros_like(columns)
    step = columns.shape[1] if pattern is None else pattern.m
    for first in range(0, columns.shape[1], step):
        group = slice(first, first + step)
        scores = columns[:, group].square() / scales[group]
        if pattern is None:
            drop = lowest(scores.flatten(), sparsity).view_as(scores)
        else:
            drop = lowest_in_groups(scores, pattern)
        for offset in range(drop.shape[1]):
            column = first + offset
            errors[:, column] = columns[:, column] * drop[:, offset] / factor[column, column]
            columns[:, column:] -= errors[:, column, None] * factor[column, column:]
            columns[:, column].masked_fill_(drop[:, offset], 0)  # Zero but for rounding already.
    return errors
