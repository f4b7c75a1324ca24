"""Pruning against slow computations of the published rules."""

import json

import pytest
import torch
from conftest import make_model, make_tokens
from hypothesis import given, settings
from hypothesis import strategies as st

from restorelcc.errors import SettingError
from restorelcc.hf.layout import decoder_layers
from restorelcc.hf.weights import prunable
from restorelcc.progress import finish
from restorelcc.pruning.layerwise import Pruning, prune
from restorelcc.pruning.sparsity import Pattern, lowest, lowest_in_groups, measure_sparsity, named
from restorelcc.text.tokens import Tokens


def pruned(model=None, tokens=None, **choice):
    return finish(prune(model or make_model(), tokens or make_tokens(), Pruning(**choice), "test", batch=4))


def inputs_of(model, tokens, layer, name):
    """[token, input]: what one matrix reads in a plain forward pass over the real tokens."""
    seen = []
    matrix = dict(model.model.layers[layer].named_modules())[name]
    hook = matrix.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model(tokens.ids)
    hook.remove()
    return seen[0][tokens.real]


def wanda_by_hand(weight, inputs, sparsity, pattern):
    """Row by row, weight by weight, as the paper's Algorithm 1 says."""
    result = weight.clone()
    norms = [inputs[:, j].double().square().sum().sqrt() for j in range(weight.shape[1])]
    for i in range(weight.shape[0]):
        score = [abs(float(weight[i, j])) * float(norms[j]) for j in range(weight.shape[1])]
        groups = (
            [(range(weight.shape[1]), round(weight.shape[1] * sparsity))]
            if pattern is None
            else [(range(g, g + pattern.m), pattern.m - pattern.n) for g in range(0, weight.shape[1], pattern.m)]
        )
        for group, count in groups:
            for j in sorted(group, key=lambda j: score[j])[:count]:
                result[i, j] = 0
    return result


@pytest.mark.parametrize("pattern", [None, "2:4", "4:8"])
def test_wanda_layer_by_layer(pattern):
    """Layer k is pruned by inputs that come from pruned layers below it and its own unpruned matrices."""
    tokens = make_tokens(texts=6, length=10)
    half_padded = Tokens(tokens.ids, tokens.real & (torch.arange(10) < 7), tokens.scored & (torch.arange(10) < 7),
                         tokens.scored & (torch.arange(10) < 7))  # fmt: skip
    dense = make_model()
    result = pruned(dense, half_padded, sparsity=0.6, pattern=pattern)
    for layer in range(3):
        so_far = make_model()
        state = {**dense.state_dict()}
        below = tuple(f"model.layers.{index}." for index in range(layer))
        state |= {name: value for name, value in result.state_dict().items() if name.startswith(below)}
        so_far.load_state_dict(state)
        for name, matrix in prunable(dense.model.layers[layer]).items():
            inputs = inputs_of(so_far, half_padded, layer, name)
            rule = Pattern.parse(pattern) if pattern else None
            expected = wanda_by_hand(matrix.weight, inputs, 0.6, rule)
            assert torch.equal(dict(result.model.layers[layer].named_modules())[name].weight, expected), (layer, name)


def test_magnitude_removes_the_smallest_of_every_matrix():
    dense = make_model()
    result = pruned(dense, method="magnitude", sparsity=0.25)
    for layer, twin in zip(decoder_layers(dense), decoder_layers(result), strict=True):
        for name, matrix in prunable(layer).items():
            after = prunable(twin)[name].weight
            gone = after == 0
            assert int(gone.sum()) == round(matrix.weight.numel() * 0.25)
            assert matrix.weight[gone].abs().max() <= matrix.weight[~gone].abs().min()
            assert torch.equal(after[~gone], matrix.weight[~gone])


@pytest.mark.parametrize("method", ["wanda", "magnitude"])
def test_nothing_else_is_touched(method):
    dense = make_model(tie_word_embeddings=True)
    before = {name: value.clone() for name, value in dense.state_dict().items()}
    result = pruned(dense, method=method, sparsity=0.5)
    assert all(torch.equal(value, before[name]) for name, value in dense.state_dict().items())
    for name, value in result.state_dict().items():
        assert torch.equal(value, before[name]) == ("_proj" not in name), name


@pytest.mark.parametrize(("pattern", "sparsity"), [("2:4", 0.5), ("4:8", 0.5), ("1:4", 0.75)])
def test_patterns_hold_everywhere_and_are_named(pattern, sparsity):
    report = measure_sparsity(pruned(pattern=pattern))
    assert report.sparsity == pytest.approx(sparsity)
    assert {matrix.pattern for matrix in report.matrices} == {pattern}
    assert len(report.matrices) == 3 * 7
    table = report.to_pandas()
    assert (table["sparsity"] == sparsity).all()


