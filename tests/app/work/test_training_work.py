"""The job behind a restoration: asked before it whether it can be kept, and kept whatever comes after it."""

from dataclasses import replace
from pathlib import Path

import torch
from streamlit.testing.v1 import AppTest

from app.values.picks import Picks
from app.work import open_pairs, training
from app.work.jobs import State
from restorelcc.artifacts.findings import Recipe
from restorelcc.artifacts.runs import list_runs
from restorelcc.restoration.settings import Settings
from restorelcc.restoration.training import Training
from restorelcc.selection.picks import everything

MAIN = str(Path(__file__).resolve().parents[3] / "app" / "shell" / "rerun.py")
SHORT = Settings(steps=2, batch=2, evaluate_every=1)


def test_where_runs_cannot_be_kept_nothing_is_trained(workspace, tmp_path, monkeypatch):
    (tmp_path / "data").touch()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(Training, "steps", None)
    job = training.start(workspace, Picks(everything(workspace.lost.shape)), SHORT, "small", "me")
    assert job.wait(60)
    assert job.state == State.FAILED
    assert "cannot be written" in job.error


def test_a_training_is_kept_though_it_cannot_be_measured(workspace, monkeypatch):
    def short_of_memory(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.")
        yield

    monkeypatch.setattr(training, "_figures", short_of_memory)
    started = replace(SHORT, start="alpha")
    job = training.start(workspace, Picks(everything(workspace.lost.shape)), started, "small", "me")
    assert job.wait(60)
    assert job.state == State.FAILED
    assert "memory" in job.error
    (run,) = list_runs()
    assert run.name == "small"
    assert run.adapter().compensation.vectors.any()
    monkeypatch.setattr(open_pairs, "_open", open_pairs.OrderedDict({Recipe(): workspace}))
    app = AppTest.from_file(MAIN, default_timeout=60).run()
    for page in ("compare", "restore"):
        app.switch_page(f"../../pages/{page}.py").run()
        assert not app.exception
