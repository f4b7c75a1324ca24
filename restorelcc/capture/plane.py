"""A flat view of what one head computes and lost: principal components of sampled differences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .statistics import Samples

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Projection:
    """Samples of one head on the first two principal axes of its differences. Activation units."""

    lost: Points
    """[sample, 2] δz."""
    dense: Points
    """[sample, 2] z of the dense model, on the same axes."""
    pruned: Points
    """[sample, 2] z of the pruned model."""
    directions: Points
    """[component, 2] the head's components v_i as they lie in this plane; length 1 where a v_i lies wholly in it."""
    explained: tuple[float, float]
    """Share of the variance of δz about its mean that each axis holds; 0 where there is no variance."""


def project(samples: Samples, directions: Tensor, layer: int, head: int) -> Projection:
    """PCA (scikit-learn) of the sampled differences; directions: [component, d_head] of that head.

    The axes are of the variance *about the mean*, as PCA has them; components are not centred, because a shift of the
    mean is loss too, so the two need not agree. Coordinates are from the activation's own zero, not from the mean.
    """
    from sklearn.decomposition import PCA  # Takes a second to import, and most runs never need it.

    lost = samples.lost[layer, head].double().numpy()
    dense = samples.dense[layer, head].double().numpy()
    with np.errstate(invalid="ignore"):  # A head that lost nothing has no variance to share out: 0 / 0.
        fitted = PCA(n_components=2, svd_solver="full").fit(lost)
    axes = fitted.components_.T
    first, second = np.nan_to_num(fitted.explained_variance_ratio_)
    return Projection(
        lost=lost @ axes,
        dense=dense @ axes,
        pruned=(dense - lost) @ axes,
        directions=directions.double().numpy() @ axes,
        explained=(float(first), float(second)),
    )
