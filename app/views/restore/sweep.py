"""Training with many settings, one after the other: the form, and the sweep under way."""

from __future__ import annotations

from typing import Any

import streamlit as st

from restorelcc.errors import RestoreLCCError
from restorelcc.progress import duration
from restorelcc.registry import definitions
from restorelcc.restoration.choices import LOSSES
from restorelcc.restoration.settings import Settings
from restorelcc.restoration.sweep import Grid, to_pandas
from restorelcc.workspace import Workspace

from ...charts import sweep as sweep_charts
from ...session import measures, state
from ...values.colours import colours
from ...widgets import feedback
from ...work import sweeps
from ...work.jobs import Job, State
from ...work.sweeps import Plan
from . import settings, sweep_results

# Rates of both units: around 0.2 where it is that of loss, around 0.001 in activation units.
CHOICES = {
    "heads": ("0.1", "0.25", "0.5", "0.75", "1"),
    "components": ("1", "2", "4", "8", "16", "all"),
    "lr": ("0.001", "0.003", "0.01", "0.05", "0.1", "0.2", "0.5", "1"),
    "loss": tuple(LOSSES),
    "text": ("0.05", "0.1", "0.25", "0.5", "1"),
}
DEFAULT_ORDER = "together_dense"
FIRST: dict[str, list[str]] = {
    "heads": ["0.25", "1"],
    "components": ["4", "all"],
    "lr": ["0.1", "0.2", "0.5"],
    "loss": ["kl"],
    "text": ["1"],
}
LABELS = {
    "heads": ("Share of the heads", "Those of highest score, by the measure beside. Others can be typed."),
    "components": ("Components of each", "The strongest of each head, by energy. Other numbers can be typed."),
    "lr": ("Learning rates", "In the unit that the form above has. Others can be typed."),
    "loss": ("Losses", settings.HELP["loss"]),
    "text": (
        "Share of the text",
        "Of the windows to train on, evenly spread; the steps stay, so fewer are seen more often. Several show how "
        "many tokens suffice, also where the text is sampled from the dense model.",
    ),
}


def section(workspace: Workspace) -> None:
    """Form, progress and results, closed until there is something to see."""
    job = sweeps.newest(workspace, state.session().owner)
    with st.expander(
        "Sweep: many settings, one after the other", job is not None, key="sweep", icon=":material/grid_view:"
    ):
        _form(workspace, job)
        if job is None:
            return
        if not job.finished:
            st.fragment(_growing, run_every=feedback.pause(job))(job.id)
            return
        if job.state == State.FAILED:
            feedback.refused(job.error)
        elif job.state == State.CANCELLED:
            st.info(_cancelled(job), icon=":material/cancel:")
        plan = sweeps.plan_of(job)
        if plan is not None and sweeps.results_of(job):
            sweep_results.section(workspace, plan, sweeps.results_of(job), len(sweeps.kept_of(job)))


def _form(workspace: Workspace, job: Job | None) -> None:
    st.caption(
        "Every combination of what is chosen here is trained; everything else, the text and the number of steps too, "
        "is as in the form above. Every point is kept as a run, judged by the held-out windows alone: use the best "
        "settings and start a restoration with them to have it judged on the evaluation text."
    )
    values = {name: _several(name, column) for name, column in zip(CHOICES, st.columns([3, 3, 3, 3, 2]), strict=True)}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        metric = _heads_first_by(workspace)
        grid = _grid(values, settings.settings_typed())
        busy = job is not None and not job.finished
        st.button(
            "Start sweep" if grid is None else f"Start sweep of {len(grid.points())}",
            type="primary",
            key="start-sweep",
            icon=":material/play_arrow:",
            disabled=grid is None or busy,
            help="One sweep at a time: wait for yours, or cancel it." if busy else None,
            on_click=lambda: _start(workspace, grid, metric),
        )
    if grid is not None and not busy:
        st.caption(_size(workspace, grid))


def _heads_first_by(workspace: Workspace) -> str:
    """The measure by which a share of the heads is taken."""
    names = list(dict.fromkeys([DEFAULT_ORDER, *measures.there(workspace)]))
    rows = {name: measures.row(name) for name in names}
    if st.session_state.get("sweep-metric") not in names:  # One's own may be gone.
        st.session_state.pop("sweep-metric", None)
    metric: str = st.selectbox(
        "Heads first by",
        names,
        format_func=lambda name: rows[name].title,
        key="sweep-metric",
        persist_state="session",
        help="Which heads a share takes first. The default is computed before the sweep where it is not known yet; "
        "others are here once the Heads page has computed them.\n\n" + definitions(rows),
        width=260,
    )
    return metric


def _several(name: str, place: Any) -> list[str]:
    """The chosen values of one axis of the grid, one of CHOICES."""
    label, help_ = LABELS[name]
    key = f"sweep-{name}"
    # Not `default=`: the widget would warn of it beside a value that is kept from another page.
    st.session_state.setdefault(key, FIRST[name])
    chosen: list[str] = place.multiselect(
        label,
        CHOICES[name],
        format_func=lambda value: LOSSES[value].title if name == "loss" else value,
        accept_new_options=name != "loss",
        filter_mode="prefix",  # by the default, 0.3 would be taken for 0.003
        key=key,
        persist_state="session",
        help=help_,
    )
    return chosen


def _grid(values: dict[str, list[str]], typed: Settings | None) -> Grid | None:
    """The grid that is chosen; None, with the engine's reason on the screen, where it makes no sense."""
    if typed is None:  # The form above says why.
        return None
    try:
        return Grid.read(values["heads"], values["components"], values["lr"], values["loss"], typed, values["text"])
    except RestoreLCCError as error:
        feedback.refused(error)
        return None


def _size(workspace: Workspace, grid: Grid) -> str:
    """How many points a grid has, and about how long they take."""
    number, steps = len(grid.points()), grid.settings.counted(len(workspace.training)).steps
    needed = sweeps.seconds(workspace, grid, state.session().owner)
    time = "how long that takes is known after the first restoration" if needed is None else f"about {duration(needed)}"
    return f"{number} {'point' if number == 1 else 'points'} of {steps} steps: {time}."


def _start(workspace: Workspace, grid: Grid | None, metric: str) -> None:
    if grid is not None:
        known = metric in measures.there(workspace)
        plan = Plan(grid, measures.order(workspace, metric) if known else metric, settings.sampled_typed())
        sweeps.start(workspace, plan, state.session().owner)


def _growing(job_id: str) -> None:
    job = feedback.running(job_id)
    feedback.bar(job, "cancel-sweep")
    plan = sweeps.plan_of(job)
    if plan is None or not sweeps.results_of(job):
        return
    frame = to_pandas(sweeps.results_of(job))
    chart = sweep_charts.shares(frame, plan.grid, colours(state.dark()))
    # Not `controls.figure`: its popover would close at every tick. The table comes when it is over.
    with sweep_results.panels(plan):
        st.plotly_chart(chart, key="live-sweep", alt=sweep_results.alt(plan), config={"displayModeBar": False})


def _cancelled(job: Job) -> str:
    done, plan = len(sweeps.results_of(job)), sweeps.plan_of(job)
    if plan is None or not done:
        return "Cancelled before the first point was trained: there is nothing to show."
    return f"Cancelled after {done} of {len(plan.grid.points())} points, which are below."
