"""The inverse Hessian that optimal brain surgeons cut by (Hassibi and Stork 1993; OBC, Frantar and Alistarh 2022)."""

import torch
from torch import Tensor

DAMPING = 0.01
"""Share of the mean diagonal that is added to the diagonal (Frantar and Alistarh 2023)."""


def inverse_factor(hessian: Tensor) -> Tensor:
    """U [input, input], upper triangular, of the inverse of the damped Hessian: (H + λI)⁻¹ = Uᵀ U. float32.

    Row j of U is what the OBS update of column j needs once all columns to its left are settled: U_jj² is [H⁻¹]_jj of
    the Hessian of columns j and later alone, and U_j,k / U_jj its row (SparseGPT, section 3.3).
    An input that calibration never saw has λ alone on its diagonal: its weights are the cheapest of their size,
    and move no other. Where nothing at all was seen, H is taken as I, and weights are judged by their size. λ grows
    tenfold until the damped Hessian has a factor.
    """
    hessian = hessian.float()
    mean = hessian.diagonal().mean()
    damping = DAMPING * mean if mean > 0 else mean.new_ones(())
    while True:
        damped = hessian.clone()
        damped.diagonal().add_(damping)
        # H = R Rᵀ with R upper triangular, from the ordinary factor of H read backwards; then H⁻¹ = R⁻ᵀ R⁻¹.
        lower, failed = torch.linalg.cholesky_ex(damped.flip(0, 1))
        # Rounding of float32 may leave a Hessian of inputs that differ much in size with a negative eigenvalue, of at
        # most its trace times the rounding: damped by the trace it is positive for certain.
        if not failed or damping > mean * len(hessian):
            break
        damping = damping * 10
    upper = lower.flip(0, 1)
    unit = torch.eye(len(upper), device=upper.device)
    factor: Tensor = torch.linalg.solve_triangular(upper, unit, upper=True)
    return factor
