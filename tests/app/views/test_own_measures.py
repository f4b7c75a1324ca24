"""Heads on two measures, and scores of one's own, on the pages: what is drawn, what a link holds, who sees it."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from app.charts.heads import Axis, agreement, head_scatter
from app.session.axes import Axes
from app.values.colours import LIGHT
from app.work import open_pairs, scores, sweeps
from app.work.sweeps import Plan
from restorelcc.artifacts.findings import Recipe
from restorelcc.progress import finish
from restorelcc.selection.own import own_score
from restorelcc.selection.scores import SCORES
from restorelcc.workspace import Workspace

MAIN = str(Path(__file__).resolve().parents[3] / "app" / "shell" / "rerun.py")


@pytest.fixture
def app(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setattr(open_pairs, "_open", OrderedDict({Recipe(): workspace}))
    monkeypatch.setattr(scores, "_kept", OrderedDict())
    return AppTest.from_file(MAIN, default_timeout=60).run()


def given(app: AppTest, workspace: Workspace) -> None:
    """As the upload keeps it: heads of the last layer alone, the last of which comes first."""
    content = b"layer,head,value\n" + b"".join(b"2,%d,%d\n" % (head, head) for head in range(4))
    own = own_score("my luck.csv", content, workspace.lost.shape[:2])
    session = app.session_state["studio"]
    session.own, session.metric = {own.row.name: own}, own.row.name
    app.run()


def test_own_scores_are_drawn_ranked_and_pick_heads_in_this_session_alone(
    app: AppTest, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
):
    given(app, workspace)
    assert not app.exception
    assert app.segmented_control(key="own").options == ["my luck"]
    assert "##### my luck of every head" in [text.value for text in app.markdown]
    assert "metric" not in app.query_params
    app.number_input(key="first-count").set_value(2).run()
    app.button(key="pick-first").click().run()
    assert app.session_state["studio"].picks.selection.heads == {(2, 3), (2, 2)}

    app.switch_page("../../pages/components.py").run()
    app.selectbox(key="strategy").set_value("loss").run()
    app.selectbox(key="strategy-metric").set_value("own_my_luck").run()
    app.number_input(key="strategy-heads").set_value(1).run()
    app.button(key="fill").click().run()
    assert app.session_state["studio"].picks.selection.heads == {(2, 3)}

    app.switch_page("../../pages/restore.py").run()
    app.selectbox(key="sweep-metric").set_value("own_my_luck").run()
    planned: list[Plan] = []
    monkeypatch.setattr(sweeps, "start", lambda _, plan, owner: planned.append(plan))
    app.button(key="start-sweep").click().run()
    assert not app.exception
    assert planned[0].score[2].tolist() == [0, 1, 2, 3]
    assert bool((planned[0].score[:2] == -torch.inf).all())
    app.session_state["studio"].own = {}
    assert app.run().selectbox(key="sweep-metric").value == "together_dense"
    assert not app.exception
    other = AppTest.from_file(MAIN, default_timeout=60).run()
    assert all(control.key != "own" for control in other.segmented_control)
    assert "own_my_luck" not in SCORES


def test_the_scatter_asks_for_what_is_not_computed_and_then_says_what_it_shows(app: AppTest, workspace: Workspace):
    assert app.button(key="look-scatter").label == "Compute predicted, to dense"
    finish(scores.compute(workspace, "towards_dense"))
    app.run()
    assert any("Rank correlation" in caption.value for caption in app.caption)
    app.selectbox(key="axis-colour").set_value("cosine_distance").run()
    app.checkbox(key="log-x").check().run()
    assert app.checkbox(key="log-y").disabled
    assert app.query_params["axes"] == "relative_error~towards_dense~cosine_distance~x"
    assert Axes.from_text(app.query_params["axes"]) == Axes(colour="cosine_distance", log_x=True)
    given(app, workspace)
    app.selectbox(key="axis-x").set_value("own_my_luck").run()
    assert not app.exception
    assert "axes" not in app.query_params
    assert any("over 4 heads" in caption.value for caption in app.caption)


@pytest.mark.parametrize("text", ["", "nonsense~~<b>~zz", "~" * 40, "own_x~own_y", "relative_error"])
def test_a_link_with_other_axes_has_the_default_ones(text: str):
    assert Axes.from_text(text) == Axes()
    assert Axes().to_text() == ""
    assert Axes(x="own_x").to_text() == ""


@pytest.mark.parametrize("shape", [(3, 4), (30, 9), (80, 64)])
def test_points_lie_where_the_measures_say(shape: tuple[int, int]):
    generator = torch.Generator().manual_seed(0)
    x, y = (Axis(SCORES[name], torch.rand(shape, generator=generator)) for name in ("relative_error", "predicted"))
    figure = head_scatter(x, y, Axis(SCORES["ceiling"], y.table - 0.5), LIGHT, [(1, 2)], (2, 3))
    ring, frame, heads = figure.data
    layer, head = np.array(heads.customdata).T
    np.testing.assert_array_equal(heads.x, x.table[layer, head].double())
    np.testing.assert_array_equal(heads.y, y.table[layer, head].double())
    assert (ring.x[0], frame.y[0]) == (x.table[1, 2], y.table[2, 3])
    assert heads.type == ("scattergl" if shape == (80, 64) else "scatter")
    assert figure.layout.yaxis.autorange == "reversed"  # the lowest is looked at first, and lies at the top


def test_the_rank_correlation_is_of_what_comes_first():
    up = torch.arange(12.0).view(3, 4)
    loss, change = SCORES["relative_error"], SCORES["predicted"]
    assert agreement(Axis(loss, up), Axis(loss, up**3)) == (pytest.approx(1), 12)
    assert agreement(Axis(loss, up), Axis(change, up)) == (pytest.approx(-1), 12)
    some = up.clone()
    some[0] = torch.nan
    assert agreement(Axis(loss, up), Axis(change, -some)) == (pytest.approx(1), 8)
    assert np.isnan(agreement(Axis(loss, up), Axis(loss, torch.ones(3, 4)))[0])
