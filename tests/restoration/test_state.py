"""A training that was left, kept and taken up again takes the steps that it would have taken."""

import json
from dataclasses import replace
from functools import partial

import pytest
import torch
from conftest import QUICK, curve, make_tokens, quick
from safetensors.torch import load, save

from restorelcc.errors import LoadError, NotFinite
from restorelcc.evaluation.perplexity import measure
from restorelcc.restoration.choices import TRAINED, WAYS
from restorelcc.restoration.state import State, begun, given, resume, written
from restorelcc.restoration.training import Training
from restorelcc.selection.picks import everything, of_heads

pytestmark = pytest.mark.usefixtures("on_one_thread")


@pytest.fixture
def train(pair, lost):
    return partial(quick, pair, lost, selection=of_heads(lost.shape, [(0, 1), (2, 3)]))


def on_disk(training):
    """What is kept of it, through bytes and back."""
    state = written(training)
    return State(load(save(state.tensors)), json.loads(json.dumps(state.facts, allow_nan=False)))


def continued(training):
    """Another training, of what is kept of this one."""
    again = begun(training.pair, load(save(given(training))), training.selection, training.settings)
    resume(again, on_disk(training))
    return again


def same(ours, theirs):
    assert curve(ours) == curve(theirs)
    one, other = ours.result(), theirs.result()
    assert torch.equal(one.compensation.vectors, other.compensation.vectors)
    assert one.trained.keys() == other.trained.keys()
    assert all(torch.equal(one.trained[name], other.trained[name]) for name in one.trained)
    assert (one.best_step, one.ended) == (other.best_step, other.ended)


def left_at(training, step):
    next(each for each in training.steps() if each.step == step)
    return training


@pytest.mark.parametrize("loss", ["kl", "ce"])
@pytest.mark.parametrize("step", range(14))
def test_left_at_any_step_it_goes_on_to_the_last_digit(train, step, loss):
    settings = replace(QUICK, loss=loss, start="noise")
    whole = train(settings)
    list(whole.steps())
    again = continued(left_at(train(settings), step))
    assert [each.step for each in again.steps()] == list(range(step + 1, 14))
    same(again, whole)


def test_left_and_kept_after_every_step(train):
    whole, part = train(), train()
    list(whole.steps())
    for _ in range(14):
        next(part.steps(), None)
        part = continued(part)
    same(part, whole)


def test_before_the_first_step_it_begins(train):
    whole = train()
    list(whole.steps())
    again = continued(train())
    list(again.steps())
    same(again, whole)


def test_patience_and_magnitudes_set_by_hand_go_on_too(train, lost):
    factors = torch.full(lost.shape, 1.5, dtype=torch.float64)
    settings = replace(QUICK, steps=400, lr=9.0, evaluate_every=1, patience=3, start="picked")
    whole = train(settings, magnitudes=factors)
    steps = [step.step for step in whole.steps()]
    assert 3 < len(steps) < 400
    for step in (steps[2], steps[-2], steps[-1]):
        again = continued(left_at(train(settings, magnitudes=factors), step))
        list(again.steps())
        same(again, whole)


@pytest.mark.parametrize(
    ("kind", "way"), [(kind, way) for kind in TRAINED for way in WAYS if kind == "weights" or not WAYS[way].solves]
)
def test_whichever_way_it_goes_through_the_model_it_goes_on(train, kind, way):
    settings = replace(QUICK, way=way, kind=kind, evaluate_every=3)
    whole = train(settings)
    list(whole.steps())
    for step in range(0, 14, 2):
        again = continued(left_at(train(settings), step))
        list(again.steps())
        assert curve(again) == curve(whole)
        one, other = whole.result().compensation.tensors(), again.result().compensation.tensors()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_what_is_kept_does_not_change_with_the_steps_after_it(train):
    training = left_at(train(), 5)
    state = written(training)
    before = save(state.tensors)
    list(training.steps())
    assert save(state.tensors) == before
    assert len(state.facts["history"]) == 6


def test_every_kind_that_can_be_trained_goes_on(train):
    for kind in TRAINED:
        whole = train(replace(QUICK, kind=kind))
        list(whole.steps())
        again = continued(left_at(train(replace(QUICK, kind=kind)), 6))
        list(again.steps())
        assert curve(again) == curve(whole)
        one, other = whole.result().compensation.tensors(), again.result().compensation.tensors()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_state_of_another_training_is_refused(train, pair, lost):
    state = on_disk(left_at(train(), 3))
    other = Training(pair, lost, everything(lost.shape), make_tokens(), make_tokens(), replace(QUICK, learned=False))
    lacking = State({name: part for name, part in state.tensors.items() if name != "moved.0"}, state.facts)
    narrower = State(state.tensors | {"moved.0": torch.zeros(1)}, state.facts)
    for damaged in (lacking, narrower, State(state.tensors, {}), State(state.tensors, state.facts | {"history": [{}]})):
        with pytest.raises(LoadError, match="Begin it anew"):
            resume(train(), damaged)
    with pytest.raises(LoadError, match="Begin it anew"):
        begun(pair, {}, other.selection, other.settings)


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
@pytest.mark.parametrize("part", ["loss", "gradient", "held-out loss"])
def test_a_number_that_is_none_ends_the_training_and_keeps_the_best(train, monkeypatch, part, broken):
    good, training = train(), train()
    list(good.steps())
    loss = Training._loss

    def breaking(self, tokens, texts, teacher, put_back):
        value = loss(self, tokens, texts, teacher, put_back)
        if part == "loss" and len(self.history) == 7:
            return value * broken
        if part == "gradient" and len(self.history) == 7:
            value.register_hook(lambda gradient: gradient * broken)
        return value

    def breaking_judge(*given):
        judged = yield from measure(*given)
        spoilt = part == "held-out loss" and len(training.history) == 8
        return replace(judged, nll=judged.nll * broken, kl=judged.kl * broken) if spoilt else judged

    monkeypatch.setattr(Training, "_loss", breaking)
    monkeypatch.setattr("restorelcc.restoration.training.measure", breaking_judge)
    steps = [step.step for step in training.steps()]
    at = 8 if part == "held-out loss" else 7
    assert steps == list(range(at))
    assert f"stopped at step {at}, and the best before it is kept" in training.ended
    assert training.judged() is None
    result = training.result()
    assert result.best_step == max(step.step for step in good.history if step.best and step.step < at) == 4
    assert result.ended == training.ended
    assert torch.isfinite(result.compensation.vectors).all()
    assert curve(training)[:at] == curve(good)[:at]
    assert all(torch.isfinite(part).all() for part in training.parameters.moved)
    again = continued(training)
    assert list(again.steps()) == []
    same(again, training)


def measured_as_nan(*given):
    judged = yield from measure(*given)
    return replace(judged, kl=judged.kl * float("nan"))


def test_where_nothing_can_be_told_before_the_first_step_it_is_said(train, monkeypatch):
    monkeypatch.setattr("restorelcc.restoration.training.measure", measured_as_nan)
    with pytest.raises(NotFinite, match="held-out loss is infinite or NaN"):
        next(train().steps())


def test_a_training_that_is_left_where_numbers_are_none_keeps_its_best(train, monkeypatch):
    training = left_at(train(), 6)
    monkeypatch.setattr("restorelcc.restoration.training.measure", measured_as_nan)
    assert training.judged() is None
    assert "stopped at step 6" in training.ended
    assert training.result().best_step == 4
