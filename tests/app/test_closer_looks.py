"""Closer looks on the Heads page, without a browser: what is computed is the engine's, and shown."""

import pytest
import torch
from streamlit.testing.v1 import AppTest
from test_app_scores import MAIN

from app.session import state
from app.values.picks import Picks
from app.work import open_pairs, scores
from app.work.closer import found
from app.work.jobs import jobs
from restorelcc.artifacts.findings import Recipe
from restorelcc.compensation.constants import injected
from restorelcc.compensation.interface import compensated
from restorelcc.inspection.depth import departure
from restorelcc.inspection.kinds import members
from restorelcc.inspection.windows import windows
from restorelcc.progress import finish
from restorelcc.selection.picks import everything
from restorelcc.workspace import Workspace


@pytest.fixture
def app(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setattr(scores, "_kept", scores.OrderedDict())
    monkeypatch.setattr(open_pairs, "_open", open_pairs.OrderedDict({Recipe(): workspace}))
    monkeypatch.setattr(state, "_owner", lambda: "me")
    return AppTest.from_file(MAIN, default_timeout=60).run()


def looked(app: AppTest, name: str, key: tuple[object, ...]) -> AppTest:
    """With a look taken and computed."""
    app.segmented_control(key="look-closer").set_value(name).run()
    app.button(key=f"look-{name}").click().run()
    job = jobs.find(key)
    assert job is not None
    assert job.wait(60)
    assert job.error == ""
    return app.run()


def test_kinds_of_heads_are_a_table_and_colours_of_the_map(app: AppTest, workspace: Workspace):
    looked(app, "kinds", scores.key(workspace, "induction"))
    assert not app.exception
    table = next(frame.value for frame in app.dataframe if "kept" in frame.value)
    expected = members(scores.known(Recipe(), "kinds"))
    assert table["dense"].tolist() == [member.dense for member in expected]
    app.button(key="show-induction_change").click().run()
    assert not app.exception
    assert any("Induction, change of every head" in text.value for text in app.markdown)
    assert app.selectbox(key="closer").value == "induction_change"


def test_a_head_and_a_component_are_read_on_text_of_ones_own(app: AppTest, workspace: Workspace):
    app.session_state["studio"].head = (1, 2)
    app.run()
    app.segmented_control(key="passage-source").set_value("own").run()
    assert any("Write a text" in caption.value for caption in app.caption)
    app.text_area(key="passage-own").set_value("the little dog ran in the park").run()
    assert not app.exception
    assert "park" in next(html.value for html in app.get("html") if 'data-head="L1 H2"' in html.value)
    app.text_area(key="passage-own").set_value("dog").run()
    app.switch_page("../../pages/components.py").run()
    assert not app.exception
    assert "dog" in next(html.value for html in app.get("html") if "data-component" in html.value)


def test_predictions_by_depth_with_the_picks_in_place(app: AppTest, workspace: Workspace):
    tab = app.session_state["studio"]
    tab.picks = Picks(everything(workspace.lost.shape))
    app.run()
    looked(app, "depth", found.key(workspace, "depth picks all"))
    assert not app.exception
    plain, restored = scores.known(Recipe(), "depth picks all")
    pair, back = workspace.pair(), injected(workspace.lost, tab.picks.weights())
    with compensated(pair.pruned, back):
        (expected,) = finish(departure(pair, workspace.findings.live))
    torch.testing.assert_close(restored.kl, expected.kl)
    frame = next(frame.value for frame in app.dataframe if "kl_restored" in frame.value)
    assert frame["kl"].tolist() == plain.to_pandas()["kl"].tolist()


def test_text_that_was_hit_is_listed_and_read(app: AppTest, workspace: Workspace):
    looked(app, "hit", found.key(workspace, "windows calibration "))
    assert not app.exception
    frame = next(frame.value for frame in app.dataframe if "lost" in frame.value)
    expected = finish(windows(workspace.pair(), workspace.findings.calibration))
    assert frame["window"].tolist() == expected["window"].tolist()
    app.segmented_control(key="hit-source").set_value("evaluation").run()
    assert app.button(key="look-hit")


def test_before_and_after_on_two_pages(app: AppTest, workspace: Workspace):
    app.segmented_control(key="look-closer").set_value("after").run()
    assert any("Pick something" in caption.value for caption in app.caption)
    app.session_state["studio"].picks = Picks(everything(workspace.lost.shape))
    looked(app, "after", found.key(workspace, "after picks all"))
    assert not app.exception
    after = scores.known(Recipe(), "after picks all")
    assert f"mean {float(after.loss.relative_error.mean()):.3f}" in " ".join(text.value for text in app.markdown)
    app.switch_page("../../pages/components.py").run()
    assert not app.exception
    shown = next(frame.value for frame in app.dataframe if "after" in frame.value)
    head = app.session_state["studio"].head or divmod(int(workspace.loss.relative_error.argmax()), 4)
    assert shown["after"].tolist() == after.variance[head].tolist()
