"""The Compare page: on a tiny pair, and while no pair is open."""

import json
import re
import threading
from dataclasses import replace
from functools import partial
from html import unescape
from pathlib import Path

import pytest
import torch
from conftest import make_tokens
from streamlit.testing.v1 import AppTest

from app.charts import compare as charts
from app.session import state
from app.values import run_facts
from app.values.colours import LIGHT
from app.values.words import percent
from app.work import open_pairs
from app.work.jobs import jobs
from restorelcc.artifacts.findings import Findings, Recipe, Size, recipe_written
from restorelcc.artifacts.runs import list_runs, runs_folder, save_run
from restorelcc.compensation.constants import injected
from restorelcc.compensation.interface import compensated
from restorelcc.evaluation.comparison import measured
from restorelcc.evaluation.perplexity import measure, token_loss
from restorelcc.progress import Progress, finish
from restorelcc.pruning.layerwise import Pruning
from restorelcc.pruning.sparsity import measure_sparsity
from restorelcc.restoration.settings import Settings
from restorelcc.restoration.training import Training
from restorelcc.selection.picks import everything, top_components
from restorelcc.text.generate import generate
from restorelcc.text.tokens import lead, whole
from restorelcc.workspace import LoadedPair, Workspace

MAIN = str(Path(__file__).parents[2] / "app" / "shell" / "rerun.py")


@pytest.fixture
def workspace(pair, statistics, monkeypatch):
    """A tiny pair, open on the server under the name of the embedded one."""
    texts, live = make_tokens(texts=8), make_tokens(texts=4, seed=3)
    found = Findings(
        geometry=pair.geometry,
        dense_name="demo",
        pruned_name="wanda 60 %",
        dense_size=Size(10_000, 10_000),
        pruned_size=Size(10_000, 6_000),
        sparsity=measure_sparsity(pair.pruned),
        calibration=texts,
        evaluation=make_tokens(texts=4, length=32, seed=4),
        live=live,
        statistics=statistics,
        live_dense=finish(measure(pair.dense, live)),
        live_pruned=finish(measure(pair.pruned, live)),
    )
    opened = Workspace(Recipe(), found, pair)
    monkeypatch.setitem(open_pairs._open, Recipe(), opened)
    return opened


def keep(workspace, name, selection, made_for=None, **settings):
    pair = workspace.pair()
    chosen = Settings(steps=4, batch=2, evaluate_every=2, **settings)
    training = Training(pair, workspace.lost, selection, workspace.training, workspace.held_out, chosen)
    list(training.steps())
    sides = {
        side: {"perplexity": value, "stderr": 0.5, "tokens": 60} for side, value in (("dense", 9.0), ("pruned", 12.0))
    }
    figures = {**sides, "restored": {"perplexity": 11.0, "stderr": 0.5, "tokens": 60}, "recovered_share": 0.3}
    about = {"dense": "demo", "pruned": "wanda 60 %", "figures": figures, "recipe": recipe_written(workspace.recipe)}
    about["fingerprint"] = made_for
    # What four steps find on random text may be nothing; what is put back here changes every token.
    strong = injected(workspace.lost, 2.0 * selection.mask())
    return save_run(replace(training.result(), compensation=strong), pair.geometry, name, about)


@pytest.fixture
def runs(workspace):
    """Newest first, as the page has them."""
    keep(workspace, "some", top_components(workspace.lost, 10), lr=0.1)
    keep(workspace, "all", everything(workspace.lost.shape))
    return list_runs()


def foreign():
    folder = runs_folder() / "20200101-000000-foreign-0000"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"format": 1, "name": "foreign"}))
    return folder


def opened() -> AppTest:
    app = AppTest.from_file(MAIN, default_timeout=60)
    app.session_state["studio"] = state.Session(owner="somebody")
    app.run()
    app.switch_page("../../pages/compare.py").run()
    assert not app.exception
    return app


