"""Against its neighbours on Compare, by Streamlit's test driver on a tiny stand-in, and its picture."""

import json
from collections import OrderedDict
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from app.charts.neighbours.shares import against_cost
from app.session import state
from app.values.colours import DARK, LIGHT
from app.views.compare.neighbours.chosen import GIVEN
from app.views.learn.beyond import _ranked
from app.work import open_pairs
from app.work.jobs import Jobs, State
from app.work.neighbours import comparing
from restorelcc.artifacts.experiments import Experiment, list_experiments
from restorelcc.artifacts.findings import Recipe
from restorelcc.workspace import Workspace

MAIN = str(Path(__file__).resolve().parents[3] / "app" / "shell" / "rerun.py")
METHODS = ["restorelcc", "mean-bias", "lora"]


@pytest.fixture
def page(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """Compare, with a queue of its own."""
    fresh = Jobs()
    for module in ("work.neighbours.comparing", "widgets.feedback"):
        monkeypatch.setattr(f"app.{module}.jobs", fresh)
    monkeypatch.setattr(comparing, "shipped_experiments", tuple)
    monkeypatch.setattr(open_pairs, "_open", OrderedDict({Recipe(): workspace}))
    monkeypatch.setattr(state, "_owner", lambda: "me")  # AppTest's stand-in for cookies holds no text.
    return opened()


def opened() -> AppTest:
    app = AppTest.from_file(MAIN, default_timeout=60).run().switch_page("../../pages/compare.py").run()
    assert not app.exception
    return app


def compared(page: AppTest, workspace: Workspace) -> Experiment:
    page.multiselect(key="neighbours-methods").set_value(METHODS)
    page.number_input(key="neighbours-steps").set_value(2).run()
    page.button(key="start-neighbours").click().run()
    job = comparing.newest(workspace, "me")
    assert job is not None
    assert job.wait(60)
    assert job.state == State.DONE, job.error
    found = comparing.so_far(job)
    assert found is not None
    return found


def shown(page: AppTest) -> pd.DataFrame:
    assert not page.exception
    return next(frame.value for frame in page.dataframe if "inference" in frame.value.columns)


def test_methods_are_compared_kept_and_found_again(page: AppTest, workspace: Workspace):
    assert not page.dataframe
    found = compared(page, workspace)
    assert not found.stopped
    table = shown(page.run())
    assert list(table["method"]) == ["Constants", "Mean bias", "LoRA"]
    assert list(table["inference"])[:2] == ["free", "free"]
    assert "products a token" in table["inference"][2]
    (kept,), _ = list_experiments()
    assert kept.facts == json.loads(found.written())
    again = opened()  # a reload, and a server that remembers nothing
    pd.testing.assert_frame_equal(shown(again), table)
    assert any("2 steps of 4 windows, 1 seed" in text.value for text in again.caption)
    again.button(key="delete-neighbours").click().run()
    assert list_experiments() == ([], [])
    again.button(key="undo-neighbours").click().run()
    assert len(shown(again)) == 3


def test_what_is_done_stays_where_the_rest_is_cancelled(page: AppTest, workspace: Workspace, monkeypatch):
    whole = comparing.compared

    def cancelled(*given):
        for step in whole(*given):
            yield step
            if hasattr(step, "figures"):
                comparing.jobs.cancel(comparing.jobs.listed()[0], "me")

    monkeypatch.setattr(comparing, "compared", cancelled)
    job = comparing.start(workspace, comparing.Plan(("mean-bias", "restorelcc"), 2, 1), "me")
    assert job.wait(60)
    assert job.state == State.CANCELLED
    (kept,), _ = list_experiments()
    assert kept.stopped
    page.run()
    assert list(shown(page)["method"]) == ["Mean bias"]
    assert any("It was stopped before all was done" in text.value for text in page.caption)


def test_a_file_is_shown_in_this_session_alone(page: AppTest, workspace: Workspace):
    found = compared(page, workspace)
    facts = json.loads(found.written()) | {"pair": {"dense": "of others", "pruned": "<b>their</b> pruning"}}
    page.session_state[GIVEN], page.session_state["neighbours-file"] = Experiment(facts), "given"
    page.run()
    assert any("of others" in text.value for text in page.caption)
    assert page.selectbox(key="neighbours-chosen").options[0].endswith("(of a file)")
    assert not [button for button in page.button if button.key == "delete-neighbours"]
    assert len(opened().selectbox(key="neighbours-chosen").options) == 1


FRAME = pd.DataFrame(
    {
        "name": ["Constants", "LoRA", "DoRA", "a run"],
        "whose": ["ours", "others", "others", "run"],
        "share": [0.3, 0.5, 0.51, 0.35],
        "error": [0.01, 0.02, float("nan"), 0.01],
        "trained": [4096, 300_000, 310_000, 4096],
        "seconds": [12.0, 30.0, 50.0, 60.0],
        "kept": [True, False, False, True],
    }
)


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("look", [LIGHT, DARK])
def test_marks_say_whether_zeros_are_kept_on_logarithmic_axes(look, narrow):
    figure = against_cost(FRAME, "nearer", look, narrow)
    assert len(figure.data) == 6
    for panel, cost in (("x", "trained"), ("x2", "seconds")):
        drawn = {trace.name: trace for trace in figure.data if trace.xaxis == panel}
        filled = drawn["others, zeros filled"]
        assert list(filled.x) == list(FRAME[cost][1:3])
        assert list(filled.y) == [0.5, 0.51]
        assert filled.error_y.array[0] == 0.02
        if cost == "trained":  # where they stand close together
            assert filled.textposition[0] != filled.textposition[1]
        symbols = {name: trace.marker.symbol for name, trace in drawn.items()}
        assert len(set(symbols.values())) == 3
        assert drawn["ours, zeros kept"].marker.color == drawn["your runs"].marker.color == look.restored
        assert filled.marker.color not in (look.restored, look.dense, look.pruned)
    assert figure.layout.xaxis.type == figure.layout.xaxis2.type == "log"
    assert {note.text.partition(",")[0] for note in figure.layout.annotations} == {"pruned", "dense"}


def test_the_nearest_is_told_apart_by_whether_it_keeps_the_zeros():
    table = pd.DataFrame(
        {
            "title": ["Constants", "Weights", "LoRA", "EoRA"],
            "nearer": [0.3, 0.5, 0.6, float("nan")],
            "nearer_stderr": [0.01, 0.01, 0.02, float("nan")],
            "nearer_seeds": [float("nan"), 0.03, 0.01, float("nan")],
            "kept": [1.0, 1.0, 0.0, 0.0],
            "trained": [4096, 2_000_000, 300_000, 300_000],
        }
    )
    told = _ranked(table)
    assert "every zero in its place **Weights** comes nearest to the dense model (50% ± 3%, 2,000,000 numbers)" in told
    assert "zeros filled **LoRA** comes nearest to the dense model (60% ± 2%, 300,000 numbers)" in told
