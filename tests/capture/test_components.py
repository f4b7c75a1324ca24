"""Eq. 3 and 4 against torch's SVD and scikit-learn on stored differences."""

import numpy as np
import torch
from conftest import about_the_mean, make_model, make_tokens
from sklearn.decomposition import PCA, TruncatedSVD

from restorelcc.capture.components import components
from restorelcc.capture.statistics import capture
from restorelcc.models.pair import paired
from restorelcc.progress import finish


def stored(statistics, layer, head):
    """[token, d_head] float64: all differences, since the reservoir held every token."""
    assert statistics.samples.lost.shape[2] == statistics.count
    return statistics.samples.lost[layer, head].double()


def test_components_are_the_right_singular_vectors(statistics, lost):
    for layer in range(3):
        for head in range(4):
            differences = stored(statistics, layer, head)
            u, s, vt = torch.linalg.svd(differences, full_matrices=False)
            ours = lost.directions[layer, head]
            signs = (ours * vt).sum(-1).sign()
            torch.testing.assert_close(ours, vt * signs[:, None], rtol=0, atol=1e-5)
            torch.testing.assert_close(lost.variance[layer, head], s**2 / len(differences), rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(lost.energy[layer, head], s**2 / (s**2).sum(), rtol=0, atol=1e-5)
            # Eq. 4 as printed: α_i is the mean over samples of σ_i u_i.
            torch.testing.assert_close(lost.magnitude[layer, head], (u * s).mean(0) * signs, rtol=0, atol=1e-5)


def test_components_agree_with_scikit_learn(statistics, lost):
    differences = stored(statistics, 2, 1).numpy()
    svd = TruncatedSVD(n_components=5, algorithm="arpack").fit(differences)
    ours = lost.directions[2, 1, :5].numpy()
    np.testing.assert_allclose(np.abs((ours * svd.components_).sum(1)), 1, atol=1e-5)
    np.testing.assert_allclose(np.sqrt(lost.variance[2, 1, :5] * len(differences)), svd.singular_values_, atol=1e-5)


def test_centred_components_are_principal_components(statistics):
    differences = stored(statistics, 1, 3).numpy()
    pca = PCA().fit(differences)
    ours = components(about_the_mean(statistics))
    np.testing.assert_allclose(np.abs((ours.directions[1, 3].numpy() * pca.components_).sum(1)), 1, atol=1e-5)
    np.testing.assert_allclose(ours.energy[1, 3], pca.explained_variance_ratio_, atol=1e-5)


def test_full_rank_gives_the_whole_difference_back(statistics, lost):
    differences = statistics.samples.lost.double()
    there_and_back = torch.einsum("lhnd,lhid,lhie->lhne", differences, lost.directions, lost.directions)
    torch.testing.assert_close(there_and_back, differences, rtol=0, atol=1e-9)
    torch.testing.assert_close(lost.constants(lost.magnitude), statistics.mean, rtol=0, atol=1e-9)


def test_directions_are_orthonormal_strongest_first_with_fixed_signs(lost):
    gram = lost.directions @ lost.directions.transpose(-1, -2)
    torch.testing.assert_close(gram, torch.eye(8, dtype=torch.float64).expand_as(gram), rtol=0, atol=1e-9)
    assert (lost.variance.diff(dim=-1) <= 0).all()
    largest = lost.directions.gather(-1, lost.directions.abs().argmax(-1, keepdim=True))
    assert (largest > 0).all()


def test_nothing_lost_is_no_energy_and_not_nan(tokenizer):
    model = make_model()
    statistics = finish(capture(paired(model, model, tokenizer, "a", "a"), make_tokens()))
    lost = components(statistics)
    assert (lost.energy == 0).all()
    assert (lost.magnitude == 0).all()


def test_table_has_a_row_for_every_component(lost):
    table = lost.to_pandas()
    assert len(table) == 3 * 4 * 8
    row = table.query("layer == 1 and head == 2 and component == 3").iloc[0]
    assert row.magnitude == lost.magnitude[1, 2, 3]