def again(app: AppTest) -> AppTest:
    app.run()
    assert not app.exception
    return app


def bodies(app: AppTest) -> str:
    return "".join(element.proto.body for element in app.get("html"))


def test_without_runs_it_says_what_to_do(workspace):
    assert any("No run is kept" in text.value for text in opened().markdown)


def test_runs_are_shown_while_no_pair_is_open(workspace, runs, monkeypatch):
    released = threading.Event()

    def never(recipe):
        while not released.wait(0.02):
            yield Progress("loading", 0, 1)
        return workspace

    monkeypatch.setattr(open_pairs, "open_workspace", never)
    monkeypatch.delitem(open_pairs._open, Recipe())
    foreign()
    app = opened()
    try:
        assert list(app.dataframe[0].value["run"]) == ["all", "some", "foreign"]
        assert app.button(key="open-pair").disabled  # It is being opened already.
        assert not [button for button in app.button if button.key == "write"]
    finally:
        released.set()
        job = jobs.find(("open", Recipe()))
        assert job is not None
        job.wait(10)


def test_a_run_is_tried_on_text_once_the_models_are_there(workspace, runs, pair, monkeypatch):
    begun, loads = threading.Event(), threading.Event()

    def slowly(recipe, tokens):
        yield Progress("loading demo", 0, 1)
        begun.set()
        assert loads.wait(10)
        return LoadedPair(pair)

    monkeypatch.setattr("restorelcc.workspace._loaded", slowly)
    monkeypatch.setattr("app.widgets.feedback.GLANCE", 0.01)
    monkeypatch.setitem(open_pairs._open, Recipe(), Workspace(Recipe(), workspace.findings))
    monkeypatch.setattr(jobs, "_finished", type(jobs._finished)())  # what other tests loaded
    app = opened()
    try:
        assert list(app.dataframe[0].value["run"]) == ["all", "some"]
        assert begun.wait(10)
        again(app)
        assert [bar.proto.text for bar in app.get("progress")] == ["Loading the models: loading demo"]
        assert not [button for button in app.button if button.key == "write"]
    finally:
        loads.set()
        job = jobs.find(("load", Recipe()))
        assert job is not None
        assert job.wait(10)
    again(app)
    assert app.button(key="write")
    assert "data-change" in bodies(app)


def test_settings_that_differ_come_first(runs):
    foreign()
    app = opened()
    table = app.dataframe[0].value
    assert list(table.columns[:4]) == ["run", "heads", "lr", "recovered"]
    assert table["trained"].iloc[0] == runs[0].config["trained_parameters"]
    assert table["share"].iloc[0] == runs[0].config["trained_parameters"] / 10_000
    assert table.iloc[2].drop(["run"]).isna().all()
    caption = app.caption[0].value
    assert "steps 4" in caption
    assert "lr" not in caption
    # One run alone: nothing differs, all its settings are in the caption.
    app.session_state["compare-runs"] = [runs[1].folder.name]
    again(app)
    assert list(app.dataframe[0].value.columns[:2]) == ["run", "recovered"]
    assert "lr 0.1" in app.caption[0].value


def test_of_constants_alone_nothing_is_said_of_weights_and_beside_them_it_is(workspace, runs):
    differ, same = run_facts.differing(runs)
    assert not {"kind", "way", "where", "constants"} & {*differ, *same}
    assert {"start", "learned"} <= set(same)
    keep(workspace, "weights", everything(workspace.lost.shape), kind="weights", where="all")
    weights, *others = list_runs()
    differ, same = run_facts.differing([weights, *others])
    assert {"kind", "where", "start"} <= set(differ)
    assert "way" not in same
    row = run_facts.table([weights, others[0]], differ, {})
    assert (row["where"][0], row["start"][1]) == ("all", "zero")
    assert row[["where", "start"]].isna().to_numpy().tolist() == [[False, True], [True, False]]
    assert {"kind", "where"} <= set(run_facts.differing([weights])[1])


