"""The components of what each head lost: RestoreLCC's Eq. 3 and 4 for all heads in one batched decomposition.

ΔZ = U Σ Vᵀ over tokens. ΔZᵀΔZ = V Σ² Vᵀ, so the eigenvectors of the second moment are the directions v_i, its
eigenvalues the mean squared activation along them, and α_i = mean(δz) · v_i.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pandas as pd
import torch
from torch import Tensor
from torch.linalg import LinAlgError  # type: ignore[attr-defined]

from .statistics import HeadStatistics


@dataclass(frozen=True)
class LostComponents:
    """What pruning took from every head, strongest direction first. float64."""

    directions: Tensor
    """[layer, head, component, d_head] orthonormal rows v_i; the entry of largest size in each is positive."""
    energy: Tensor
    """[layer, head, component] share of the squared difference along v_i, 0 to 1; sums to 1 over components."""
    variance: Tensor
    """[layer, head, component] mean of (δz · v_i)², squared activation units: σ_i² / N."""
    magnitude: Tensor
    """[layer, head, component] α_i = mean over tokens of δz · v_i (Eq. 4), activation units, signed."""
    present: Tensor
    """[layer, head] bool: False where pruning removed the head, and nothing can be put back into it."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(layers, heads, components per head)."""
        layers, heads, components = self.energy.shape
        return layers, heads, components

    def constants(self, weights: Tensor) -> Tensor:
        """[layer, head, d_head]: Σ_i weights_i v_i, for weights [layer, head, component]."""
        return torch.einsum("lhi,lhid->lhd", weights.to(self.directions), self.directions)

    def scaled(self, factors: Tensor) -> LostComponents:
        """With other magnitudes: α times factors [layer, head, component]."""
        return replace(self, magnitude=self.magnitude * factors.to(self.magnitude))

    def to_pandas(self) -> pd.DataFrame:
        """One row a component: layer, head, component, energy, variance, magnitude."""
        layers, heads, components = self.shape
        grid = torch.cartesian_prod(*(torch.arange(n) for n in (layers, heads, components)))
        frame = pd.DataFrame(grid.numpy(), columns=["layer", "head", "component"])
        return frame.assign(
            energy=self.energy.flatten().numpy(),
            variance=self.variance.flatten().numpy(),
            magnitude=self.magnitude.flatten().numpy(),
        )


def components(statistics: HeadStatistics) -> LostComponents:
    """Decompose what every head lost.

    Signs: the entry of largest size of each direction is made positive, so that two runs agree.
    """
    values, vectors = _eigh(statistics.second_moment)
    variance = values.flip(-1).clamp(min=0)
    directions = vectors.flip(-1).transpose(-1, -2)
    largest = directions.gather(-1, directions.abs().argmax(-1, keepdim=True))
    directions = (directions * torch.where(largest < 0, -1.0, 1.0)).contiguous()
    total = variance.sum(-1, keepdim=True)
    energy = torch.where(total > 0, variance / total.clamp(min=torch.finfo(total.dtype).tiny), 0.0)
    magnitude = torch.einsum("lhd,lhid->lhi", statistics.mean, directions)
    return LostComponents(directions, energy, variance, magnitude, statistics.present)


def _eigh(moments: Tensor) -> tuple[Tensor, Tensor]:
    """(eigenvalues, ascending; eigenvectors as columns) of positive semidefinite matrices [..., n, n]."""
    try:
        return tuple(torch.linalg.eigh(moments))
    except LinAlgError:
        # LAPACK's divide and conquer fails on rare matrices that are nearly singular. Singular vectors of such matrices
        # are eigenvectors too, and are found another way.
        left, values, _ = torch.linalg.svd(moments)
        return values.flip(-1), left.flip(-1)
