"""Wanda (Sun et al. 2023, arXiv 2306.11695): |W_ij| · ‖X_j‖₂, compared within each output row."""

from torch import Tensor

from .sparsity import Pattern, lowest, lowest_in_groups


def scores(weight: Tensor, norms: Tensor) -> Tensor:
    """[output, input] |W_ij| · ‖X_j‖₂."""
    return weight.float().abs() * norms


def pruned(weight: Tensor, inputs: Tensor | None, sparsity: float, pattern: Pattern | None) -> Tensor:
    """`weight` [output, input] without the lowest scores of every row. inputs: [input] ‖X_j‖₂ over the tokens."""
    if inputs is None:
        raise ValueError("Wanda needs the norms of the inputs.")
    ranks = scores(weight, inputs)
    drop = lowest(ranks, sparsity) if pattern is None else lowest_in_groups(ranks, pattern)
    return weight.float().masked_fill(drop, 0)
