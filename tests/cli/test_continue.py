"""A training of the command line that was interrupted goes on by name, as it was begun."""

import json
from pathlib import Path

import pytest
from commands import answer, call
from conftest import make_model

from restorelcc.artifacts.export import load_adapter
from restorelcc.artifacts.unfinished import Keeper
from restorelcc.errors import WriteError

OPTIONS = ["--steps", 12, "--batch", 3, "--lr", 0.1, "--heads", 0.5, "--start", "noise", "--seed", 3]


pytestmark = pytest.mark.usefixtures("on_one_thread")


@pytest.fixture
def interrupted(pair_args, tmp_path, monkeypatch):
    """One that was interrupted at step 7, without having been told: the name of its folder."""
    keep = Keeper.keep

    def killed(self, training, now=False):
        if training.history[-1].step == 7:
            raise SystemExit
        keep(self, training, now=True)

    monkeypatch.setattr(Keeper, "keep", killed)
    result = call("restore", *pair_args, *OPTIONS, "--out", tmp_path / "out", "--name", "mine")
    monkeypatch.setattr(Keeper, "keep", keep)
    (training,) = answer("runs")["unfinished"]
    name = Path(training["folder"]).name
    assert f"Go on with it: python -m restorelcc restore --continue {name}" in result.stderr
    return name


def steps(run):
    rows = [json.loads(line) for line in (Path(run) / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in ("seconds", "tokens_per_second")} for row in rows]


def test_it_goes_on_to_what_it_would_have_come_to(interrupted, pair_args, tmp_path):
    line = f"Interrupted: {interrupted}: step 6 of 12. Go on with it: python -m restorelcc restore --continue"
    assert line in call("runs").stdout
    assert not (tmp_path / "out").exists()
    done = answer("restore", "--continue", interrupted)
    whole = answer("restore", *pair_args, *OPTIONS, "--out", tmp_path / "whole")
    assert steps(done["run"]) == steps(whole["run"])
    assert [row["step"] for row in steps(done["run"])] == list(range(13))
    for file in ("training.safetensors", "adapter/compensation.safetensors"):
        assert (Path(done["run"]) / file).read_bytes() == (Path(whole["run"]) / file).read_bytes()
    same = ("dense", "pruned", "restored", "recovered_share", "best_step", "trained_parameters")
    assert {name: done[name] for name in same} == {name: whole[name] for name in same}
    exported = [(tmp_path / name / "compensation.safetensors").read_bytes() for name in ("out", "whole")]
    assert exported[0] == exported[1]
    ours, theirs = (json.loads((Path(each["run"]) / "config.json").read_text()) for each in (done, whole))
    assert ours.pop("name") == "mine"
    assert [ours.pop("created"), theirs.pop("created"), theirs.pop("name")]
    assert ours == theirs
    assert Path(done["run"]).name == interrupted
    listed = answer("runs")
    assert "unfinished" not in listed
    assert len(listed["runs"]) == 2


def test_it_may_go_elsewhere_and_in_another_form(interrupted, tmp_path):
    done = answer("restore", "--continue", interrupted, "--out", tmp_path / "other", "--format", "checkpoint")
    assert done["out"] == str(tmp_path / "other")
    assert (tmp_path / "other" / "model.safetensors").exists()
    assert not (tmp_path / "out").exists()


def test_anything_else_beside_it_is_refused_and_it_stays(interrupted):
    for options in (["--lr", 0.3], ["--dense", "x", "--steps", 3], ["--heads", 1.0], ["--no-learned"]):
        result = call("restore", "--continue", interrupted, *options)
        assert result.exit_code == 2
        assert options[0] in result.stderr or "--learned" in result.stderr
        assert "cannot be given beside it" in result.stderr
    assert len(answer("runs")["unfinished"]) == 1


def test_an_unknown_name_is_one_line_that_says_which_there_are(interrupted):
    for name in ("nothing", "", "../..", interrupted[:-1]):
        result = call("restore", "--continue", name)
        assert result.exit_code == 2
        assert interrupted in result.stderr
        assert result.stderr.count("\n") == 1
    result = call("restore")
    assert result.exit_code == 2
    assert "--continue RUN" in result.stderr


def test_a_pruned_model_that_is_another_now_is_refused_and_the_training_stays(interrupted, folders):
    make_model(seed=4).save_pretrained(folders[1])
    result = call("restore", "--continue", interrupted)
    assert result.exit_code == 2
    assert len(answer("runs")["unfinished"]) == 1


def test_a_run_that_cannot_be_kept_can_be_gone_on_with(pair_args, tmp_path, monkeypatch):
    def full(*_, **__):
        raise WriteError("the disk is full.")

    with monkeypatch.context() as patched:
        patched.setattr("restorelcc.cli.commands.restore.save_run", full)
        result = call("restore", *pair_args, *OPTIONS, "--out", tmp_path / "out")
        assert result.exit_code == 2
        assert "the disk is full" in result.stderr
    (training,) = answer("runs")["unfinished"]
    assert (training["step"], training["under_way"]) == (12, False)
    done = answer("restore", "--continue", Path(training["folder"]).name)
    assert len(steps(done["run"])) == 13
    assert (tmp_path / "out" / "compensation.safetensors").exists()


def test_what_can_be_kept_nowhere_else_is_exported_all_the_same(pair_args, tmp_path, monkeypatch):
    """The disk of the runs is full from the beginning to the end, that of the export is not."""

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("restorelcc.artifacts.unfinished.save_file", full)
    monkeypatch.setattr("restorelcc.artifacts.runs.save_file", full)
    result = call("restore", *pair_args, *OPTIONS, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert f"It is exported all the same, to {tmp_path / 'out'}" in result.stderr
    assert "--continue" not in result.stderr
    assert load_adapter(tmp_path / "out").compensation.vectors.any()


def test_ctrl_c_keeps_a_run_and_leaves_nothing_to_go_on_with(pair_args, tmp_path, monkeypatch):
    keep = Keeper.keep

    def stopped(self, training, now=False):
        keep(self, training, now)
        if training.history[-1].step == 7:
            raise KeyboardInterrupt

    monkeypatch.setattr(Keeper, "keep", stopped)
    done = answer("restore", *pair_args, *OPTIONS, "--out", tmp_path / "out")
    assert done["stopped"]
    assert [row["step"] for row in steps(done["run"])] == list(range(8))
    assert "unfinished" not in answer("runs")


@pytest.mark.parametrize(("name", "value"), [("format", 0), ("format", "gguf"), ("format", []), ("dense", None)])
def test_what_it_was_begun_with_is_damaged_and_that_is_one_line(interrupted, name, value):
    (training,) = answer("runs")["unfinished"]
    path = Path(training["folder"]) / "training.json"
    facts = json.loads(path.read_text())
    part = next(value for value in facts.values() if isinstance(value, dict) and "elsewhere" in value)
    part[name] = value
    path.write_text(json.dumps(facts))
    result = call("restore", "--continue", interrupted)
    assert result.exit_code == 2
    assert "is damaged" in result.stderr
    assert result.stderr.count("\n") == 1
