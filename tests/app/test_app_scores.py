"""Scores that are computed on request: what they are, where they are shown, and that they are computed once."""

from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import make_tokens
from streamlit.testing.v1 import AppTest

from app.session import state
from app.values.picks import Picks
from app.values.words import percent
from app.work import open_pairs, scores
from app.work.jobs import jobs
from restorelcc.artifacts.findings import Recipe
from restorelcc.compensation.constants import injected
from restorelcc.progress import finish
from restorelcc.selection.predicted_effect import on_loss
from restorelcc.selection.scores import SCORES, ScoreInputs, captured, computed
from restorelcc.selection.scoring import score_heads
from restorelcc.workspace import Workspace

LOWEST_FIRST = {
    "together_dense": True,
    "together": True,
    "towards_dense": True,
    "predicted": True,
    "gradient": False,
    "probing": False,
    "ceiling": True,
    "measured": True,
    "by_constant": False,
    "by_weights": False,
    "gone": True,
}
"""Every score, and whether the lowest is the one to pick: it is where it is a change of the loss."""
METRIC_WORDS, SCORE_WORDS = captured(), computed()
MAIN = str(Path(__file__).resolve().parents[2] / "app" / "shell" / "rerun.py")


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "_kept", scores.OrderedDict())


@pytest.fixture
def app(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setattr(open_pairs, "_open", open_pairs.OrderedDict({Recipe(): workspace}))
    monkeypatch.setattr(state, "_owner", lambda: "me")
    return AppTest.from_file(MAIN, default_timeout=60).run()


def done(workspace: Workspace, name: str) -> None:
    job = jobs.find(scores.bounds_key(workspace) if name == "bounds" else scores.key(workspace, name))
    assert job is not None
    assert job.wait(60)
    assert job.error == ""


def test_every_score_has_words_and_the_engines_order():
    assert set(SCORE_WORDS) == set(LOWEST_FIRST)
    assert {name: word.lowest_first for name, word in SCORE_WORDS.items()} == LOWEST_FIRST
    assert not any(word.lowest_first for word in METRIC_WORDS.values())


@pytest.mark.parametrize(
    "name", ["predicted", "towards_dense", "together", "together_dense", "gradient", "ceiling", "measured"]
)
def test_a_score_on_the_page_is_the_engines(workspace: Workspace, name: str):
    assert scores.table(workspace, name) is None
    assert scores.missing(workspace, name) == 12
    finish(scores.compute(workspace, name))
    found = workspace.findings
    inputs = ScoreInputs(workspace.pair(), found.statistics, workspace.lost, workspace.training, workspace.held_out)
    plain = finish(score_heads(name, inputs))
    torch.testing.assert_close(scores.table(workspace, name), plain.values)
    assert scores.missing(workspace, name) == 0


@pytest.mark.parametrize("name", ["predicted", "towards_dense", "ceiling", "measured", "components"])
def test_nothing_that_heads_are_chosen_by_looks_at_the_text_that_judges(workspace: Workspace, name: str):
    """Every text that either model reads on the way is of the calibration; the evaluation text has others."""
    evaluation = make_tokens(texts=4, seed=9)
    findings = replace(workspace.findings, evaluation=evaluation, live=evaluation)
    opened, read = Workspace(workspace.recipe, findings, workspace.pair()), []
    hooks = [
        model.register_forward_pre_hook(lambda _, args: read.extend(args[0].tolist()))
        for model in (opened.pair().dense, opened.pair().pruned)
    ]
    try:
        finish(scores._head_components(opened, 1, 2) if name == "components" else scores.compute(opened, name))
    finally:
        for hook in hooks:
            hook.remove()
    wanted = opened.training if name in ("predicted", "towards_dense") else opened.held_out
    assert all(text in read for text in wanted.ids.tolist())
    assert all(text in findings.calibration.ids.tolist() for text in read)


def test_what_measures_one_by_one_shows_what_it_has_and_goes_on_from_there(workspace: Workspace):
    work = scores.compute(workspace, "measured")
    while scores.missing(workspace, "measured") > 9:
        next(work)
    work.close()  # cancelled
    table = scores.table(workspace, "measured")
    assert table is not None
    assert int(table.isfinite().sum()) == 3
    steps = sum(1 for _ in scores.compute(workspace, "measured"))
    assert scores.missing(workspace, "measured") == 0
    assert steps == 10  # the pruned model, and the nine that were missing


def test_the_page_says_what_a_score_takes_and_computes_it(app: AppTest, workspace: Workspace):
    app.selectbox(key="score").set_value("predicted").run()
    assert any("one backward pass" in caption.value for caption in app.caption)
    app.button(key="compute-score").click().run()
    done(workspace, "predicted")
    app.run()
    assert not app.exception
    assert any("Predicted effect of every head" in text.value for text in app.markdown)
    assert any("Heads most worth restoring" in text.value for text in app.markdown)
    app.selectbox(key="score").set_value("gradient").run()  # comes with it
    assert any("Gradient norm of every head" in text.value for text in app.markdown)


def test_components_are_predicted_measured_and_picked_by_prediction(app: AppTest, workspace: Workspace):
    app.session_state["studio"].head = (1, 2)
    app.switch_page("../../pages/components.py").run()
    app.button(key="predict-head").click().run()
    done(workspace, "predicted")
    app.run()
    app.button(key="measure-components").click().run()
    job = jobs.find(scores.components_key(workspace, 1, 2))
    assert job is not None
    assert job.wait(60)
    assert {place[:2] for place in scores.known(Recipe(), "components").changes} == {(1, 2)}
    app.run()
    app.button(key="best-magnitude").click().run()
    effect, lost = scores.known(Recipe(), "effect"), workspace.lost
    factor = app.session_state["studio"].picks.factor((1, 2, 0))
    assert factor * float(lost.magnitude[1, 2, 0]) == pytest.approx(float(effect.best[1, 2, 0]), abs=0.01)
    app.selectbox(key="strategy").set_value("predicted").run()
    app.number_input(key="strategy-components").set_value(5).run()
    app.button(key="fill").click().run()
    best = effect.of_component.flatten().argsort()[:5].tolist()
    picked = app.session_state["studio"].picks.selection.picks
    assert picked == {(i // 32, i // 8 % 4, i % 8) for i in best}


def test_a_link_names_a_score(workspace: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(open_pairs, "_open", open_pairs.OrderedDict({Recipe(): workspace}))
    app = AppTest.from_file(MAIN, default_timeout=60)
    app.query_params["metric"] = "ceiling"
    app.run()
    assert app.session_state["studio"].metric == "ceiling"
    assert any(SCORES["ceiling"].title in text.value for text in app.markdown)


def test_the_ceilings_come_with_what_could_come_back_at_all(app: AppTest, workspace: Workspace):
    app.selectbox(key="score").set_value("ceiling").run()
    assert any("one restoration of all heads" in caption.value for caption in app.caption)
    app.button(key="compute-bounds").click().run()
    done(workspace, "bounds")
    app.run()
    assert not app.exception
    frame = scores.known(Recipe(), "bounds").to_pandas()
    share = float(frame[frame["what"] == "constants"]["recovered_share"].iloc[0])
    said = [caption.value for caption in app.caption if "every head perfect" in caption.value]
    assert len(said) == 1
    assert f"Constants trained in all heads bring back {percent(share)};" in said[0]


def test_picks_are_predicted_in_the_background_and_the_best_of_a_budget_fills_them(app: AppTest, workspace: Workspace):
    picks = Picks.none(workspace.lost.shape).scaled((1, 2, 0), 0.5)
    assert scores.foretold(workspace, picks) is None
    scores.foresee(workspace)
    job = jobs.find(("foresee", workspace.recipe))
    assert job is not None
    assert job.wait(60)
    assert job.error == ""
    found = scores.foretold(workspace, picks)
    effect = finish(on_loss(scores.inputs(workspace)))
    back = injected(workspace.lost, picks.weights()).vectors
    assert found is not None
    assert found.nats == pytest.approx(effect.together(back).nats, rel=1e-4)
    scores.submit(workspace, "predicted", "me", "")
    done(workspace, "predicted")
    app.switch_page("../../pages/components.py").run()
    app.selectbox(key="strategy").set_value("together").run()
    app.number_input(key="strategy-budget").set_value(20).run()
    app.button(key="fill").click().run()
    tab: state.Session = app.session_state["studio"]
    assert tab.picks is not None
    assert 1 <= len(tab.picks) <= 20
    assert any(factor != 1 for _, factor in tab.picks.factors)
    foretold = scores.foretold(workspace, tab.picks)
    assert foretold is not None
    assert foretold.nats < 0
    header = next(part.proto.body for part in app.get("html") if "studio-header" in part.proto.body)
    assert "predicted −" in header
    assert "off by" in header


def test_what_is_predicted_lets_measurements_go_first(workspace: Workspace, monkeypatch: pytest.MonkeyPatch):
    order = []
    monkeypatch.setattr(scores.lane, "_asked", {1: Future()})
    monkeypatch.setattr(scores.time, "sleep", lambda _: order.append("paused") or scores.lane._asked.clear())
    scores.foresee(workspace)
    job = jobs.find(("foresee", workspace.recipe))
    assert job is not None
    assert job.wait(60)
    assert order == ["paused"]
