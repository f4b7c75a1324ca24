"""Sweeps on the Restore page, by Streamlit's test driver on a tiny stand-in; the job behind them, and its figure."""

import math
import time
from dataclasses import replace

import pytest
import torch
from streamlit.testing.v1 import AppTest
from test_pages import app, said, session, shown

from app.charts import sweep as sweep_charts
from app.session import state
from app.values.colours import DARK, LIGHT
from app.views.restore.settings import KEY
from app.work import sweeps
from app.work.jobs import Job, Jobs, State
from app.work.sweeps import Plan
from restorelcc.evaluation.comparison import NOTHING, Comparison, Distance, Share
from restorelcc.evaluation.perplexity import Difference, Perplexity, TokenLoss
from restorelcc.progress import Progress
from restorelcc.restoration.settings import Settings
from restorelcc.restoration.sweep import Failure, Grid, Point, SweepResult, best_first, enough, to_pandas
from restorelcc.selection.picks import share_of_heads
from restorelcc.workspace import Workspace

__all__ = ["app"]  # a fixture that pytest finds by name

SHORT = Settings(steps=2, batch=2, evaluate_every=1)


@pytest.fixture
def page(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """The Restore page with a short training in its form, and a queue of its own."""
    fresh = Jobs()
    for module in ("work.sweeps", "views.restore.live", "widgets.feedback"):
        monkeypatch.setattr(f"app.{module}.jobs", fresh)
    monkeypatch.setattr(state, "_owner", lambda: "me")  # AppTest's stand-in for cookies holds no text.
    session(app).owner = "me"
    shown(app, "restore")
    app.number_input(key="setting-steps").set_value(2).run()
    return app


def chosen(page: AppTest, **values: list[str]) -> AppTest:
    for name, several in values.items():
        page.multiselect(key=f"sweep-{name}").set_value(several)
    return page.run()


def swept(page: AppTest, workspace: Workspace) -> Job:
    page.button(key="start-sweep").click().run()
    job = sweeps.newest(workspace, "me")
    assert job is not None
    assert job.wait(60)
    page.run()
    assert not page.exception
    return job


def test_the_number_of_points_is_said_and_nonsense_refused(page: AppTest):
    chosen(page, heads=["0.5", "1"], components=["2", "4", "all"], lr=["0.1"], loss=["kl", "ce"])
    assert page.button(key="start-sweep").label == "Start sweep of 12"
    assert "12 points of 2 steps: how long that takes is known after the first restoration" in said(page)
    chosen(page, lr=["0.1", "fast"])
    assert "'fast' cannot be read as a learning rate" in page.error[0].value
    assert page.button(key="start-sweep").disabled
    chosen(page, lr=[])
    assert "no rates to try" in page.error[0].value


def test_a_sweep_runs_outlives_the_page_and_its_best_settings_fill_form_and_picks(page: AppTest, workspace: Workspace):
    chosen(page, heads=["0.25", "1"], components=["2", "99"], lr=["0.05", "0.3"], loss=["kl"])
    page.selectbox(key="sweep-metric").set_value("relative_error").run()
    job = swept(page, workspace)
    assert job.state == State.DONE
    shown(page, "heads")
    shown(page, "restore")
    results = sweeps.results_of(job)
    assert [type(result) for result in results].count(Failure) == 4
    assert sum("99 components a head makes no sense" in warning.value for warning in page.warning) == 4
    best = best_first(results)["kl"]
    assert len(best) == 4
    assert "Best settings: distil the dense model" in said(page)
    assert page.multiselect(key="sweep-lr").value == ["0.05", "0.3"]  # as it was left

    second = best[1].point
    page.button(key="use-kl-2").click().run()
    assert not page.exception
    assert session(page).picks.selection == share_of_heads(
        workspace.lost, workspace.loss.table("relative_error"), second.heads, 2
    )
    assert page.number_input(key="setting-lr").value == second.lr
    assert page.session_state[KEY]["steps"] == 2
    page.button(key="undo").click().run()
    assert len(session(page).picks) == 0


def test_a_reload_finds_the_sweep_again_and_somebody_else_does_not(page: AppTest, workspace: Workspace):
    chosen(page, heads=["1"], components=["all"], lr=["0.2"])
    swept(page, workspace)
    again = AppTest.from_file(page._script_path, default_timeout=60).run()
    assert "use-kl-1" in {button.key for button in shown(again, "restore").button}
    session(again).owner = "somebody"
    assert "use-kl-1" not in {button.key for button in again.run().button}


def test_the_time_is_estimated_from_the_last_sweep(page: AppTest, workspace: Workspace):
    chosen(page, heads=["1"], components=["all"], lr=["0.2"])
    job = swept(page, workspace)
    job.notes[1] = replace(job.notes[1], seconds=60.0)
    page.number_input(key="setting-steps").set_value(20).run()
    chosen(page, heads=["0.25", "0.5", "1"])
    assert "3 points of 20 steps: about 30 min 00 s." in said(page)


def test_cancelling_keeps_the_results_so_far(workspace: Workspace, monkeypatch: pytest.MonkeyPatch):
    fresh, whole = Jobs(), sweeps.sweep
    monkeypatch.setattr(sweeps, "jobs", fresh)
    grid = Grid((1.0,), (None,), (0.1, 0.2, 0.3), ("kl",), SHORT)

    def cancelled(*given):
        for step in whole(*given):
            if isinstance(step, Progress) and step.what.startswith("point 2"):
                fresh.cancel(fresh.listed()[0], "me")
            yield step

    monkeypatch.setattr(sweeps, "sweep", cancelled)
    job = sweeps.start(workspace, Plan(grid, workspace.loss.relative_error), "me")
    assert job.wait(60)
    assert job.state == State.CANCELLED
    assert [result.point for result in sweeps.results_of(job)] == grid.points()[:1]


def test_one_sweep_at_a_time_and_its_cancel_is_the_owners(page: AppTest, workspace: Workspace):
    held = sweeps.jobs.submit("Busy", "somebody", workspace.recipe.loading.resolved_device(), _waiting)
    chosen(page, heads=["1"], components=["all"], lr=["0.2"])
    page.button(key="start-sweep").click().run()
    assert not page.exception
    assert page.button(key="start-sweep").disabled
    assert not page.button(key="cancel-sweep").disabled
    page.button(key="cancel-sweep").click().run()
    job = sweeps.newest(workspace, "me")
    assert job.state == State.CANCELLED
    page.run()
    assert any("there is nothing to show" in info.value for info in page.info)
    sweeps.jobs.cancel(held, "somebody")
    assert held.wait(10)


def _waiting(job: Job):
    while True:
        time.sleep(0.01)
        yield Progress("waiting", 0, 1)


SCORED = torch.ones(4, 2, dtype=torch.bool)


def result(
    heads: float,
    components: int | None,
    lr: float,
    loss: str,
    share: float,
    text: float = 1.0,
    nearer: Share | None = None,
) -> SweepResult:
    dense, pruned, restored = (Perplexity(value, math.log(value), 100, 0.1) for value in (8.0, 10.0, 9.0))
    far = Distance(math.nan, math.nan)
    judged = Comparison(dense, pruned, restored, Difference(-share, 0.01), Difference(math.log(1.25), 0.01),
                        Share(share, 0.01), far, far, nearer or NOTHING, 1)  # fmt: skip
    return SweepResult(
        point=Point(heads, components, lr, loss, text),
        picked_heads=1,
        picked_components=1,
        trained_parameters=1,
        held_out_loss=1 - share,
        judged=judged,
        best_step=1,
        tokens=round(1000 * text),
        restored=TokenLoss(1 - share + torch.arange(8.0, dtype=torch.float64).view(4, 2) / 1e4, SCORED),
        seconds=1.0,
    )


@pytest.mark.parametrize("look", [LIGHT, DARK])
def test_every_panel_has_its_lines_and_points(look):
    grid = Grid((0.25, 1.0), (2, None), (0.1, 0.2), ("kl", "ce"))
    results = [result(p.heads, p.components, p.lr, p.loss, 0.1 * n / 16) for n, p in enumerate(grid.points())]
    figure = sweep_charts.shares(to_pandas(results), grid, look)
    assert len(figure.data) == 2 * 2 * 2
    drawn = {(trace.xaxis, trace.name): (list(trace.x), list(trace.y)) for trace in figure.data}
    assert len({axis for axis, _ in drawn}) == 4
    for index, (panel, name) in enumerate([("x", "25%"), ("x", "100%"), ("x2", "25%"), ("x2", "100%")]):
        rates, shares = drawn[panel, name]
        assert rates == [0.1, 0.2]
        assert shares == pytest.approx([0.1 * 2 * index / 16, 0.1 * (2 * index + 1) / 16])
    assert len({(t.line.dash, t.marker.symbol, t.line.color) for t in figure.data}) == 2  # one look for each share
    assert figure.layout.xaxis3.title.text == "peak learning rate"
    assert figure.layout.yaxis.title.text == figure.layout.yaxis3.title.text == "recovered share"
    texts = [annotation.text for annotation in figure.layout.annotations]
    assert texts.count("pruned") == 4
    assert texts.count("dense, 100% ↑") == 4  # far above: drawn to scale it would flatten all else
    assert {shape.y0 for shape in figure.layout.shapes} == {0.0}
    assert "2 components<br>distilled" in texts


def test_how_much_nearer_stands_beside_what_is_recovered():
    grid = Grid((1.0,), (None,), (0.1, 0.2), ("kl",), text=(0.5, 1.0))
    results = [result(1.0, None, p.lr, "kl", 0.3, p.text, Share(0.2 * p.text, 0.02)) for p in grid.points()]
    figure = sweep_charts.shares(to_pandas(results), grid, LIGHT)
    assert [list(trace.y) for trace in figure.data] == [[0.3, 0.3], [0.2, 0.2]]
    assert [figure.layout.yaxis.title.text, figure.layout.yaxis2.title.text] == ["recovered share", "nearer to dense"]
    recovered, nearer = sweep_charts.amounts(enough(results)[:1], ["all"], LIGHT).data
    assert (list(recovered.y), list(nearer.y)) == ([0.3, 0.3], [0.1, 0.2])


def test_the_dense_model_is_drawn_where_it_is_near():
    grid = Grid((1.0,), (None,), (0.1, 0.2), ("kl",))
    near = to_pandas([result(1.0, None, 0.1, "kl", 0.7)])
    figure = sweep_charts.shares(near, grid, LIGHT)
    assert {"pruned", "dense"} <= {annotation.text for annotation in figure.layout.annotations}
    assert {shape.y0 for shape in figure.layout.shapes} == {0.0, 1.0}


def test_a_figure_of_nothing_yet_is_empty_panels():
    grid = Grid((1.0,), (2, None), (0.1,), ("kl",))
    figure = sweep_charts.shares(to_pandas([Failure(grid.points()[0], "why")]), grid, LIGHT)
    assert [len(trace.x) for trace in figure.data] == [0, 0]


def test_amounts_of_text_are_a_line_and_what_suffices_is_ringed():
    results = [result(1.0, None, 0.1, "kl", share, text) for text, share in ((1.0, 0.3), (0.1, 0.1), (0.5, 0.3))]
    found = enough([*results, result(0.5, None, 0.1, "kl", 0.2)])  # which has no other amount to compare with
    figure = sweep_charts.amounts(found, ["all"], LIGHT)
    (line,) = figure.data
    assert list(line.x) == [100, 500, 1000]
    assert list(line.y) == [0.1, 0.3, 0.3]
    assert list(line.marker.symbol) == ["circle", "circle-open", "circle"]
    main = sweep_charts.shares(to_pandas(results), Grid((1.0,), (None,), (0.1,), ("kl",), text=(0.1, 0.5, 1.0)), LIGHT)
    assert [list(trace.y) for trace in main.data] == [[0.3]]


def test_a_sweep_over_text_that_the_dense_model_writes_says_how_much_suffices(page: AppTest, workspace: Workspace):
    page.segmented_control(key="training-text").set_value("none").run()
    page.number_input(key="sampled-windows").set_value(20).run()
    assert "20 windows that the dense model writes" in said(page)
    chosen(page, heads=["1"], components=["all"], lr=["0.2"], text=["0.25", "1"])
    job = swept(page, workspace)
    few, all_of_it = sweeps.results_of(job)
    length = workspace.findings.calibration.ids.shape[1]
    assert (few.tokens, all_of_it.tokens) == (round(0.25 * 18) * length, 18 * length)
    assert len(few.restored.nll) == 2  # a tenth of the windows judges
    assert "How many tokens suffice" in said(page)
    assert str(enough([few, all_of_it])[0]) in said(page)