def test_unstructured_sparsity_has_no_pattern():
    report = measure_sparsity(pruned(sparsity=0.5))
    assert report.sparsity == pytest.approx(0.5, abs=0.01)
    assert {matrix.pattern for matrix in report.matrices} == {""}


def test_the_config_records_how_it_came_about(tmp_path):
    tokens = make_tokens()
    pruned(tokens=tokens, pattern="2:4").save_pretrained(tmp_path)
    record = json.loads((tmp_path / "config.json").read_text())["pruning"]
    assert record["method"] == "wanda"
    assert record["pattern"] == "2:4"
    assert record["sparsity"] == 0.5
    assert record["calibration"] == "test"
    assert record["tokens"] == 96
    assert record["text"] == tokens.digest()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 7), st.integers(0, 1000))
def test_groups_keep_n_of_m(n, seed):
    scores = torch.rand(5, 24, generator=torch.Generator().manual_seed(seed))
    pattern = Pattern(n, 8)
    drop = lowest_in_groups(scores, pattern)
    assert (drop.view(5, 3, 8).sum(-1) == 8 - n).all()
    kept = torch.where(drop, torch.inf, scores).view(5, 3, 8).amin(-1)
    gone = torch.where(drop, scores, -torch.inf).view(5, 3, 8).amax(-1)
    assert (gone <= kept).all()


def test_ties_are_broken_to_the_exact_count():
    assert int(lowest(torch.ones(4, 10), 0.5).sum()) == 20
    assert named(torch.tensor([[0.0, 1, 0, 1]])) == "2:4"
    assert named(torch.tensor([[0.0, 1, 1, 1]])) == ""


@given(st.integers(1, 5), st.integers(1, 40), st.integers(0, 40), st.integers(0, 2**20))
@settings(max_examples=60, deadline=None)
def test_of_equal_scores_the_first_go(rows, width, count, seed):
    """As a stable sort has it, which the published code takes."""
    scores = torch.randint(0, 6, (rows, width), generator=torch.Generator().manual_seed(seed)).float()
    count = min(count, width)
    first = scores.argsort(dim=-1, stable=True)[:, :count]
    assert torch.equal(lowest(scores, count / width), torch.zeros(rows, width).scatter(1, first, 1).bool())


@pytest.mark.parametrize("method", ["wanda", "sparsegpt"])
def test_a_layer_runs_once_for_what_its_matrices_read_and_once_as_it_is_pruned(method, monkeypatch):
    """The first time up to the matrix that reads last, and the last layer not again, since nothing reads on."""
    calls, linear = [], torch.nn.functional.linear
    monkeypatch.setattr(torch.nn.functional, "linear", lambda *args: calls.append(args[1]) or linear(*args))
    dense = make_model()
    pruned(dense, make_tokens(texts=4), method=method, sparsity=0.5)
    assert len(calls) == 6 * 3 + 7 * 2


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ({"sparsity": 1.2}, "share of weights"),
        ({"sparsity": 0.0}, "share of weights"),
        ({"pattern": "3:2"}, "0 < n < m"),
        ({"pattern": "2-4"}, "2:4"),
        ({"method": "chance"}, "wanda, sparsegpt, magnitude"),
    ],
)
def test_nonsense_is_refused(choice, says):
    with pytest.raises(SettingError, match=says):
        Pruning(**choice)


def test_a_pattern_that_does_not_divide_the_rows_is_refused():
    with pytest.raises(SettingError, match="24 inputs"):
        pruned(pattern="3:7")


@pytest.mark.parametrize("sparsity", [0.5, 0.6, 0.65])
def test_wandas_rows_lose_whole_weights_as_in_its_code_and_the_fraction_of_one_stays(sparsity):
    for rounding, count in (
        ("down", lambda width: int(width * sparsity)),
        ("nearest", lambda width: round(width * sparsity)),
    ):
        layer = decoder_layers(pruned(sparsity=sparsity, rounding=rounding))[0]
        for matrix in prunable(layer).values():
            gone = (matrix.weight == 0).sum(1)
            assert (gone == count(matrix.weight.shape[1])).all()
    assert any(int(m.weight.shape[1] * 0.65) != round(m.weight.shape[1] * 0.65) for m in prunable(layer).values())


def test_a_rounding_that_is_none_is_refused():
    with pytest.raises(SettingError, match="down or nearest"):
        Pruning(rounding="up")
