"""Killed at any moment: nothing that was reported done is lost, no list is wrong, nothing half-written is taken for
whole, and a training that is gone on with comes to what it would have come to.

Each command runs in a child of this process, which is killed (SIGKILL) at a moment drawn with a seed. KILLS=25 in the
environment draws so many for each.
"""

import json
import os
import random
import signal
import sys
import time
import traceback

import pandas as pd
import pytest
import torch
from conftest import make_tokens
from safetensors.torch import load_file

from app.values.picks import Picks
from app.work import training
from restorelcc import face
from restorelcc.artifacts.runs import list_runs
from restorelcc.artifacts.unfinished import list_unfinished
from restorelcc.cli.options import app as command_line
from restorelcc.restoration.settings import Settings
from restorelcc.restoration.training import Training
from restorelcc.selection.picks import everything
from restorelcc.storage.drafts import PREFIX
from restorelcc.storage.folders import check_free

pytestmark = pytest.mark.kills
KILLS = int(os.environ.get("KILLS", "3"))
STEPS = 40
RESTORE = ["--steps", STEPS, "--batch", 2, "--lr", 0.1, "--start", "noise", "--elsewhere", ""]


@pytest.fixture(autouse=True)
def on_one_thread(monkeypatch):
    """A child has this thread alone, so there must be no pool of others to wait for."""
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    torch.set_num_threads(1)


class Place:
    """Where commands write, and what is found there."""

    def __init__(self, folder):
        self.folder, self.said = folder, folder.with_name("said")
        folder.mkdir()

    def run(self, work, after=None):
        """In a child; killed after so many seconds. Seconds it took, or None where it was killed before its end."""
        self.said.unlink(missing_ok=True)
        began, child = time.monotonic(), os.fork()
        if child == 0:
            try:
                descriptor = os.open(self.said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(descriptor, 1)
                os.dup2(descriptor, 2)
                sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - it ends with the process
                sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
                work()
                sys.stdout.flush()
                os._exit(0)
            except BaseException:
                traceback.print_exc(file=sys.stderr)
                sys.stderr.flush()
                os._exit(1)
        while after is None or time.monotonic() - began < after:
            if os.waitpid(child, os.WNOHANG)[0]:
                return time.monotonic() - began
            time.sleep(0.001)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return None

    def done(self):
        """Whether it had been said that it is done: the object of JSON that commands end with."""
        lines = self.said.read_text().splitlines() if self.said.exists() else []
        return any(line.startswith("{") and line.endswith("}") for line in lines)

    def is_tidy(self):
        """Once the next command was here, nothing is left of the one that was killed."""
        check_free(self.folder / "next")
        return not [path for path in self.folder.iterdir() if path.name.startswith(PREFIX)]


def command(*arguments):
    def work():
        try:
            command_line([str(argument) for argument in (*arguments, "--json")], standalone_mode=True)
        except SystemExit as end:
            if end.code:
                raise

    return work


def moments(seconds, name):
    """When to kill: anywhere in the time that it takes, and more often towards its end, where things are written."""
    draw = random.Random(f"{name} {os.environ.get('SEED', 0)}")
    return [seconds * draw.random() ** (0.5 if number % 2 else 1) * 1.05 for number in range(KILLS)]


def whole_checkpoint(folder, reference):
    """Every file of it as of one that was written in peace, but for the card, which says when."""
    names = sorted(path.name for path in reference.iterdir())
    assert sorted(path.name for path in folder.iterdir()) == names
    for name in names:
        if name.endswith((".safetensors", ".json")):
            assert (folder / name).read_bytes() == (reference / name).read_bytes(), name


def curve(run):
    assert run.damage == ""
    return run.metrics().drop(columns=["seconds", "tokens_per_second"]).to_json(double_precision=15)


def outcome(run):
    return curve(run), {name: part.tolist() for name, part in load_file(run.folder / "training.safetensors").items()}


def killed(name, place, work, check, seconds, told):
    """Killed at each moment; `check` says what was found, which is counted."""
    found = {}
    for after in moments(seconds, name):
        ended = place.run(work, after) is not None
        state = check(ended)
        found[state] = found.get(state, 0) + 1
        assert place.is_tidy()
    told(f"{name}: {KILLS} kills within {seconds:.1f} s: " + ", ".join(f"{n} {what}" for what, n in found.items()))


@pytest.fixture
def told(capsys):
    def say(line):
        with capsys.disabled():
            print(f"\n{line}", end="", flush=True)

    return say


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path / "place")


def remove(path):
    for each in sorted(path.rglob("*"), reverse=True):
        each.rmdir() if each.is_dir() else each.unlink()
    path.rmdir()


def test_prune(place, folders, text, told):
    def work(name):
        return command("prune", folders[0], "--out", place.folder / name, "--calibration", text, "--length", 16)

    seconds = place.run(work("whole"))
    assert place.done(), place.said.read_text()
    reference, out = place.folder / "whole", place.folder / "out"

    def check(ended):
        if not out.exists():
            assert not ended
            assert not place.done()
            return "nothing"
        whole_checkpoint(out, reference)
        remove(out)
        return "whole"

    killed("prune", place, work("out"), check, seconds, told)


