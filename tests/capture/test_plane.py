"""The flat view against numpy by hand, and against the components themselves."""

import numpy as np
import pytest
import torch
from conftest import about_the_mean

from restorelcc.capture.components import components
from restorelcc.capture.plane import project
from restorelcc.capture.statistics import Samples


def samples(count=50, seed=0):
    generator = torch.Generator().manual_seed(seed)
    lost, dense = (torch.randn(2, 3, count, 8, generator=generator) * torch.arange(1.0, 9.0) for _ in range(2))
    index = torch.arange(count)
    return Samples(index, index, lost + 5.0, dense, index)  # a shift that centring must take away


def by_hand(values):
    """(axes [2, d_head], share of the variance of each) by an SVD of the centred values."""
    _, singular, axes = np.linalg.svd(values - values.mean(0), full_matrices=False)
    return axes[:2], singular[:2] ** 2 / (singular**2).sum()


def test_coordinates_equal_numpy_by_hand():
    given, eye = samples(), torch.eye(8)
    seen = project(given, eye, 1, 2)
    lost, dense = given.lost[1, 2].double().numpy(), given.dense[1, 2].double().numpy()
    axes, shares = by_hand(lost)
    axes = axes * np.sign((axes * seen.directions.T).sum(1))[:, None]  # an axis may point either way
    np.testing.assert_allclose(seen.lost, lost @ axes.T, atol=1e-9)
    np.testing.assert_allclose(seen.dense, dense @ axes.T, atol=1e-9)
    np.testing.assert_allclose(seen.pruned, (dense - lost) @ axes.T, atol=1e-9)
    np.testing.assert_allclose(seen.directions, axes.T, atol=1e-9)  # of the identity: the axes themselves
    np.testing.assert_allclose(seen.explained, shares)


def test_differences_stay_differences():
    seen = project(samples(), torch.eye(8), 0, 0)
    np.testing.assert_allclose(seen.dense - seen.pruned, seen.lost, atol=1e-9)


def test_axes_are_the_centred_components(statistics):
    """Samples of every token: PCA of them is the decomposition of the centred second moment."""
    centred = components(about_the_mean(statistics))
    for layer, head in ((0, 0), (2, 3)):
        seen = project(statistics.samples, centred.directions[layer, head], layer, head)
        np.testing.assert_allclose(np.abs(seen.directions), np.eye(8)[:, :2], atol=1e-3)
        assert seen.explained == pytest.approx(centred.energy[layer, head, :2].tolist(), rel=1e-3)


def test_a_direction_is_as_long_as_it_lies_in_the_plane():
    given = samples()
    axes, _ = by_hand(given.lost[0, 1].double().numpy())
    inside = (axes[0] + axes[1]) / 2**0.5
    outside = np.linalg.svd(axes)[2][-1]
    seen = project(given, torch.tensor(np.stack([inside, outside])), 0, 1)
    np.testing.assert_allclose(np.linalg.norm(seen.directions, axis=1), [1, 0], atol=1e-9)


def test_a_head_that_lost_nothing_has_nothing_to_explain():
    given = samples()
    nothing = Samples(given.text, given.pos, torch.zeros_like(given.lost), given.dense, given.priority)
    seen = project(nothing, torch.eye(8), 0, 0)
    assert seen.explained == (0.0, 0.0)
    assert not seen.lost.any()
    np.testing.assert_array_equal(seen.dense, seen.pruned)
