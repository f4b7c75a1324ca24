"""Training surviving weights: what is picked moves and nothing else, on pairs of every shape."""

import shlex

import pytest
import torch
from commands import answer
from conftest import make_model, make_tokens, noisy
from families import logits_with, make_family

from restorelcc.capture.components import components
from restorelcc.capture.statistics import capture
from restorelcc.compensation.interface import compensated, folded
from restorelcc.compensation.weights import Weights
from restorelcc.errors import SettingError
from restorelcc.models.pair import paired
from restorelcc.progress import finish
from restorelcc.pruning.layerwise import Pruning, prune
from restorelcc.restoration import training
from restorelcc.restoration.choices import TRAINED, WHAT
from restorelcc.restoration.settings import Settings
from restorelcc.restoration.state import resume, written
from restorelcc.restoration.training import Training
from restorelcc.restoration.ways.least_squares import least_squares
from restorelcc.restoration.weights import zeros
from restorelcc.selection.picks import everything, of_heads

QUICK = {"kind": "weights", "steps": 10, "batch": 4, "evaluate_every": 5}
HEADS = [(0, 1), (2, 3)]


def trained(pair, lost, selection=None, **changes):
    texts = make_tokens(texts=8, seed=5)
    training = Training(pair, lost, selection or everything(lost.shape), texts, texts, Settings(**(QUICK | changes)))
    list(training.steps())
    return training.result()


def changed(pair, restoration):
    """{name of a weight: [output, input] bool, where it changed}."""
    before, after = pair.pruned.state_dict(), folded(pair.pruned, restoration.compensation).state_dict()
    return {name: after[name] != before[name] for name in before if not torch.equal(after[name], before[name])}


def test_what_can_be_chosen_is_what_can_be_trained():
    assert list(WHAT) == list(TRAINED)


@pytest.mark.parametrize("where", ["output", "attention", "all"])
def test_it_comes_nearer_to_the_dense_model_and_leaves_the_pruned_one_alone(pair, lost, where):
    before = {name: value.clone() for name, value in pair.pruned.state_dict().items()}
    restoration = trained(pair, lost, where=where)
    first, *_, last = [step for step in restoration.history if step.held_out_loss is not None]
    assert last.held_out_loss < first.held_out_loss
    assert isinstance(restoration.compensation, Weights)
    assert not any(values.requires_grad for values in restoration.compensation.tensors().values())
    assert all(torch.equal(value, before[name]) for name, value in pair.pruned.state_dict().items())
    moved = changed(pair, restoration)
    assert restoration.trained_parameters == sum(int((before[name] != 0).sum()) for name in moved)


