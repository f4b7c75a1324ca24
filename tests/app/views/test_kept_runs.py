"""Runs that are kept: the header's figures of one in view; those that pass filters, and their table to take away."""

from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from app.session import cache, state
from app.values import run_facts
from app.views.compare import filters
from app.work import open_pairs
from restorelcc.artifacts.findings import Recipe, recipe_written
from restorelcc.artifacts.runs import Run, annotate_run, list_runs, load_run, rename_run, save_run
from restorelcc.compensation.interface import compensated
from restorelcc.evaluation.perplexity import perplexity, token_loss
from restorelcc.restoration.training import Settings, Training
from restorelcc.selection.picks import everything
from restorelcc.workspace import Workspace

MAIN = str(Path(__file__).resolve().parents[3] / "app" / "shell" / "rerun.py")


def keep(workspace: Workspace, name: str, recipe: Recipe, **settings: object) -> Run:
    pair = workspace.pair()
    chosen = Settings(steps=2, batch=2, evaluate_every=1, **settings)  # type: ignore[arg-type]
    training = Training(
        pair, workspace.lost, everything(workspace.lost.shape), workspace.training, workspace.held_out, chosen
    )
    list(training.steps())
    about = {"dense": "demo", "pruned": "wanda 60 %", "recipe": recipe_written(recipe)}
    return save_run(training.result(), pair.geometry, name, about)


@pytest.fixture
def runs(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """Newest first: of the pair in view one of a high rate and one that is starred and noted; one of another pair."""
    monkeypatch.setattr(open_pairs, "_open", open_pairs.OrderedDict({Recipe(): workspace}))
    monkeypatch.setattr(state, "_owner", lambda: "me")
    keep(workspace, "elsewhere", Recipe(windows=7, dense="other"))
    annotate_run(keep(workspace, "good", Recipe(), lr=0.1), True, ["for the talk", "x"], "Seen on FRIDAY")
    annotate_run(keep(workspace, "fast", Recipe(), lr=0.7), False, ["x"], "")
    return list_runs()


def header(app: AppTest) -> str:
    assert not app.exception
    return next(part.proto.body for part in app.get("html") if "studio-header" in part.proto.body)


def test_the_header_shows_the_run_in_view_or_the_picks(runs: list[Run], workspace: Workspace, monkeypatch):
    read: list[Path] = []
    monkeypatch.setattr(cache, "load_run", lambda folder: read.append(folder) or load_run(folder))
    app = AppTest.from_file(MAIN, default_timeout=60)
    app.query_params["run"] = runs[0].folder.name
    assert "With my picks" in header(app.run())
    app.segmented_control(key="header-shows").set_value("run").run()
    pair = workspace.pair()
    with compensated(pair.pruned, runs[0].adapter().compensation):
        restored = perplexity(token_loss(pair.pruned, workspace.findings.live)).value
    assert "Restored: fast" in header(app)
    shown = header(app).partition('class="number picked"')[2].partition('data-value="')[2].partition('"')[0]
    assert float(shown) == pytest.approx(restored, rel=1e-5)
    assert read == [runs[0].folder]
    rename_run(runs[0], "faster")
    assert "Restored: faster" in header(app.run())
    assert read == [runs[0].folder] * 2
    app.segmented_control(key="header-shows").set_value("picks").run()
    assert "With my picks" in header(app)


def test_the_run_of_another_pair_is_not_the_headers(runs: list[Run]):
    app = AppTest.from_file(MAIN, default_timeout=60)
    app.query_params["run"] = next(run.folder.name for run in runs if run.name == "elsewhere")
    assert "With my picks" in header(app.run())
    assert "header-shows" not in {control.key for control in app.segmented_control}


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({}, ["fast", "good", "elsewhere"]),
        ({"pair": "other → wanda 60 %"}, ["elsewhere"]),
        ({"tags": ["x"]}, ["fast", "good"]),
        ({"tags": ["x", "for the talk"]}, ["good"]),
        ({"words": "friday"}, ["good"]),
        ({"words": "FAS"}, ["fast"]),
        ({"starred": True}, ["good"]),
        ({"starred": True, "words": "fast"}, []),
    ],
)
def test_filters_list_what_passes_all_of_them(runs: list[Run], wanted: dict, names: list[str]):
    assert [run.name for run in filters.passing(runs, **wanted)] == names


def test_the_page_lists_what_passes_and_all_where_nothing_does(runs: list[Run]):
    app = AppTest.from_file(MAIN, default_timeout=60).run()
    app.switch_page("../../pages/compare.py").run()
    assert not app.exception

    def listed() -> list[str]:
        assert not app.exception
        return next(frame.value["run"].tolist() for frame in app.dataframe if "run" in frame.value)

    app.multiselect(key="filter-tags").set_value(["for the talk"]).run()
    assert listed() == ["good"]
    assert any("1 of 3 runs are listed" in caption.value for caption in app.caption)
    app.text_input(key="filter-words").set_value("nowhere").run()
    assert listed() == ["fast", "good", "elsewhere"]
    assert any("No run passes" in info.value for info in app.info)


def test_the_table_to_take_away_has_all_settings_notes_and_tags(runs: list[Run]):
    table = pd.read_csv(StringIO(filters.csv_of(runs)))
    assert table["run"].tolist() == ["fast", "good", "elsewhere"]
    assert set(run_facts.SETTINGS) <= set(table.columns)
    assert table["lr"].tolist()[:2] == [0.7, 0.1]
    assert table["steps"].tolist() == [2, 2, 2]
    assert table.loc[1, ["★", "tags", "note"]].tolist() == ["★", "for the talk, x", "Seen on FRIDAY"]
    assert table["pair"].tolist()[2] == "other → wanda 60 %"
