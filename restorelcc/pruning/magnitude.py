"""Magnitude pruning: small weights go. The oldest rule, and it needs no text."""

from torch import Tensor

from .sparsity import Pattern, lowest, lowest_in_groups


def pruned(weight: Tensor, inputs: Tensor | None, sparsity: float, pattern: Pattern | None) -> Tensor:
    """`weight` [output, input] without the smallest |W| of the whole matrix, or of each n:m group."""
    scores = weight.float().abs()
    if pattern is not None:
        return weight.float().masked_fill(lowest_in_groups(scores, pattern), 0)
    return weight.float().masked_fill(lowest(scores.flatten(), sparsity).view_as(weight), 0)
