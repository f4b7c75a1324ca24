"""While a pair opens, the map of what was read so far, and its cells to click."""

from collections.abc import Generator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.work import open_pairs
from app.work.jobs import Job, State, jobs
from restorelcc.capture.statistics import Captured, HeadStatistics, capture
from restorelcc.progress import Progress, finish
from restorelcc.workspace import Workspace

MAIN = str(Path(__file__).resolve().parents[3] / "app" / "shell" / "rerun.py")


def steps(workspace: Workspace) -> list[Progress]:
    seen: list[Progress] = []
    finish(capture(workspace.pair(), workspace.training[:6], batch=2), seen.append)
    return seen


def test_what_is_found_so_far_is_what_those_texts_alone_say(workspace: Workspace):
    some = [step for step in steps(workspace) if isinstance(step, Captured)]
    assert [step.done for step in some] == [2, 4]
    for step in some:
        alone = finish(capture(workspace.pair(), workspace.training[: step.done]))
        assert step.so_far.count == alone.count
        assert float((step.so_far.lost_energy / alone.lost_energy - 1).abs().max()) < 1e-6


def test_the_note_of_an_opening_goes_with_its_end(workspace: Workspace):
    job, notes = Job("Opening", "me", "cpu", lambda _: iter(())), list[list[HeadStatistics]]()  # type: ignore[arg-type, return-value]

    def work() -> Generator[Progress, None, Workspace]:
        yield from steps(workspace)
        return workspace

    def seen(step: Progress) -> None:
        notes.append(list(job.notes))
        assert not isinstance(step, Captured)

    assert finish(open_pairs._shown(job, work(), in_order=False), seen) is workspace
    assert [note[0].count if note else 0 for note in notes] == sorted(note[0].count if note else 0 for note in notes)
    assert len(notes[-1]) == 1
    assert job.notes == []
    finish(open_pairs._shown(job, work(), in_order=True), lambda step: notes.append(list(job.notes)))
    assert notes[-1] == []


def test_the_map_is_there_before_the_pair_is(workspace: Workspace, monkeypatch: pytest.MonkeyPatch):
    first = next(step for step in steps(workspace) if isinstance(step, Captured))
    job = Job("Opening a and b", "me", "cpu", lambda _: iter(()), state=State.RUNNING, progress=first)  # type: ignore[arg-type, return-value]
    job.notes.append(first.so_far)
    monkeypatch.setattr(open_pairs, "_open", open_pairs.OrderedDict())
    monkeypatch.setattr(open_pairs, "awaited", lambda recipe, owner: job)
    monkeypatch.setattr(jobs, "get", lambda name: job)
    monkeypatch.setattr("app.widgets.feedback.GLANCE", 0.0)
    app = AppTest.from_file(MAIN, default_timeout=60)
    app.query_params["head"] = "1.2"
    app.run()
    assert not app.exception
    said = [text.value for text in app.markdown]
    assert f"##### Relative error of every head, from {first.so_far.count:,} tokens so far" in said
    assert any("**Layer 1, head 2**, so far: relative error" in text for text in said), said
    assert any("**Reading: what every head computes" in caption.value for caption in app.caption)
    (chart,) = app.get("plotly_chart")
    assert "arriving-map" in chart.proto.id
    app.switch_page("../../pages/restore.py").run()
    assert not app.exception
    assert app.get("plotly_chart") == []
