"""Trainings are handed to a tracker, a run each."""

import pytest
from commands import answer, call
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def logged(folder):
    """[step] of every figure of a run of TensorBoard, and the last value of each."""
    events = EventAccumulator(str(folder)).Reload()
    figures = {name: events.Scalars(name) for name in events.Tags()["scalars"]}
    steps = {name: [event.step for event in rows] for name, rows in figures.items()}
    return steps, {name: rows[-1].value for name, rows in figures.items()}


def runs_in(folder, group):
    """By name, those of one group that has just been logged."""
    (place,) = [path for path in (folder / "restorelcc-logs").iterdir() if path.name.startswith(group)]
    return {path.name: path for path in place.iterdir()}


def test_every_step_is_logged_with_what_was_measured(pair_args, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--steps", 4, "--batch", 3, "--evaluate-every", 2, "--log-with", "tensorboard", "--elsewhere", ""]
    found = answer("restore", *pair_args, *options, "--name", "mine", "--out", tmp_path / "out")
    steps, last = logged(tmp_path / "restorelcc-logs" / "mine")
    assert steps["loss"] == steps["rate"] == [1, 2, 3, 4]
    assert steps["held_out_loss"] == steps["perplexity"] == steps["nearer"] == [0, 2, 4]
    events = EventAccumulator(str(tmp_path / "restorelcc-logs" / "mine")).Reload()
    assert events.Scalars("nearer")[0].value == 0
    assert last["final/nearer"] == pytest.approx(found["nearer"], rel=1e-5)
    assert last["final/trained_parameters"] == found["trained_parameters"]


def test_a_sweep_is_a_run_a_point(pair_args, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--lr", "0.1,0.2", "--loss", "kl,ce", "--steps", 3, "--log-with", "tensorboard"]
    found = answer("sweep", *pair_args, *options)
    runs = runs_in(tmp_path, "sweep of ")
    assert len(runs) == 4
    for row in found["results"]:
        (place,) = [runs[name] for name in runs if f"lr {row['lr']:g}, loss {row['loss']}" in name]
        steps, last = logged(place)
        assert steps["loss"] == [1, 2, 3]
        assert ("nearer" in steps) == (row["loss"] == "kl")
        assert last["final/nearer"] == pytest.approx(row["nearer"], rel=1e-5)


def test_a_comparison_is_a_run_a_method_and_seed(pair_args, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--methods", "restorelcc,lora,mean-bias", "--steps", 2, "--batch", 2, "--seeds", 2, "--text", text,
               "--elsewhere", "", "--judged", 2, "--log-with", "tensorboard"]  # fmt: skip
    found = answer("compare", *pair_args, *options)
    runs = runs_in(tmp_path, "comparison of ")
    assert set(runs) == {"restorelcc, seed 0", "restorelcc, seed 1", "lora, seed 0", "lora, seed 1", "mean-bias"}
    for row in found["results"]:
        name = row["method"] if row["method"] == "mean-bias" else f"{row['method']}, seed {row['seed']}"
        steps, last = logged(runs[name])
        assert steps.get("loss", []) == ([] if row["method"] == "mean-bias" else [1, 2])
        assert last["final/recovered"] == pytest.approx(row["recovered_share"], rel=1e-5)


def test_a_name_leads_nowhere_else(pair_args, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    options = ["--steps", 1, "--log-with", "tensorboard", "--elsewhere", "", "--name", "../../up"]
    answer("restore", *pair_args, *options, "--out", tmp_path / "out")
    assert [path.name for path in (tmp_path / "here/restorelcc-logs").iterdir()] == ["-..-up"]


def test_a_tracker_that_fails_costs_its_figures_alone(pair_args, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("accelerate.tracking.TensorBoardTracker.log", full)
    options = ["--steps", 2, "--log-with", "tensorboard", "--elsewhere", ""]
    result = call("restore", *pair_args, *options, "--out", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.output
    assert result.stderr.count("tensorboard takes no more figures (No space left on device)") == 1
    monkeypatch.setattr("accelerate.tracking.TensorBoardTracker.start", full)
    refused = call("restore", *pair_args, *options, "--out", tmp_path / "again")
    assert refused.exit_code == 2
    assert "tensorboard cannot be logged with: No space left" in refused.stderr


@pytest.mark.parametrize("command", ["restore", "sweep", "compare"])
@pytest.mark.parametrize(("name", "says"), [("luck", "tensorboard"), ("trackio", "pip install trackio")])
def test_a_tracker_that_is_not_there_is_one_line(pair_args, tmp_path, monkeypatch, command, name, says):
    monkeypatch.setattr("accelerate.tracking.get_available_trackers", list)
    out = ["--out", tmp_path / "out"] if command == "restore" else []
    result = call(command, *pair_args, "--log-with", name, *out)
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