@pytest.mark.parametrize("name", ["capture", "sweep"])
def test_tables(place, pair_args, told, name):
    options = {"capture": ["inspect"], "sweep": ["sweep", "--lr", "0.05,0.1,0.2", "--steps", 4]}[name]

    def work(file):
        return command(options[0], *pair_args, *options[1:], "--csv", place.folder / file)

    seconds = place.run(work("whole.csv"))
    assert place.done(), place.said.read_text()
    reference, out = pd.read_csv(place.folder / "whole.csv"), place.folder / "out.csv"
    keys = ["layer", "head"] if name == "capture" else ["loss", "heads", "components", "lr", "text"]
    order = reference.drop(columns=["seconds"], errors="ignore").sort_values(keys).reset_index(drop=True)

    def check(ended):
        if not out.exists():
            assert not place.done()
            return "nothing"
        table = pd.read_csv(out).drop(columns=["seconds"], errors="ignore").sort_values(keys).reset_index(drop=True)
        rows = order.merge(table[keys], on=keys)[order.columns]
        assert rows.equals(table[order.columns])
        assert len(table) == len(order) or (name == "sweep" and not place.done())
        out.unlink()
        return f"{len(table)} of {len(order)} rows"

    killed(name, place, work("out.csv"), check, seconds, told)


def test_restore(place, pair_args, told):
    def work(name):
        return command("restore", *pair_args, *RESTORE, "--out", place.folder / name, "--name", "mine")

    seconds = place.run(work("whole"))
    assert place.done(), place.said.read_text()
    (reference,) = list_runs()
    wanted, out = outcome(reference), place.folder / "out"

    def check(ended):
        runs, left = list_runs(), list_unfinished()
        assert all(outcome(run) == wanted for run in runs)
        assert not [training for training in left if training.damage or training.is_under_way]
        assert len(runs) + len(left) <= 2
        assert not out.exists() or (out / "compensation.safetensors").exists()
        if place.done():
            assert len(runs) == 2
            assert out.exists()
        state = f"left at step {left[0].step}" if left else "kept" if len(runs) == 2 else "not begun"
        if left:
            assert not out.exists()
            place.run(command("restore", "--continue", left[0].folder.name))
            assert place.done(), place.said.read_text()
            (gone_on,) = [run for run in list_runs() if run.folder.name == left[0].folder.name]
            assert outcome(gone_on) == wanted
            assert list_unfinished() == []
            state = "gone on with to the same"
        for run in list_runs():
            if run.folder != reference.folder:
                remove(run.folder)
        if out.exists():
            theirs, ours = (load_file(folder / "compensation.safetensors") for folder in (place.folder / "whole", out))
            assert torch.equal(ours["vectors"], theirs["vectors"])
            remove(out)
        return state

    killed("restore", place, work("out"), check, seconds, told)


def test_export(place, pair, lost, told):
    trainer = Training(pair, lost, everything(lost.shape), make_tokens(), make_tokens(), Settings(steps=3, batch=2))
    list(trainer.steps())
    restoration, about = trainer.result(), {"figures": {}}

    def work(name):
        def export():
            face.export(restoration, pair, place.folder / name, "checkpoint", about)
            print(json.dumps({"out": name}))

        return export

    seconds = place.run(work("whole"))
    assert place.done(), place.said.read_text()
    out = place.folder / "out"

    def check(ended):
        if not out.exists():
            assert not place.done()
            return "nothing"
        whole_checkpoint(out, place.folder / "whole")
        remove(out)
        return "whole"

    killed("export", place, work("out"), check, seconds, told)


def test_app_training(place, workspace, told):
    picks, settings = Picks(everything(workspace.lost.shape)), Settings(steps=STEPS, batch=2, start="noise")

    def ended(job):
        assert job.wait(120)
        assert job.error == ""
        print(json.dumps({"run": job.result.folder.name}))

    def begin():
        ended(training.start(workspace, picks, settings, "mine", "me"))

    seconds = place.run(begin)
    assert place.done(), place.said.read_text()
    (reference,) = list_runs()
    wanted = outcome(reference)

    def check(_):
        runs, left = list_runs(), list_unfinished()
        assert all(outcome(run) == wanted for run in runs)
        assert not [each for each in left if each.damage or each.is_under_way]
        assert len(runs) == 2 or not place.done()
        state = "kept" if len(runs) == 2 else "not begun"
        if left:
            place.run(lambda: ended(training.go_on(workspace, left[0], "me")))
            assert place.done(), place.said.read_text()
            (gone_on,) = [run for run in list_runs() if run.folder.name == left[0].folder.name]
            assert outcome(gone_on) == wanted
            assert list_unfinished() == []
            state = "gone on with to the same"
        for run in list_runs():
            if run.folder != reference.folder:
                remove(run.folder)
        return state

    killed("app training", place, begin, check, seconds, told)
