"""Steps are handed to a tracker."""

import pytest
from commands import answer, call
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def test_every_step_is_logged_with_what_was_measured(pair_args, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--steps", 4, "--batch", 3, "--evaluate-every", 2, "--log-with", "tensorboard", "--elsewhere", ""]
    answer("restore", *pair_args, *options, "--name", "mine", "--out", tmp_path / "out")
    events = EventAccumulator(str(tmp_path / "restorelcc-logs" / "mine")).Reload()
    logged = {name: [event.step for event in events.Scalars(name)] for name in events.Tags()["scalars"]}
    assert logged["loss"] == logged["rate"] == [1, 2, 3, 4]
    assert logged["held_out_loss"] == logged["perplexity"] == logged["nearer"] == [0, 2, 4]
    assert events.Scalars("nearer")[0].value == 0


@pytest.mark.parametrize(("name", "says"), [("luck", "tensorboard"), ("trackio", "pip install trackio")])
def test_a_tracker_that_is_not_there_is_one_line(pair_args, tmp_path, monkeypatch, name, says):
    monkeypatch.setattr("accelerate.tracking.get_available_trackers", list)
    result = call("restore", *pair_args, "--log-with", name, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