def test_rename_delete_and_undo(runs):
    app = opened()
    name = runs[0].folder.name
    app.text_input(key=f"name-{name}").set_value("everything").run()
    app.button(key="rename-now").click().run()
    assert [run.name for run in list_runs()] == ["everything", "some"]
    app.button(key="delete-run").click().run()
    assert [run.name for run in list_runs()] == ["some"]
    assert app.selectbox(key="run-in-view").value == runs[1].folder.name
    app.button(key="delete-run").click().run()
    assert any("No run is kept" in text.value for text in app.markdown)
    app.button(key="undo-delete").click().run()
    app.button(key="undo-delete").click().run()
    assert not app.exception
    assert [run.name for run in list_runs()] == ["everything", "some"]


def test_three_models_write_what_the_engine_writes(workspace, runs):
    pair, prompt = workspace.pair(), "the little dog ran"
    app = opened()
    app.text_area(key="write-prompt").set_value(prompt).run()
    app.number_input(key="write-length").set_value(12).run()
    app.number_input(key="write-seed").set_value(5).run()
    app.button(key="write").click().run()
    job = jobs.get(app.session_state["compare-writing"])
    assert job is not None
    assert job.wait(30)
    again(app)
    ids = torch.tensor([lead(pair.tokenizer) + pair.tokenizer(prompt, add_special_tokens=False).input_ids])

    def alone(model):
        return [int(token) for token in generate(model, ids, 12, 0.8, 5, pair.tokenizer.eos_token_id)]

    with compensated(pair.pruned, runs[0].adapter().compensation):
        restored = alone(pair.pruned)
    expected = [alone(pair.dense), alone(pair.pruned), restored]
    assert [list(tokens) for tokens in job.result.tokens] == expected
    assert expected[1] != expected[2]
    shown = unescape(bodies(app))
    assert all(text in shown for text in job.result.texts)
    assert not app.button(key="write").disabled


def test_a_prompt_that_does_not_fit_is_refused(workspace, runs):
    app = opened()
    app.number_input(key="write-length").set_value(512).run()
    app.button(key="write").click().run()
    job = jobs.get(app.session_state["compare-writing"])
    assert job is not None
    assert job.wait(30)
    again(app)
    assert any("context of 64" in error.value for error in app.error)


def test_tints_are_the_engines_differences(workspace, runs):
    app = opened()
    shown = [float(value) for value in re.findall(r'data-change="([^"]+)"', bodies(app))]
    pair, tokens = workspace.pair(), whole(workspace.findings.evaluation.ids[:1])
    pruned = token_loss(pair.pruned, tokens)
    with compensated(pair.pruned, runs[0].adapter().compensation):
        restored = token_loss(pair.pruned, tokens)
    expected = (restored.nll - pruned.nll)[0, 1:]
    torch.testing.assert_close(torch.tensor(shown, dtype=torch.float64), expected, rtol=0, atol=2e-6)
    assert expected.abs().max() > 1e-3
    app.segmented_control(key="read-kind").set_value("Text of my own").run()
    assert not app.exception
    app.text_area(key="read-own").set_value("a big red <b>ball</b>").run()
    assert not app.exception
    assert len(re.findall("data-change", bodies(app))) >= 4


def test_how_much_nearer_stands_beside_what_a_text_recovered(workspace, runs):
    pair, tokens = workspace.pair(), whole(workspace.findings.evaluation.ids[:1])
    within = partial(compensated, pair.pruned, runs[0].adapter().compensation)
    found = finish(measured(pair.dense, pair.pruned, tokens, within))
    share = f"{percent(found.nearer.value)} ± {percent(found.nearer.stderr)} nearer to the dense model"
    assert [share in text.value for text in opened().markdown].count(True) == 1