def test_only_surviving_weights_of_picked_heads_move(pair, lost):
    moved = changed(pair, trained(pair, lost, of_heads(lost.shape, HEADS), where="attention"))
    assert {name.split(".")[2] for name in moved} == {"0", "2"}
    assert {name.split(".")[4] for name in moved} == {"o_proj", "q_proj", "k_proj", "v_proj"}
    state = pair.pruned.state_dict()
    for layer, head in HEADS:
        prefix = f"model.layers.{layer}.self_attn"
        own, shared = slice(8 * head, 8 * head + 8), slice(8 * (head // 2), 8 * (head // 2) + 8)
        for name, lines in {"o_proj": (slice(None), own), "q_proj": own, "k_proj": shared, "v_proj": shared}.items():
            key = f"{prefix}.{name}.weight"
            expected = torch.zeros_like(state[key], dtype=torch.bool)
            expected[lines] = True
            assert torch.equal(moved[key], expected & (state[key] != 0))


def test_gradients_reach_surviving_weights_of_picked_heads_and_no_others(pair, lost):
    """As the gradients of the weights themselves have them."""
    texts = make_tokens(texts=4, seed=5)
    settings = Settings(**(QUICK | {"unit": "activation"}))
    training = Training(pair, lost, of_heads(lost.shape, HEADS), texts, texts, settings)
    with compensated(pair.pruned, training.parameters.compensation()):
        pair.pruned(texts.ids).logits.square().mean().backward()
    twin = noisy(pair.dense)
    twin.requires_grad_(True)
    twin(texts.ids).logits.square().mean().backward()
    for (layer, head), values in zip(HEADS, training.parameters.moved, strict=True):
        projection = twin.model.layers[layer].self_attn.o_proj
        own = slice(8 * head, 8 * head + 8)
        there = projection.weight[:, own].T != 0
        torch.testing.assert_close(values.grad, projection.weight.grad[:, own].T[there], rtol=1e-4, atol=1e-7)


def test_constants_beside_them_move_too(pair, lost):
    restoration = trained(pair, lost, constants=True)
    assert restoration.compensation.constants.norms.min() > 0
    assert restoration.trained_parameters == trained(pair, lost).trained_parameters + 3 * 4 * (8 + 8)
    assert restoration.beta.shape == (3, 4, 8)


def test_zeros_of_the_dense_model_are_told_from_pruned_ones_and_stay(pair, tokenizer):
    dense = make_model()
    dense.model.layers[0].self_attn.o_proj.weight[:3] = 0
    pruned = noisy(dense)
    other = paired(dense, pruned, tokenizer, "dense", "pruned")
    weights = [layer.self_attn.o_proj.weight for layer in pruned.model.layers]
    assert zeros(other, "output") == (sum(int((weight == 0).sum()) for weight in weights), 3 * 32)
    assert zeros(pair, "all")[1] == 0
    twin = folded(pruned, trained(other, captured(other)).compensation)
    assert not twin.model.layers[0].self_attn.o_proj.weight[:3].any()


def test_the_more_layers_move_at_once_the_less_each_does(tokenizer):
    dense = make_model(num_hidden_layers=18)
    pair = paired(dense, noisy(dense), tokenizer, "dense", "pruned")
    lost, rates = captured(pair), {}
    for name, heads in {"all": range(18), "some": range(8)}.items():
        picks = of_heads(lost.shape, [(layer, 0) for layer in heads])
        rates[name] = [step.lr for step in trained(pair, lost, picks, steps=3).history]
    assert rates["all"] == pytest.approx([rate * (8 / 18) ** 0.5 for rate in rates["some"]])
    plain = trained(pair, lost, unit="activation", lr=1e-3, steps=3).history
    assert max(step.lr for step in plain) == pytest.approx(1e-3)


def captured(pair):
    return components(finish(capture(pair, make_tokens())))


def test_heads_that_structured_pruning_left(tokenizer):
    dense = make_model()
    narrow = finish(prune(dense, make_tokens(), Pruning("structured", 0.5)))
    pair = paired(dense, narrow, tokenizer, "dense", "narrow")
    lost = captured(pair)
    restoration = trained(pair, lost, where="all")
    first, *_, last = [step for step in restoration.history if step.held_out_loss is not None]
    assert last.held_out_loss < first.held_out_loss
    assert torch.equal(restoration.compensation.norms > 0, pair.present)
    own = restoration.compensation.own_heads(narrow)
    assert own.norms.shape == (3, 2)
    ids = make_tokens().ids
    assert torch.equal(logits_with(narrow, own, ids), logits_with(narrow, restoration.compensation, ids))
    again = Weights.from_tensors(restoration.compensation.tensors(), pair.geometry, 1)
    assert torch.equal(again.norms, restoration.compensation.norms)


@pytest.mark.parametrize("method", ["wanda", "sparsegpt"])
def test_two_of_four_is_kept(tokenizer, method):
    dense = make_model(hidden_size=32)
    pruned = finish(prune(dense, make_tokens(), Pruning(method, pattern="2:4")))
    pair = paired(dense, pruned, tokenizer, "dense", "pruned")
    twin = folded(pruned, trained(pair, captured(pair), where="all").compensation)
    for ours, theirs in zip(twin.parameters(), pruned.parameters(), strict=True):
        assert torch.equal(ours == 0, theirs == 0)


@pytest.mark.parametrize("model_type", ["gpt2", "gpt_neox", "phi3", "gemma2", "qwen3_moe"])
def test_families(tokenizer, model_type):
    dense = make_family(model_type)
    pair = paired(dense, finish(prune(dense, make_tokens(), Pruning())), tokenizer, "dense", "pruned")
    restoration = trained(pair, captured(pair), where="all", steps=5)
    first, *_, last = [step for step in restoration.history if step.held_out_loss is not None]
    assert last.held_out_loss < first.held_out_loss


def test_a_training_goes_on_where_it_stood(pair, lost):
    texts = make_tokens(texts=8, seed=5)
    settings = Settings(**(QUICK | {"where": "all", "constants": True}))
    whole, half = (Training(pair, lost, everything(lost.shape), texts, texts, settings) for _ in range(2))
    list(whole.steps())
    for step in half.steps():
        if step.step == 5:
            break
    again = Training(pair, lost, everything(lost.shape), texts, texts, settings)
    resume(again, written(half))
    list(again.steps())
    ours, theirs = (training.result().compensation.tensors() for training in (whole, again))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_sweep_of_weights_names_them_in_what_restores_the_best(pair_args, tmp_path):
    options = ["--what", "weights", "--where", "attention", "--way", "blocks", "--constants"]
    found = answer("sweep", *pair_args, *options, "--lr", 0.2, "--steps", 4)
    command = shlex.split(found["best"]["kl"])
    given = command[command.index("restore") :]
    again = answer(*[str(tmp_path / "out") if part == "restored" else part for part in given])
    assert [again[name] for name in ("what", "where", "way")] == ["weights", "attention", "blocks"]
    card = (tmp_path / "out" / "README.md").read_text()
    assert "what they read by too" in card
    assert "one layer after the other" in card
    assert again["trained_parameters"] == found["results"][0]["trained_parameters"]
    assert again["restored"]["perplexity"] == pytest.approx(found["results"][0]["perplexity"])


def test_want_of_memory_is_made_up_for_by_computing_anew(pair, lost, monkeypatch):
    plain = trained(pair, lost, where="all")
    monkeypatch.setattr(training, "free_at", lambda device: 1000)
    texts = make_tokens(texts=8, seed=5)
    again = Training(pair, lost, everything(lost.shape), texts, texts, Settings(**(QUICK | {"where": "all"})))
    assert again.recomputes
    list(again.steps())
    for ours, theirs in zip(again.result().history, plain.history, strict=True):
        assert ours.step == 0 or ours.loss == pytest.approx(theirs.loss, rel=1e-3)
    settings = Settings(**(QUICK | {"where": "all", "way": "blocks"}))
    by_layer = Training(pair, lost, everything(lost.shape), texts, texts, settings)
    assert by_layer.memory < again.memory


def test_solving_gives_each_matrix_what_comes_nearest_to_the_dense_one(pair, lost):
    """After the steps that solve, the first layer's output projection is least squares on what it reads; and it comes
    nearer without a single step of the optimiser."""
    texts = make_tokens(texts=8, seed=5)
    settings = Settings(kind="weights", where="all", way="solved", steps=3, batch=4, evaluate_every=1)
    training = Training(pair, lost, everything(lost.shape), texts, texts, settings)
    steps = list(training.steps())
    assert [step.lr for step in steps] == [0.0] * 4
    assert steps[-1].held_out_loss < steps[0].held_out_loss
    assert steps[-1].tokens == 8 * 16 // 3 * 3
    assert not training.optimizer.state
    layer, dense = pair.pruned.model.layers[0].self_attn, pair.dense.model.layers[0].self_attn
    read = []
    with layer.o_proj.register_forward_hook(lambda _, inputs, __: read.append(inputs[0].flatten(0, 1))):
        pair.pruned(texts.ids)
    weight, second = layer.o_proj.weight, read[0].T @ read[0] / len(read[0])
    solved = folded(pair.pruned, training.parameters.compensation()).model.layers[0].self_attn.o_proj.weight
    torch.testing.assert_close(solved, least_squares(weight, dense.o_proj.weight, second), rtol=0, atol=1e-3)
    error = [((other - dense.o_proj.weight) @ read[0].T).square().mean() for other in (weight, solved)]
    assert error[1] < 0.8 * error[0]


def test_solving_moves_picked_heads_alone_and_then_the_network_trains(pair, lost):
    restoration = trained(pair, lost, of_heads(lost.shape, HEADS), way="solved", where="attention", steps=8)
    assert [step.lr > 0 for step in restoration.history] == [False] * 3 + [True] * 6
    moved = changed(pair, restoration)
    for layer, head in HEADS:
        found = moved[f"model.layers.{layer}.self_attn.o_proj.weight"]
        columns = torch.zeros(32, dtype=torch.bool)
        columns[head * 8 : head * 8 + 8] = True
        assert found[:, columns].any()
        assert not found[:, ~columns].any()


def test_what_is_not_solved_for_is_said(pair, lost):
    with pytest.raises(SettingError, match="Constants are not solved for"):
        Settings(way="solved")
