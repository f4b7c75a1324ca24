"""Pages of the app by Streamlit's own test driver, on a tiny stand-in for the embedded pair; clicks on charts are the
browser tests' affair."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

from app.session import state
from app.values.pages import PAGES
from app.values.words import short_name
from app.work import open_pairs
from app.work.jobs import jobs
from restorelcc.artifacts.findings import Recipe
from restorelcc.artifacts.runs import list_runs
from restorelcc.pruning.layerwise import Pruning
from restorelcc.pruning.methods import METHODS
from restorelcc.restoration.settings import PRESETS
from restorelcc.workspace import Workspace

METHOD_HELP = {name: method.definition for name, method in METHODS.items()}
ROOT = Path(__file__).resolve().parents[2]
MAIN = str(ROOT / "app" / "shell" / "rerun.py")


@pytest.fixture
def app(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """Open on the stand-in, at the Heads page."""
    monkeypatch.setattr(open_pairs, "_open", open_pairs.OrderedDict({Recipe(): workspace}))
    return AppTest.from_file(MAIN, default_timeout=60).run()


def shown(app: AppTest, page: str) -> AppTest:
    app.switch_page(f"../../pages/{page}.py").run()
    assert not app.exception
    return app


def session(app: AppTest) -> state.Session:
    found: state.Session = app.session_state["studio"]
    return found


def said(app: AppTest) -> str:
    return "\n".join(part.value for part in (*app.markdown, *app.caption))


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens(app: AppTest, page: str):
    assert not shown(app, page).error


def test_the_embedded_pair_is_called_so(app: AppTest):
    assert any("<b>embedded model</b>" in part.proto.body for part in app.get("html"))
    assert "embedded model and wanda 60 %" in said(shown(app, "pair"))


def test_the_measure_chosen_is_the_one_shown(app: AppTest):
    assert "Relative error of every head" in said(app)
    app.segmented_control(key="metric").set_value("output_weighted").run()
    assert "Output-weighted of every head" in said(app)
    assert shown(app, "pair").query_params["metric"] == "output_weighted"  # and it outlives a change of page


def test_a_click_is_asked_for_where_there_is_something_to_click_on(app: AppTest):
    assert any("Click a cell" in info.value for info in app.info)
    app.selectbox(key="score").set_value("probing").run()
    assert not any("Click a cell" in info.value for info in app.info)


def test_a_heads_panel_adds_it_to_the_picks_and_undo_takes_it_back(app: AppTest):
    session(app).head = (1, 2)
    app.run()
    app.button(key="add-head").click().run()
    assert session(app).picks.to_text() == "1.2"
    app.button(key="undo").click().run()
    assert len(session(app).picks) == 0
    app.button(key="redo").click().run()
    app.button(key="clear").click().run()
    assert len(session(app).picks) == 0


def test_ticks_and_magnitude_change_the_picks(app: AppTest):
    session(app).head = (0, 1)
    shown(app, "components")
    app.button(key="quick-4").click().run()
    assert session(app).picks.components_of(0, 1) == [0, 1, 2, 3]
    session(app).component = 5
    app.run()
    app.slider(key="magnitude").set_value(1.5).run()
    assert session(app).picks.factor((0, 1, 5)) == 1.5
    assert 5 in session(app).picks.components_of(0, 1)


def test_a_name_is_kept_with_the_picks_in_the_link_and_in_the_run(app: AppTest):
    session(app).head = (0, 1)
    shown(app, "components").button(key="quick-4").click().run()
    app.text_input(key="component-name").set_value("~ends of = speech").run()
    assert session(app).names == {(0, 1, 0): "ends of speech"}
    assert app.query_params["names"] == "0.1.0=ends of speech"
    shown(app, "restore").number_input(key="setting-steps").set_value(1).run()
    app.button(key="start-restoration").click().run()
    job = jobs.get(session(app).run)
    assert job is not None
    assert job.wait(60)
    assert list_runs()[0].config["names"] == {"0.1.0": "ends of speech"}
    app.run()
    assert "0.1.0 ends of speech" in said(app)
    shown(app, "components").text_input(key="component-name").set_value("").run()
    assert session(app).names == {}


@pytest.mark.parametrize(("strategy", "heads"), [("all", 12), ("random", 3), ("loss", 3)])
def test_a_strategy_fills_the_picks(app: AppTest, strategy: str, heads: int):
    shown(app, "components")
    app.selectbox(key="strategy").set_value(strategy).run()
    app.button(key="fill").click().run()
    assert len(session(app).picks.selection.heads) == heads


def test_a_setting_that_makes_no_sense_is_refused_in_the_engines_words(app: AppTest):
    shown(app, "restore")
    app.number_input(key="setting-warm_up").set_value(0.9).run()
    assert "at most 1 together" in app.error[0].value
    assert app.button(key="start-restoration").disabled


def test_a_restoration_runs_and_is_kept(app: AppTest):
    shown(app, "components").button(key="quick-4").click().run()
    shown(app, "restore")
    app.number_input(key="setting-steps").set_value(3).run()
    app.text_input(key="run-name").set_value("small").run()
    app.button(key="start-restoration").click().run()
    job = jobs.get(session(app).run)
    assert job is not None
    assert job.wait(60)
    app.run()
    assert not app.exception
    assert "#### small" in said(app)
    assert [run.name for run in list_runs()] == ["small"]
    assert session(app).run == list_runs()[0].folder.name


def test_the_papers_preset_is_trained_as_its_code_does(app: AppTest):
    shown(app, "components").button(key="quick-4").click().run()
    shown(app, "restore").button(key="preset-published").click().run()
    assert not app.exception
    assert PRESETS["paper"].differs in said(app)
    assert "3 epochs are trained" in said(app)
    app.number_input(key="setting-epochs").set_value(1.0).run()
    assert PRESETS["paper"].differs not in said(app)
    app.button(key="start-restoration").click().run()
    job = jobs.get(session(app).run)
    assert job is not None
    assert job.wait(60)
    (run,) = list_runs()
    paper = PRESETS["paper"].settings
    assert run.settings == replace(paper, epochs=1.0).counted(run.config["calibration"]["windows"])
    assert run.config["best_step"] == run.config["steps_done"]


def test_training_says_what_it_starts_from_and_takes_magnitudes_set_by_hand(app: AppTest, workspace: Workspace):
    shown(app, "components").button(key="quick-4").click().run()
    picks = session(app).picks
    assert picks is not None
    pick = min(picks.selection.picks)
    assert "Starts from nothing put back" in said(shown(app, "restore"))
    assert "set by hand" not in said(app)
    session(app).picks = picks.scaled(pick, 2.5)
    assert "1 of the picks have a magnitude set by hand" in said(app.run())
    app.button(key="start-from-picked").click().run()
    assert app.selectbox(key="setting-start").value == "picked"
    assert "Starts from what the picks put back as they are" in said(app)
    assert "1 of the picks" not in said(app)
    app.number_input(key="setting-steps").set_value(1).run()
    app.number_input(key="setting-lr").set_value(0.00001).run()
    app.button(key="start-restoration").click().run()
    job = jobs.get(session(app).run)
    assert job is not None
    assert job.wait(60)
    (run,) = list_runs()
    alpha = workspace.lost.magnitude[pick]
    assert float(run.trained()["beta"][pick]) == pytest.approx(2.5 * float(alpha), abs=1e-3)
    session(app).picks = picks
    shown(app, "compare").button(key="open-run").click().run()
    assert session(app).picks == picks.scaled(pick, 2.5)


def test_a_restoration_without_data_is_trained_on_what_the_dense_model_writes(app: AppTest):
    shown(app, "components").button(key="quick-4").click().run()
    shown(app, "restore")
    app.segmented_control(key="training-text").set_value("none").run()
    app.number_input(key="sampled-windows").set_value(10).run()
    app.number_input(key="setting-steps").set_value(2).run()
    app.button(key="start-restoration").click().run()
    job = jobs.get(session(app).run)
    assert job is not None
    assert job.wait(60)
    assert job.error == ""
    calibration = list_runs()[0].config["calibration"]
    assert calibration == {"source": "self", "windows": 9, "length": 16, "sampled": 10}  # one was held out


def test_nothing_is_opened_from_a_form_that_lacks_a_model(app: AppTest):
    shown(app, "pair")
    app.radio(key="pair-way").set_value("two").run()
    app.text_input(key="pair-dense").set_value("some/model").run()
    assert app.button(key="open-pair").disabled


def test_a_bad_path_is_a_message_and_the_pair_stays(app: AppTest):
    shown(app, "pair")
    app.radio(key="pair-way").set_value("one").run()
    app.text_input(key="pair-dense").set_value("/nowhere/at/all").run()
    app.button(key="open-pair").click().run()
    job = jobs.get(session(app).pending)
    assert job is not None
    assert job.wait(30)
    app.run()
    assert "There is no folder /nowhere/at/all" in app.error[0].value
    assert session(app).recipe == Recipe()
    app.button(key="dismiss").click().run()
    assert not app.error


def said_recipe(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """What the form would open."""
    opened = []
    monkeypatch.setattr(
        open_pairs, "opening", lambda recipe, owner: opened.append(recipe) or SimpleNamespace(id="none")
    )
    app.button(key="open-pair").click().run()
    return opened[0]


@pytest.mark.parametrize(
    ("method", "typed", "pruning"),
    [
        ("sparsegpt", {"pair-pattern": "2:4"}, Pruning("sparsegpt", pattern="2:4")),
        ("wanda", {"pair-allocation": "owl"}, Pruning("wanda", 0.5, allocation="owl")),
        ("magnitude", {}, Pruning("magnitude", 0.5)),
        ("structured", {}, Pruning("structured", 0.25)),
    ],
)
def test_every_method_is_offered_with_a_line_on_it(app: AppTest, monkeypatch, method, typed, pruning):
    shown(app, "pair")
    app.radio(key="pair-way").set_value("one").run()
    app.text_input(key="pair-dense").set_value("demo").run()
    assert set(METHODS) == set(METHOD_HELP)
    app.segmented_control(key="pair-pattern").set_value("4:8").run()  # what is left of it must not hinder structured
    app.segmented_control(key="pair-pattern").set_value("").run()
    app.segmented_control(key="pair-method").set_value(method).run()
    assert METHOD_HELP[method] in said(app)
    for key, value in typed.items():
        app.segmented_control(key=key).set_value(value).run()
    assert not app.exception
    assert said_recipe(app, monkeypatch).pruning == pruning


def test_a_pair_without_some_heads_shows_them_as_gone(app: AppTest, workspace, monkeypatch):
    """As if head 1.2 had been removed: it cannot be picked, by a click or by a strategy."""
    lost = workspace.lost
    present = lost.present.clone()
    present[1, 2] = False
    monkeypatch.setattr(workspace, "lost", replace(lost, present=present))
    session(app).head = (1, 2)
    shown(app, "heads")
    assert "Pruning removed this head" in app.info[0].value
    assert app.button(key="add-head").disabled
    shown(app, "components")
    app.selectbox(key="strategy").set_value("all").run()
    app.button(key="fill").click().run()
    assert len(session(app).picks.selection.heads) == 11
    app.button(key="quick-4").click().run()
    assert (1, 2) not in session(app).picks.selection.heads


def test_a_page_is_a_file_its_views_and_a_row():
    for folder in (ROOT / "pages", ROOT / "app" / "views"):
        assert {path.stem for path in folder.iterdir() if not path.name.startswith("__")} == set(PAGES)
    assert [page.name for page in PAGES.values() if page.first] == ["heads"]


def test_a_folder_is_called_by_its_name_where_room_is_little():
    names = ("/srv/models/smollm2", "/srv/models/smollm2/", "~/smollm2", "./smollm2", "org/smollm2", "demo", "/")
    assert [short_name(name) for name in names] == ["smollm2"] * 4 + ["org/smollm2", "embedded model", "/"]


def test_what_is_trained_is_counted_as_it_is_chosen(app: AppTest, workspace: Workspace):
    session(app).head = (0, 1)
    app.run()
    app.button(key="add-head").click().run()
    workspace.live()

    def numbers() -> list[str]:
        return [metric.value for metric in app.metric if metric.label == "Trained parameters"]

    shown(app, "restore")
    shape = workspace.findings.geometry
    assert numbers() == [str(2 * shape.d_head)]  # a β for each of as many components, and b
    assert app.toggle(key="setting-bounded").value
    app.selectbox(key="setting-kind").set_value("weights").run()
    columns = slice(shape.d_head, 2 * shape.d_head)
    weight = workspace.pair().pruned.model.layers[0].self_attn.o_proj.weight
    assert numbers() == [str(int(weight[:, columns].count_nonzero()))]
    assert "on this machine" in said(app)
    # Of constants alone, so there is nothing to choose.
    assert {toggle.key for toggle in app.toggle} & {"setting-bounded", "setting-learned"} == set()
    app.toggle(key="setting-constants").set_value(True).run()
    assert "setting-learned" in {toggle.key for toggle in app.toggle}
