"""Wanda (Sun et al. 2023, arXiv 2306.11695): |W_ij| · ‖X_j‖₂, compared within each output row."""

from torch import Tensor

from .sparsity import Pattern, lowest, lowest_in_groups

NEEDS_INPUTS = True


def dropped(weight: Tensor, input_norms: Tensor | None, sparsity: float, pattern: Pattern | None) -> Tensor:
    """Bool mask [output, input] of weights to zero. input_norms: [input] ‖X_j‖₂ over the calibration tokens."""
    if input_norms is None:
        raise ValueError("Wanda needs the norms of the inputs.")
    scores = weight.float().abs() * input_norms.float()
    return lowest(scores, sparsity) if pattern is None else lowest_in_groups(scores, pattern)
