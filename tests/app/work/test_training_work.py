"""The job behind a restoration: asked before it whether it can be kept."""

from app.work import training
from app.work.jobs import State
from restorelcc.restoration.training import Settings, Training
from restorelcc.selection.picks import everything

SHORT = Settings(steps=2, batch=2, evaluate_every=1)


def test_where_runs_cannot_be_kept_nothing_is_trained(workspace, tmp_path, monkeypatch):
    (tmp_path / "data").touch()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(Training, "steps", None)
    job = training.start(workspace, everything(workspace.lost.shape), SHORT, "small", "me")
    assert job.wait(60)
    assert job.state == State.FAILED
    assert "cannot be written" in job.error
