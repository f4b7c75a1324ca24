"""Trainings that are not over: kept as they go, listed rightly, and gone on with to the last digit."""

import dataclasses
import errno
import json
import os
import time

import pytest
import torch
from conftest import QUICK, curve, make_model, noisy, quick

from restorelcc.artifacts import unfinished
from restorelcc.artifacts.export import made_for
from restorelcc.artifacts.runs import discard_run, list_runs, load_run, save_run
from restorelcc.artifacts.unfinished import find_unfinished, kept, list_unfinished
from restorelcc.errors import LoadError, SettingError
from restorelcc.models.pair import paired
from restorelcc.restoration.training import Training

pytestmark = pytest.mark.usefixtures("on_one_thread")


@pytest.fixture
def train(pair, lost):
    return lambda **changes: quick(pair, lost, dataclasses.replace(QUICK, **({"steps": 11} | changes)))


class Killed(BaseException):
    """What ends a process, as far as a test can say."""


def interrupted(training, at, place, pair, name="first"):
    """Kept, and ended without a word after a step."""
    with pytest.raises(Killed), kept(training, name, made_for(pair.pruned), {"mine": 1}, place) as keeper:
        for step in training.steps():
            keeper.keep(training)
            if step.step == at:
                raise Killed
    (found,) = list_unfinished(place)
    return found


@pytest.mark.parametrize("kind", ["constants", "weights"])
def test_it_goes_on_from_the_last_measurement_to_the_same_numbers(train, pair, tmp_path, kind):
    whole = train(kind=kind)
    list(whole.steps())
    found = interrupted(train(kind=kind), 7, tmp_path, pair)
    assert (found.name, found.step, found.steps, found.damage) == ("first", 4, 11, "")
    assert found.facts["mine"] == 1
    assert not found.is_under_way
    with found.taken_up() as keeper:
        training = found.training(pair)
        assert [step.step for step in training.steps()] == [5, 6, 7, 8, 9, 10, 11]
        restoration = training.result()
        run = save_run(restoration, pair.geometry, found.name, {}, tmp_path, folder=keeper.folder.name)
        keeper.over()
    assert curve(restoration) == curve(whole.result())
    ours, theirs = restoration.compensation.tensors(), whole.result().compensation.tensors()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert run.folder.name == found.folder.name
    assert list_unfinished(tmp_path) == []
    assert [each.damage for each in list_runs(tmp_path)] == [""]


