"""Two pairs in step, without a browser: what is drawn is of both, on one scale; another shape is refused in a line."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import make_model, noisy
from streamlit.testing.v1 import AppTest

from app.session import state
from app.values.verbatim import in_figure
from app.work import open_pairs, scores
from app.work.closer import other_pairs
from restorelcc.artifacts.findings import Recipe
from restorelcc.capture.statistics import capture
from restorelcc.models.pair import paired
from restorelcc.progress import finish
from restorelcc.pruning.layerwise import Pruning
from restorelcc.workspace import Workspace

MAIN = str(Path(__file__).resolve().parents[3] / "app" / "shell" / "rerun.py")
HALF = Recipe(pruning=Pruning("wanda", 0.5))


def of_shape(workspace: Workspace, recipe: Recipe, tokenizer, **shape: int) -> Workspace:
    """Another pair on the same text, without models in memory."""
    dense = make_model(**shape)
    pair = paired(dense, noisy(dense, 0.2), tokenizer, "dense", "other")
    statistics = finish(capture(pair, workspace.findings.calibration))
    return Workspace(recipe, replace(workspace.findings, statistics=statistics, geometry=pair.geometry))


@pytest.fixture
def opened(workspace: Workspace, tokenizer, monkeypatch: pytest.MonkeyPatch) -> dict[Recipe, Workspace]:
    pairs = {Recipe(): workspace, HALF: of_shape(workspace, HALF, tokenizer)}
    monkeypatch.setattr(scores, "_kept", scores.OrderedDict())
    monkeypatch.setattr(open_pairs, "_open", open_pairs.OrderedDict(pairs))
    monkeypatch.setattr(open_pairs, "_seen", open_pairs.OrderedDict.fromkeys(pairs))
    monkeypatch.setattr(state, "_owner", lambda: "me")
    return pairs


def shown(app: AppTest, key: str) -> dict:
    """A figure as it is sent."""
    chart = next(chart for chart in app.get("plotly_chart") if key in chart.proto.id)
    return json.loads(chart.proto.spec)


def test_a_link_shows_both_pairs_on_one_scale_and_their_difference(opened: dict[Recipe, Workspace]):
    app = AppTest.from_file(MAIN, default_timeout=60)
    app.query_params |= {"look": "beside", "beside": "dense=demo&method=wanda&prune=0.5", "head": "1.2"}
    app.run()
    assert not app.exception
    assert app.selectbox(key="beside-heads").value == HALF
    here, there = (opened[recipe].loss.relative_error for recipe in (Recipe(), HALF))
    table = next(frame.value for frame in app.dataframe if "wanda 50 %" in frame.value and "layer" in frame.value)
    assert table["wanda 60 %"].tolist() == here.flatten().tolist()
    assert table["difference"].tolist() == (there - here).flatten().tolist()
    cells = {name: shown(app, f"map-{name}")["data"][0] for name in ("here", "beside", "difference")}
    assert cells["here"]["zmax"] == cells["beside"]["zmax"] == pytest.approx(float(here.maximum(there).max()))
    assert cells["difference"]["zmin"] == -cells["difference"]["zmax"]
    said = shown(app, "map-beside")["data"][1]["text"]
    assert (
        f"{in_figure('wanda 60 %')} {float(here[0, 0]):.4g}, {in_figure('wanda 50 %')} {float(there[0, 0]):.4g}"
        in said[0]
    )
    assert any("wanda 50 % loses less than wanda 60 % in" in text.value for text in app.markdown)
    app.switch_page("../../pages/components.py").run()
    assert not app.exception
    bars = next(frame.value for frame in app.dataframe if "wanda 50 %" in frame.value and "component" in frame.value)
    assert bars["wanda 50 %"].tolist() == opened[HALF].lost.variance[1, 2].tolist()


def test_a_pair_of_another_shape_is_refused_in_one_line(opened, workspace: Workspace, tokenizer):
    other = replace(HALF, dense="elsewhere")
    open_pairs._open[other] = of_shape(workspace, other, tokenizer, num_hidden_layers=2)
    app = AppTest.from_file(MAIN, default_timeout=60).run()
    app.session_state["studio"].look, app.session_state["studio"].beside = "beside", other
    app.run()
    assert not app.exception
    (refused,) = app.error
    assert "embedded model → wanda 60 % has 3 layers of 4 heads" in refused.value
    assert "elsewhere → wanda 50 % has 2 layers of 4 heads" in refused.value


def test_pairs_to_choose_from_are_those_known_and_the_model_pruned_otherwise(opened):
    listed = other_pairs.others(Recipe())
    assert listed[0] == HALF
    assert Recipe() not in listed
    assert Recipe(pruning=Pruning("magnitude", 0.6)) in listed
    assert len(listed) == len(set(listed))
    assert other_pairs.named(listed[0], Recipe()) == "wanda 50 %"
    assert other_pairs.named(replace(HALF, windows=16), Recipe()) == "wanda 50 %, 16 windows"
    given = Recipe(dense="a", pruned="/models/b")
    assert {other.dense for other in other_pairs.others(given)} == {"demo"}
    assert other_pairs.named(given, Recipe()) == "a → b"
