"""Sparsity by layer: OWL against its formula, weight by weight, and what must hold of any allocation."""

import pytest
import torch
from conftest import make_model, make_tokens
from hypothesis import given
from hypothesis import strategies as st

from restorelcc.errors import SettingError
from restorelcc.hf.weights import prunable
from restorelcc.progress import finish
from restorelcc.pruning.allocation import OUTLIER, REACH, outlier_share, owl
from restorelcc.pruning.layerwise import Pruning, prune
from restorelcc.pruning.sparsity import measure_sparsity


def test_outliers_are_counted_against_the_mean_of_the_whole_layer():
    generator = torch.Generator().manual_seed(0)
    scores = [torch.rand(*shape, generator=generator).pow(6) for shape in ((5, 7), (3, 4))]
    everything = [float(value) for one in scores for value in one.flatten()]
    mean = sum(everything) / len(everything)
    expected = sum(value > OUTLIER * mean for value in everything) / len(everything)
    assert 0 < expected < 1
    assert outlier_share(scores) == pytest.approx(expected)


layers = st.lists(st.tuples(st.floats(0, 0.2), st.integers(1, 10**6)), min_size=1, max_size=40)


@given(layers, st.floats(0.01, 0.99))
def test_owl_keeps_the_mean_and_its_reach(found, target):
    shares, weights = [share for share, _ in found], [weight for _, weight in found]
    sparsities = owl(target, shares, weights)
    mean = sum(one * weight for one, weight in zip(sparsities, weights, strict=True)) / sum(weights)
    assert mean == pytest.approx(target)
    assert all(0 < one < 1 and abs(one - target) <= REACH + 1e-9 for one in sparsities)
    for a in range(len(found)):
        for b in range(len(found)):
            assert (shares[a] - shares[b]) * (sparsities[a] - sparsities[b]) <= 1e-12


def test_owl_in_numbers():
    assert owl(0.6, [0.01, 0.02, 0.06], [1, 1, 1]) == pytest.approx([0.6 + 0.08 * 2 / 3, 0.6 + 0.08 / 3, 0.6 - 0.08])
    assert owl(0.6, [0.03, 0.03], [1, 2]) == [0.6, 0.6]


@pytest.mark.parametrize("method", ["wanda", "sparsegpt", "magnitude"])
def test_layers_differ_and_the_model_is_as_sparse_as_asked(method):
    """Outliers are of the dense model: by hand, from hooks on a plain forward pass."""
    dense, tokens = make_model(initializer_range=0.02), make_tokens(texts=8, length=20)
    dense.model.layers[1].mlp.up_proj.weight[::5] *= 30  # outliers to find
    shares = []
    for layer in dense.model.layers:
        scores = []
        for name, matrix in prunable(layer).items():
            seen = []
            hook = layer.get_submodule(name).register_forward_pre_hook(lambda _, args: seen.append(args[0]))  # noqa: B023
            dense(tokens.ids)
            hook.remove()
            scores.append(matrix.weight.abs() * seen[0].flatten(0, 1).norm(dim=0))
        shares.append(outlier_share(scores))
    result = finish(prune(dense, tokens, Pruning(method, 0.5, allocation="owl"), batch=3))
    report = measure_sparsity(result).to_pandas().groupby("layer")[["zeros", "weights"]].sum()
    found = (report["zeros"] / report["weights"]).tolist()
    assert found == pytest.approx(owl(0.5, shares, [1, 1, 1]), abs=0.01)
    assert max(found) - min(found) > 0.05
    assert sum(report["zeros"]) / sum(report["weights"]) == pytest.approx(0.5, abs=0.01)
    assert result.config.pruning["allocation"] == "owl"
    assert result.config.pruning["tokens"] == 160


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ({"allocation": "owl", "pattern": "2:4"}, "pattern 2:4 is the same in every layer"),
        ({"allocation": "owl", "method": "structured"}, "structured pruning is the same in every layer"),
        ({"allocation": "luck"}, "uniform or owl"),
    ],
)
def test_nonsense_is_refused(choice, says):
    with pytest.raises(SettingError, match=says):
        Pruning(**choice)
