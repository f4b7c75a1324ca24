"""Magnitude pruning: small weights go. The oldest rule, and it needs no text."""

from torch import Tensor

from .sparsity import Pattern, lowest, lowest_in_groups

NEEDS_INPUTS = False


def dropped(weight: Tensor, input_norms: Tensor | None, sparsity: float, pattern: Pattern | None) -> Tensor:
    """Bool mask [output, input] of weights to zero: the smallest |W| of the whole matrix, or of each n:m group."""
    scores = weight.float().abs()
    if pattern is not None:
        return lowest_in_groups(scores, pattern)
    return lowest(scores.flatten(), sparsity).view_as(weight)
