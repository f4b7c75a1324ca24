"""Restorations handed to processes of the command line: the same run, watched, stopped and refused as any other."""

import os
import signal
import sys
import time
from dataclasses import replace

import pytest
import torch

from app.values import rules
from app.values.picks import Picks
from app.work import sweeps, training
from app.work.jobs import State, jobs
from app.work.launched import points
from restorelcc.artifacts.findings import Recipe
from restorelcc.artifacts.runs import list_runs
from restorelcc.artifacts.unfinished import list_unfinished
from restorelcc.hf.failures import RAN_OUT
from restorelcc.restoration.settings import Settings
from restorelcc.restoration.sweep import Grid
from restorelcc.restoration.training import Step
from restorelcc.selection.picks import everything
from restorelcc.workspace import Workspace

SETTINGS = Settings(steps=6, batch=3, evaluate_every=2, start="noise")

pytestmark = pytest.mark.usefixtures("on_one_thread")


@pytest.fixture
def of_folders(workspace, folders, monkeypatch):
    """The pair by names that other processes can open, on a server that hands trainings to two."""
    dense, pruned = map(str, folders)
    monkeypatch.setattr(rules, "_given", replace(rules.OPEN, processes=2))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    pair = replace(workspace.pair(), dense_name=dense, pruned_name=pruned)
    return Workspace(Recipe(dense=dense, pruned=pruned), workspace.findings, pair)


def started(workspace, settings=SETTINGS):
    return training.start(workspace, Picks(everything(workspace.lost.shape)), settings, "mine", "me")


def until(happened, seconds=500.0):
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.1)


def curve(run):
    return run.metrics().set_index("step")[["loss", "held_out_loss", "perplexity"]]


def test_two_processes_train_the_run_that_the_server_would_and_the_page_follows(of_folders, monkeypatch):
    job = started(of_folders)
    assert job.wait(500)
    assert job.state == State.DONE, job.error
    monkeypatch.setattr(rules, "_given", rules.OPEN)
    alone = started(of_folders)
    assert alone.wait(60)
    theirs, ours = curve(job.result), curve(alone.result)
    assert (theirs - ours).abs().max().max() < 1e-3
    assert list(theirs.index) == list(range(7))
    assert [note.step for note in job.notes if isinstance(note, Step)] == list(range(7))
    same = ("recipe", "selection", "calibration", "best_step", "trained_parameters")
    assert {name: job.result.config[name] for name in same} == {name: alone.result.config[name] for name in same}
    assert abs(job.result.config["figures"]["nearer"] - alone.result.config["figures"]["nearer"]) < 1e-3
    assert list_unfinished() == []


def test_points_of_a_sweep_are_trained_by_a_process_each(of_folders, monkeypatch):
    grid = Grid.read(["1"], ["all"], ["0.1", "0.2"], ["kl"], replace(SETTINGS, steps=4))
    plan = sweeps.Plan(grid, of_folders.lost.magnitude[..., 0])
    job = sweeps.start(of_folders, plan, "me")
    # Kept first, and then handed on.
    until(lambda: job.finished or any(map(training.goes_on, list_unfinished())))
    assert not job.finished
    assert job.wait(500)
    assert job.state == State.DONE, job.error
    monkeypatch.setattr(rules, "_given", rules.OPEN)
    alone = sweeps.start(of_folders, plan, "you")
    assert alone.wait(60)
    theirs, ours = ({each.point: each for each in sweeps.results_of(done)} for done in (job, alone))
    assert theirs.keys() == ours.keys() == set(grid.points())
    for point, result in ours.items():
        assert abs(theirs[point].held_out_loss - result.held_out_loss) < 1e-3
        assert abs(theirs[point].judged.restored.value - result.judged.restored.value) < 1e-3
    assert len(sweeps.kept_of(job)) == 2
    assert list_unfinished() == []


@pytest.mark.kills
def test_stopping_keeps_the_best_and_a_process_that_is_lost_is_said_in_a_line(of_folders):
    job = started(of_folders, replace(SETTINGS, steps=20_000))
    until(lambda: any(isinstance(note, Step) for note in job.notes) or job.finished)
    assert jobs.cancel(job, "me")
    assert job.wait(120)
    assert job.state == State.DONE, job.error
    assert job.result.config["stopped"]
    assert 0 < job.result.metrics()["step"].max() < 20_000
    assert list_unfinished() == []

    job = started(of_folders, replace(SETTINGS, steps=20_000))
    until(lambda: any(isinstance(note, Step) for note in job.notes) or job.finished)
    (under_way,) = list_unfinished()
    assert training.goes_on(under_way)
    for pid in children(os.getpid()):
        os.kill(children(pid)[0], signal.SIGKILL)
    assert job.wait(120)
    assert job.state == State.FAILED
    assert "SIGKILL" in job.error
    assert "\n" not in job.error
    (interrupted,) = list_unfinished()
    assert interrupted.steps == 20_000
    assert len(list_runs()) == 1


def children(pid):
    """Of a process, in whichever thread they were started."""
    found = []
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/children") as file:
            found += [int(child) for child in file.read().split()]
    return found


def test_the_line_that_they_end_with_is_the_jobs_and_the_training_stays(of_folders, tmp_path, monkeypatch):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho Loading >&2\necho 'Error: all memory is used up' >&2\nexit 2\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    job = started(of_folders)
    assert job.wait(60)
    assert (job.state, job.error) == (State.FAILED, "all memory is used up")
    (interrupted,) = list_unfinished()
    assert not training.goes_on(interrupted)
    assert list_runs() == []


@pytest.mark.parametrize("work", ["training_of", "judged_point"])
def test_memory_that_runs_out_at_a_point_is_told_of_it_and_the_others_go_on(of_folders, tmp_path, monkeypatch, work):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 0\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))

    def short_of_memory(*_):
        raise torch.OutOfMemoryError("none is left")

    monkeypatch.setattr(points, work, short_of_memory)
    grid = Grid.read(["1"], ["all"], ["0.1", "0.2"], ["kl"], replace(SETTINGS, steps=4))
    job = sweeps.start(of_folders, sweeps.Plan(grid, of_folders.lost.magnitude[..., 0]), "me")
    assert job.wait(60)
    assert job.state == State.DONE, job.error
    assert [each.error for each in sweeps.results_of(job)] == [RAN_OUT] * 2
    assert list_unfinished() == []


def test_one_that_is_cancelled_before_it_begins_leaves_nothing(of_folders):
    job = started(of_folders)
    until(lambda: job.progress is not None and "starting" in job.progress.what)
    assert jobs.cancel(job, "me")
    assert job.wait(60)
    assert (job.state, job.result, job.error) == (State.DONE, None, "")
    assert list_unfinished() == []
