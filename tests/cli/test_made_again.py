"""What the app, a sweep or a comparison made is made again from what it says of itself, to the digit."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from commands import answer, call

from app.values.picks import Picks
from app.work import sweeps, training
from restorelcc.artifacts.findings import Recipe
from restorelcc.artifacts.runs import list_runs
from restorelcc.progress import finish
from restorelcc.restoration.settings import DEFAULTS, Settings
from restorelcc.restoration.sweep import Grid
from restorelcc.selection.picks import top_heads
from restorelcc.workspace import open_workspace

pytestmark = pytest.mark.usefixtures("on_one_thread")
SHORT = replace(DEFAULTS, steps=4, batch=3, evaluate_every=2, seed=3)


@pytest.fixture
def workspace(folders, text, tmp_path):
    words = text.read_text().split()
    for seed, name in enumerate(("judged.txt", "other.txt")):
        (tmp_path / name).write_text(" ".join(random.Random(seed).choices(words, k=200)))
    return finish(open_workspace(Recipe(
        dense=str(folders[0]), pruned=str(folders[1]), calibration=str(text), evaluation=str(tmp_path / "judged.txt"),
        elsewhere=str(tmp_path / "other.txt"), windows=12, captured=5, evaluated=6, length=16,
    )))  # fmt: skip


def picks_of(workspace):
    layers, heads, components = workspace.lost.shape
    selection = top_heads((layers, heads, components), workspace.lost.variance.sum(-1), 5, 3)
    return Picks(selection, tuple((pick, 0.5) for pick in sorted(selection.picks)[:4]))


def trained(run):
    return (Path(run) / "training.safetensors").read_bytes()


def done(job):
    assert job.wait(120)
    assert not job.error, job.error
    return list_runs()


@pytest.mark.parametrize(
    ("settings", "sampled"), [(SHORT, 0), (replace(SHORT, start="picked", kind="constants"), 0), (SHORT, 10)],
    ids=["text", "magnitudes by hand", "sampled"],
)  # fmt: skip
def test_a_run_of_the_app_comes_to_its_figures_from_its_config(workspace, tmp_path, settings, sampled):
    job = training.start(workspace, picks_of(workspace), settings, "mine", "me", sampled)
    (run,) = done(job)
    again = answer("restore", "--config", run.folder / "config.json", "--out", tmp_path / "out")
    theirs = json.loads((Path(again["run"]) / "config.json").read_text())
    for part in ("figures", "settings", "selection", "calibration", "judged_on", "evaluation", "recipe"):
        assert theirs[part] == run.config[part], part
    assert trained(again["run"]) == trained(run.folder)
    told = answer("repeat", again["run"])
    assert (told["equal"], told["trained_equal"], told["differences"]) == (True, True, [])


def test_what_is_typed_beside_a_run_of_the_app_wins(workspace, tmp_path):
    job = training.start(workspace, picks_of(workspace), SHORT, "mine", "me")
    (run,) = done(job)
    options = ["--config", run.folder / "config.json", "--out", tmp_path / "out"]
    again = answer("restore", *options, "--heads", 0.5, "--score", "relative_error", "--windows", 10, "--elsewhere", "")
    theirs = json.loads((Path(again["run"]) / "config.json").read_text())
    assert theirs["calibration"]["windows"] == 9
    assert "elsewhere" not in theirs["figures"]
    assert len(theirs["selection"]["picks"]) == 6
    assert theirs["settings"] == run.config["settings"]
    found = answer("validate", run.folder / "config.json")
    assert (found["windows"], found["held_out"], found["steps"]) == (11, 1, 4)


def test_points_of_a_sweep_are_repeated_those_of_the_app_too(workspace, pair_args):
    found = answer("sweep", *pair_args, "--lr", "0.1,0.2", "--heads", "0.5", "--text", "0.5,1", "--steps", 3)
    assert len(found["runs"]) == 4
    for run in found["runs"]:
        told = answer("repeat", run)
        assert (told["equal"], told["trained_equal"]) == (True, True)
    grid = Grid((0.5,), (None,), (0.1,), ("kl",), Settings(steps=3, batch=3), (0.5, 1.0))
    job = sweeps.start(workspace, sweeps.Plan(grid, workspace.loss.table("relative_error")), "me")
    points = [run for run in done(job) if run.config.get("recipe") is not None]
    assert len(points) == 2
    for run in points:
        told = answer("repeat", run.folder)
        assert (told["equal"], told["trained_equal"]) == (True, True)


def test_a_comparison_is_made_again_from_its_file(workspace, pair_args, text, tmp_path):
    options = ["--methods", "restorelcc,mean-bias", "--steps", 2, "--batch", 2, "--seeds", 1, "--text", text,
               "--elsewhere", "", "--judged", 2]  # fmt: skip
    found = answer("compare", *pair_args, *options)
    file = tmp_path / "compared.json"
    file.write_text(json.dumps(found))
    again = answer("compare", "--config", file)
    timed = ("seconds", "peak_bytes")
    rows = [[{key: value for key, value in row.items() if key not in timed} for row in each["results"]]
            for each in (found, again)]  # fmt: skip
    assert rows[0] == rows[1]
    assert again["recipe"] == found["recipe"]
    for command in (["repeat", file], ["restore", "--config", file, "--out", tmp_path / "out"]):
        refused = call(*command)
        assert refused.exit_code == 2
        assert "compare --config" in refused.stderr
        assert refused.stderr.count("\n") == 1


def test_what_has_no_name_outside_the_app_is_said(tmp_path):
    run = tmp_path / "config.json"
    recipe = {"prune": "0.5", "method": "wanda"}
    run.write_text(json.dumps({"recipe": recipe, "dense": "demo", "pruned": "wanda 50 %", "settings": {},
                               "selection": {"shape": [1, 1, 1], "picks": {}}}))  # fmt: skip
    for command in ("inspect", "sweep", "evaluate"):
        refused = call(command, "--config", run)
        assert refused.exit_code == 2
        assert "prune --config FILE --out DIR" in refused.stderr
        assert refused.stderr.count("\n") == 1
