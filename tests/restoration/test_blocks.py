"""Layer by layer: each towards the dense model's hidden states, one in memory at a time."""

import threading

import pytest
import torch
from conftest import make_tokens
from families import make_family

from restorelcc.capture.components import components
from restorelcc.capture.statistics import capture
from restorelcc.compensation.constants import Constants
from restorelcc.compensation.interface import compensated, folded
from restorelcc.hf import layout, twins
from restorelcc.hf.families import FAMILIES
from restorelcc.models.pair import paired
from restorelcc.progress import finish
from restorelcc.pruning.layerwise import Pruning, prune
from restorelcc.restoration.settings import Settings
from restorelcc.restoration.state import resume, written
from restorelcc.restoration.training import Training
from restorelcc.restoration.ways.blocks import Blocks
from restorelcc.selection.picks import everything, of_heads

TEXTS = make_tokens(texts=8, seed=5)
QUICK = {"kind": "weights", "where": "all", "steps": 12, "batch": 4, "evaluate_every": 3, "way": "blocks"}


def begun(pair, lost, selection=None, **changes):
    return Training(pair, lost, selection or everything(lost.shape), TEXTS, TEXTS, Settings(**(QUICK | changes)))


class Standing:
    """What would be trained, if it moved."""

    def __init__(self, put_back):
        self.compensation = lambda: put_back


def random_constants(seed=0):
    return Constants(0.3 * torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(seed)))


def given(model, layer):
    """[text, pos, d_model] what a layer gives in the model, by a hook of its own."""
    seen = []
    with layout.decoder_layers(model)[layer].register_forward_hook(lambda _, args, output: seen.append(output)):
        model(TEXTS.ids)
    return seen[0][0] if isinstance(seen[0], tuple) else seen[0]


@pytest.mark.parametrize("memory", [2**30, 0])
def test_the_error_of_a_layer_is_that_in_the_restored_model_against_the_dense(pair, memory):
    blocks, put_back = Blocks(pair, TEXTS, [2, 1], 3, memory), random_constants()
    for block, layer in enumerate([1, 2]):
        blocks.enter(block, Standing(put_back))
        with compensated(pair.pruned, put_back):
            ours = given(pair.pruned, layer)
        wanted = given(pair.dense, layer)
        error = ((ours - wanted).square().sum(-1) / wanted.square().sum(-1))[[4, 1, 6]].mean()
        torch.testing.assert_close(blocks.loss(torch.tensor([4, 1, 6]), put_back), error, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["constants", "weights"])
@pytest.mark.parametrize("way", ["blocks", "both"])
def test_it_comes_nearer_to_the_dense_model(pair, lost, kind, way):
    before = {name: value.clone() for name, value in pair.pruned.state_dict().items()}
    training = begun(pair, lost, kind=kind, way=way)
    steps = list(training.steps())
    assert [step.step for step in steps] == list(range(13))
    assert steps[-1].tokens == 12 * 4 * 16
    assert min(step.held_out_loss for step in steps[3::3]) < steps[0].held_out_loss
    assert all(torch.equal(value, before[name]) for name, value in pair.pruned.state_dict().items())


@pytest.mark.parametrize("model_type", FAMILIES)
def test_families(tokenizer, model_type):
    dense = make_family(model_type)
    pair = paired(dense, finish(prune(dense, TEXTS, Pruning())), tokenizer, "dense", "pruned")
    lost = components(finish(capture(pair, TEXTS)))
    blocks = Blocks(pair, TEXTS, [0, 1], 4)
    none, texts = Constants.none(pair.geometry), torch.arange(4)
    errors = []
    for put_back in (none, begun_result(pair, lost)):
        blocks = Blocks(pair, TEXTS, [0, 1], 4)
        blocks.enter(1, Standing(put_back))
        errors.append(float(blocks.loss(texts, put_back)))
    assert errors[1] < errors[0]


def begun_result(pair, lost):
    training = begun(pair, lost, steps=6, evaluate_every=6)
    list(training.steps())
    with torch.no_grad():
        return training.parameters.compensation()


def test_only_one_layer_has_gradients_and_an_optimisers_state(pair, lost):
    training = begun(pair, lost)
    seen = []
    for step in training.steps():
        if step.step:
            held = {id(part) for part in training.optimizer.state}
            seen.append([bool(held & {id(v) for v in row.values()}) for row in training.parameters.by_layer])
    assert seen == [[True, False, False]] * 4 + [[False, True, False]] * 4 + [[False, False, True]] * 4


def test_what_is_done_is_not_copied_and_the_best_stays_what_it_was(pair, lost):
    training = begun(pair, lost, way="both", steps=16, evaluate_every=1)
    kept = []
    for step in training.steps():
        if step.best:
            put_back = training.best.compensation
            kept.append((put_back, {name: part.clone() for name, part in put_back.tensors().items()}))
    assert len(kept) > 3
    for put_back, tensors in kept:
        assert all(torch.equal(part, tensors[name]) for name, part in put_back.tensors().items())
    shared = [put_back.output[0].data_ptr() for put_back, _ in kept[:-1]]
    assert len(set(shared)) < len(shared)


def test_only_layers_with_picked_heads_are_trained(pair, lost):
    training = begun(pair, lost, of_heads(lost.shape, [(0, 1), (2, 3)]))
    list(training.steps())
    twin = folded(pair.pruned, training.result().compensation)
    moved = {
        name.split(".")[2]
        for name, value in twin.state_dict().items()
        if not torch.equal(value, pair.pruned.state_dict()[name])
    }
    assert moved == {"0", "2"}


@pytest.mark.parametrize("stop", [5, 9, 12, 14])
def test_it_goes_on_where_it_stood(pair, lost, stop):
    whole, half, again = (begun(pair, lost, way="both", steps=16, constants=True) for _ in range(3))
    list(whole.steps())
    for step in half.steps():
        if step.step == stop:
            break
    resume(again, written(half))
    list(again.steps())
    ours, theirs = (training.result().compensation.tensors() for training in (whole, again))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_other_threads_go_on_while_what_enters_the_layers_is_read(pair, monkeypatch):
    run, logits = twins.run_until_stop, []

    def meanwhile(model, ids):
        thread = threading.Thread(target=lambda: logits.append(pair.pruned(ids).logits))
        thread.start()
        thread.join()
        run(model, ids)

    monkeypatch.setattr(twins, "run_until_stop", meanwhile)
    _, arguments = twins.layer_inputs(pair.pruned, TEXTS.ids)
    assert torch.equal(logits[0], pair.pruned(TEXTS.ids).logits)
    assert len(arguments) == 3