def test_a_minute_is_enough_to_be_kept_between_measurements(train, pair, tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    kept_at, save = [], unfinished._save
    training = train(steps=20, evaluate_every=100)

    def noted(path, tensors, facts):
        kept_at.append(training.history[-1].step if training.history else None)
        save(path, tensors, facts)

    monkeypatch.setattr(unfinished, "_save", noted)
    with kept(training, "first", {}, {}, tmp_path) as keeper:
        for _ in training.steps():
            keeper.keep(training)
            clock[0] += 25.0
    assert kept_at == [None, 0, 3, 6, 9, 12, 15, 18, 20]


def test_what_takes_long_to_keep_is_kept_less_often(train, pair, tmp_path, monkeypatch):
    clock, save, kept_at = [0.0], unfinished._save, []
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    training = train(steps=30, evaluate_every=1)

    def slow(path, tensors, facts):
        kept_at.append(training.history[-1].step if training.history else None)
        clock[0] += 2.0
        save(path, tensors, facts)

    monkeypatch.setattr(unfinished, "_save", slow)
    with kept(training, "first", {}, {}, tmp_path) as keeper:
        for _ in training.steps():
            clock[0] += 4.0
            keeper.keep(training)
    assert kept_at == [None, 0, 10, 20, 30]


def test_while_it_is_trained_nobody_else_takes_it_up_or_deletes_it(train, pair, tmp_path, monkeypatch):
    monkeypatch.setattr(unfinished, "WAIT", 0.05)
    training = train()
    with kept(training, "first", made_for(pair.pruned), {}, tmp_path) as keeper:
        next(training.steps())
        keeper.keep(training)
        (found,) = list_unfinished(tmp_path)
        assert found.is_under_way
        with pytest.raises(SettingError, match="being trained already"), found.taken_up():
            pass
        with pytest.raises(SettingError, match="being trained already"):
            found.discard()
    assert not found.is_under_way
    found.discard()
    assert list_unfinished(tmp_path) == []
    with pytest.raises(SettingError, match="no longer there"), found.taken_up():
        pass


def test_what_raises_within_reaches_who_trains(train, pair, tmp_path):
    found = interrupted(train(), 5, tmp_path, pair)
    with pytest.raises(FileNotFoundError), found.taken_up():
        raise FileNotFoundError
    assert not found.is_under_way


def test_before_the_first_step_nothing_stays(train, tmp_path):
    with pytest.raises(Killed), kept(train(), "first", {}, {}, tmp_path):
        raise Killed
    assert list((tmp_path / ".unfinished").iterdir()) == []


def test_what_is_left_of_one_whose_run_is_kept_is_no_training(train, pair, tmp_path):
    """Killed between keeping the run and clearing away."""
    for thrown_away in (False, True):
        found = interrupted(train(), 5, tmp_path, pair)
        run = save_run(found.training(pair).result(), pair.geometry, "first", {}, tmp_path, folder=found.folder.name)
        if thrown_away:
            discard_run(run)
        assert list_unfinished(tmp_path) == []
        assert not found.folder.exists()
    assert len(list_runs(tmp_path)) == 1


def test_other_models_than_it_was_begun_with_are_refused(train, pair, tokenizer, tmp_path):
    found = interrupted(train(), 5, tmp_path, pair)
    other = make_model(seed=3)
    for dense, pruned in ((pair.dense, noisy(pair.dense, seed=9)), (other, pair.pruned)):
        with pytest.raises(LoadError, match="not those that first was begun with"):
            found.training(paired(dense, pruned, tokenizer, "dense", "pruned"))


@pytest.mark.parametrize("file", ["training.json", "given.safetensors", "state.safetensors"])
@pytest.mark.parametrize("how", ["flipped", "cut", "empty", "gone", "folder", "pipe", "other"])
def test_a_damaged_one_breaks_nothing_and_is_never_gone_on_with(train, pair, tmp_path, file, how):
    whole = train()
    list(whole.steps())
    path = interrupted(train(), 7, tmp_path, pair).folder / file
    content = path.read_bytes()
    path.unlink()
    if how == "flipped":
        path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    elif how in ("cut", "empty"):
        path.write_bytes(content[: len(content) // 2 if how == "cut" else 0])
    elif how == "folder":
        path.mkdir()
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "other":
        path.write_text('{"format": 1}')
    (found,) = list_unfinished(tmp_path)
    assert "\n" not in found.standing
    try:
        training = found.training(pair) if not found.damage else None
    except LoadError:
        training = None
    if training is not None:  # A state that is gone: it begins again.
        assert (file, how) == ("state.safetensors", "gone") or (file, how) == ("training.json", "flipped")
        list(training.steps())
        assert curve(training.result()) == curve(whole.result())
    if found.damage:
        with pytest.raises(SettingError, match="cannot go on"):
            find_unfinished(found.folder.name, tmp_path)
    found.discard()
    assert list_unfinished(tmp_path) == []


def refusing(number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EFBIG, errno.EDQUOT])
def test_a_disk_that_refuses_costs_the_way_back_and_no_training(train, pair, tmp_path, monkeypatch, number):
    whole, training = train(), train()
    list(whole.steps())
    with kept(training, "first", {}, {}, tmp_path) as keeper:
        for step in training.steps():
            keeper.keep(training)
            if step.step == 4:
                assert keeper.fault == ""
                before = (keeper.folder / "state.safetensors").read_bytes()
                monkeypatch.setattr(unfinished, "save_file", refusing(number))
    assert os.strerror(number) in keeper.fault
    assert (keeper.folder / "state.safetensors").read_bytes() == before
    assert curve(training.result()) == curve(whole.result())


def test_where_it_cannot_be_kept_from_the_beginning_it_is_trained_all_the_same(train, tmp_path, monkeypatch):
    monkeypatch.setattr(unfinished, "save_file", refusing(errno.ENOSPC))
    training = train()
    with kept(training, "first", {}, {}, tmp_path) as keeper:
        for _ in training.steps():
            keeper.keep(training)
    assert len(training.history) == 12
    assert "No space left" in keeper.fault
    assert not keeper.is_kept
    assert list_unfinished(tmp_path) == []


def test_why_a_training_ended_is_kept_with_its_run(train, pair, tmp_path, monkeypatch):
    training = train()
    for step in training.steps():
        if step.step == 5:
            monkeypatch.setattr(Training, "_loss", lambda self, *_: torch.tensor(float("nan"), requires_grad=True))
    run = load_run(save_run(training.result(), pair.geometry, "first", {}, tmp_path).folder)
    assert "stopped at step 6" in run.config["ended"]
    assert run.damage == ""
    assert "NaN" not in (run.folder / "metrics.jsonl").read_text()
    assert len(json.loads((run.folder / "config.json").read_text())["ended"]) < 300