def test_a_run_from_before_distances_were_measured_says_so(workspace, runs):
    assert "30.0%" in run_facts.share(runs[0], "recovered_share")
    assert run_facts.share(runs[0], "nearer") == "distance unknown"
    assert any("distance unknown" in caption.value for caption in opened().caption)


def test_curves_know_how_much_nearer_what_distils_came(workspace, runs):
    distilled, steps = runs[0], runs[0].metrics()
    far = steps["held_out_loss"].dropna()
    expected = 1 - far / far.iloc[0]
    torch.testing.assert_close(
        torch.tensor(charts.nearer_by_step(distilled, steps).dropna().to_numpy()), torch.tensor(expected.to_numpy())
    )
    figure = charts.curves(
        [distilled], "share", charts.curve_table([distilled], {distilled.folder.name: steps}), {}, LIGHT
    )
    assert [trace.yaxis for trace in figure.data] == ["y", "y2"]
    assert list(figure.data[1].y) == pytest.approx(expected.tolist())
    distilled.config["settings"]["loss"] = "ce"
    assert charts.nearer_by_step(distilled, steps).isna().all()


def test_what_is_put_back_into_another_pruned_model_is_refused(workspace):
    keep(workspace, "elsewhere", everything(workspace.lost.shape), made_for="0" * 16)
    app = opened()
    assert any("made for another model of this shape" in error.value for error in app.error)
    assert "data-change" not in bodies(app)
    app.button(key="write").click().run()
    job = jobs.get(app.session_state["compare-writing"])
    assert job is not None
    assert job.wait(30)
    assert "made for another model of this shape" in job.error


def test_settings_and_picks_go_to_the_restore_page(workspace, runs):
    app = opened()
    app.selectbox(key="run-in-view").set_value(runs[1].folder.name).run()
    app.button(key="open-run").click().run()
    assert app.session_state["restore-settings"]["lr"] == 0.1
    assert app.session_state["studio"].picks.selection == runs[1].selection


def test_curves_know_the_levels_of_their_own_text_only(workspace, runs):
    run = runs[0]
    steps = run.metrics()
    # The figures above are of no text that the curve is of, so only step 0 tells where pruned is.
    assert charts.lines(run, steps) == {"pruned": steps["perplexity"][0]}
    best = float(steps.loc[steps["step"] == run.config["best_step"], "perplexity"].iloc[0])
    run.config["figures"]["restored"]["perplexity"] = best
    assert charts.lines(run, steps) == {"dense": 9.0, "pruned": 12.0}
    frame = charts.curve_table([run], {run.folder.name: steps})
    first = frame.dropna(subset="share").iloc[0]
    assert 12.0 ** (1 - first["share"]) * 9.0 ** first["share"] == pytest.approx(first["perplexity"])
    for view in charts.VIEWS:
        figure = charts.curves([run], view, frame, {run.folder.name: charts.lines(run, steps)}, LIGHT)
        assert figure.layout.yaxis.title.text == charts.VIEWS[view][1]


def test_the_pair_of_a_run_of_the_command_line(runs):
    run = runs[0]
    del run.config["recipe"]
    for pruned, expected in (
        ("/home/me/.cache/pruned/demo-wanda-0.6-9891a6a4072a6c71", Recipe()),
        (
            "/home/me/.cache/pruned/demo-magnitude-2of4-9891a6a4072a6c71",
            Recipe(pruning=Pruning("magnitude", pattern="2:4")),
        ),
        (
            "/home/me/.cache/pruned/demo-sparsegpt-owl-0.7-9891a6a4072a6c71",
            Recipe(pruning=Pruning("sparsegpt", 0.7, allocation="owl")),
        ),
        ("demo", Recipe()),
        ("./pruned", Recipe(dense="demo", pruned="./pruned")),
    ):
        run.config["pruned"] = pruned
        assert run_facts.recipe_of(run) == expected
    del run.config["pruned"]
    assert run_facts.recipe_of(run) is None
