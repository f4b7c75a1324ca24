"""A score that is one row and one function is offered everywhere: on the command line, in its help, on the pages."""

from collections import OrderedDict
from collections.abc import Generator
from importlib import reload
from pathlib import Path
from types import ModuleType

import pytest
import torch
from commands import answer, call
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from app.session import state
from app.work import open_pairs, scores
from app.work.jobs import jobs
from restorelcc.artifacts.findings import Recipe
from restorelcc.cli import options, restoring
from restorelcc.progress import Progress
from restorelcc.selection.scores import SCORES, Computation, Score, ScoreInputs
from restorelcc.selection.scoring import HeadScore
from restorelcc.workspace import Workspace

MAIN = str(Path(__file__).resolve().parents[1] / "app" / "shell" / "rerun.py")

TITLE = "Distance from the last head"
BRIEF = "how many heads come after it, which says nothing at all"


def heads_after(inputs: ScoreInputs) -> Generator[Progress, None, HeadScore]:
    layers, heads, _ = inputs.lost.shape
    yield Progress("counting heads", 0, layers * heads)
    return HeadScore(torch.arange(layers * heads).flip(0).view(layers, heads).double())


@pytest.fixture(autouse=True)
def row(monkeypatch: pytest.MonkeyPatch) -> Score:
    score = Score(
        name="heads_after",
        title=TITLE,
        brief=BRIEF,
        definition="Heads counted from the end.",
        unit="heads",
        scale="plain",
        first="lowest",
        ranked="Heads that come last",
        computation=Computation("heads_after", "no time at all", heads_after),
    )
    monkeypatch.setitem(SCORES, score.name, score)
    return score


@pytest.fixture
def started_anew() -> Generator[ModuleType, None, None]:
    """The command line as it is when it starts with the row there."""
    reload(restoring)
    yield reload(options)
    del SCORES["heads_after"]
    reload(restoring)
    reload(options)


@pytest.mark.parametrize("command", ["inspect", "restore", "sweep"])
def test_it_is_in_the_help(started_anew: ModuleType, command: str):
    shown = " ".join(CliRunner().invoke(started_anew.app, [command, "--help"]).stdout.replace("│", " ").split())
    assert "heads_after" in shown
    assert (BRIEF in shown) == (command == "inspect")


def test_inspect_computes_it_and_orders_by_it(pair_args):
    heads = answer("inspect", *pair_args, "--scores", "heads_after,gradient")["heads"]
    assert [row["heads_after"] for row in heads] == list(range(12))
    assert [(row["layer"], row["head"]) for row in heads[:2]] == [(2, 3), (2, 2)]
    shown = call("inspect", *pair_args, "--scores", "heads_after").stdout
    assert f"Heads by {TITLE.lower()}" in shown


def test_restore_takes_the_heads_that_it_puts_first(pair_args, tmp_path):
    some = ["--steps", 1, "--heads", 0.25, "--score", "heads_after", "--out", tmp_path / "out"]
    answer("restore", *pair_args, *some)
    (run,) = answer("runs")["runs"]
    assert sorted(run["selection"]["picks"]) == ["2.1", "2.2", "2.3"]


def test_the_pages_offer_it_compute_it_draw_it_and_pick_by_it(
    row: Score, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(scores, "_kept", OrderedDict())
    monkeypatch.setattr(open_pairs, "_open", OrderedDict({Recipe(): workspace}))
    monkeypatch.setattr(state, "_owner", lambda: "me")
    app = AppTest.from_file(MAIN, default_timeout=60).run()
    switch = app.selectbox(key="score")
    assert TITLE in switch.options
    assert f"**{TITLE}**: Heads counted from the end." in switch.help
    switch.set_value(row.name).run()
    assert any("It takes no time at all" in caption.value for caption in app.caption)
    assert app.query_params["metric"] == "heads_after"

    app.button(key="compute-score").click().run()
    job = jobs.find(scores.key(workspace, row.name))
    assert job is not None
    assert job.wait(60)
    app.run()
    assert not app.exception
    said = [text.value for text in app.markdown]
    assert f"##### {TITLE} of every head" in said
    assert "##### Heads that come last" in said
    drawn = {chart.proto.id: chart.proto.spec for chart in app.get("plotly_chart")}
    assert any("head-map" in name and TITLE in spec for name, spec in drawn.items())

    app.switch_page("../../pages/components.py").run()
    app.selectbox(key="strategy").set_value("loss").run()
    app.selectbox(key="strategy-metric").set_value(row.name).run()
    app.button(key="fill").click().run()
    assert app.session_state["studio"].picks.selection.heads == {(2, 1), (2, 2), (2, 3)}
