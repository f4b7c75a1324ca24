"""What a sweep found: which settings did best, and how much text suffices."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from restorelcc.restoration.choices import LOSSES, STARTS, UNITS, WHAT
from restorelcc.restoration.sweep import Enough, Failure, SweepResult, best_first, enough, to_pandas
from restorelcc.workspace import Workspace

from ...charts import sweep as sweep_charts
from ...session import state
from ...values.colours import colours
from ...values.pages import PAGES
from ...values.verbatim import in_markdown
from ...values.words import count, signed, text_name
from ...widgets import controls
from ...work.sweeps import Plan, ordered
from . import settings

BEST = 5  # of each loss, with a button


def panels(plan: Plan) -> DeltaGenerator:
    """Where the figure goes: many panels beside each other are scrolled sideways on a narrow screen."""
    return st.container(key="panels-wide" if len(plan.grid.components) > 2 else "panels")


def alt(plan: Plan) -> str:
    """The figure of a sweep in words."""
    return (
        "Recovered share of the lost log-likelihood, and below it how much nearer to the dense model, against the "
        "learning rate, a panel for every number of components "
        f"and loss, a line for every share of the heads: {', '.join(f'{share:g}' for share in plan.grid.heads)}."
    )


def section(workspace: Workspace, plan: Plan, results: list[SweepResult | Failure], kept: int) -> None:
    """The settings, the figures, a table of all points, the best settings with a button each, and what failed. kept:
    how many points are runs."""
    frame, ranked = to_pandas(results), best_first(results)
    st.caption(_shared(workspace, plan, len(results)))
    if kept:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(f"{kept} points are kept as runs, under one tag.", width="content")
            st.page_link(PAGES["compare"].link, label="Compare them", icon=PAGES["compare"].icon)
    if frame["recovered_share"].notna().any():
        chart = sweep_charts.shares(frame, plan.grid, colours(state.dark()))
        with panels(plan):
            controls.figure(chart, "sweep-shares", alt(plan), frame)
        _amounts(enough(results))
    elif ranked:
        st.info("Pruning lost nothing on the held-out windows, so there is no share of it to draw.")
    if ranked:
        _all_points(frame)
    for loss, group in ranked.items():
        st.markdown(f"##### Best settings: {LOSSES[loss].title.lower()}")
        for place, result in enumerate(group[:BEST], start=1):
            with st.container(horizontal=True, vertical_alignment="center", key=f"sweep-row-{loss}-{place}"):
                st.markdown(f"**{place}.** {_result(result)}", width="stretch")
                st.button(
                    "Use these settings", key=f"use-{loss}-{place}", on_click=_use, args=(workspace, plan, result)
                )
    if ranked:
        st.caption(
            "By held-out loss, lowest first; losses of two kinds do not compare. All figures are of "
            f"{len(workspace.held_out)} held-out windows, ± one standard error. They chose the best step and this "
            "order, which flatters the first: a restoration is measured on the evaluation text, by which nothing is "
            "chosen."
        )
    for failure in results:
        if isinstance(failure, Failure):
            st.warning(f"{_settings(failure)}{_text(failure)}: {in_markdown(failure.error)}", icon=":material/error:")


def _shared(workspace: Workspace, plan: Plan, done: int) -> str:
    """What all points have in common, as Markdown."""
    same, points = plan.grid.settings, len(plan.grid.points())
    text = f"{plan.sampled} windows sampled from the dense model" if plan.sampled else workspace.recipe.calibration
    said = [f"{done} of {points} points", f"{same.steps} steps of {same.batch} windows", f"seed {same.seed}",
            f"text {in_markdown(text_name(text))}", f"training {WHAT[same.kind].title.lower()}",
            f"start {STARTS[same.start].title.lower()}", f"rate in {UNITS[same.unit].title.lower()}"]  # fmt: skip
    return " · ".join(said)


def _all_points(frame: pd.DataFrame) -> None:
    """Every point as a line over its settings and what it came to, and as a table to be sorted."""
    if len(frame.dropna(subset=["recovered_share"])) > 1:
        st.markdown("##### All points", help="A line is a point: drag along an axis to see those that pass there.")
        controls.figure(
            sweep_charts.parallel(frame, colours(state.dark())),
            "sweep-parallel",
            "Parallel coordinates: a line for every point over share of heads, components, rate, share of the text, "
            "recovered share and how much nearer it came, coloured by the last.",
            frame,
        )
    shown = frame.drop(columns=["picked_heads", "picked_components", "tokens", "error"]).dropna(subset=["perplexity"])
    percent, number = st.column_config.NumberColumn(format="percent"), st.column_config.NumberColumn(format="%.4f")
    st.dataframe(
        shown,
        key="sweep-table",
        hide_index=True,
        column_config=dict.fromkeys(("recovered_share", "share_stderr", "nearer", "nearer_stderr"), percent)
        | dict.fromkeys(("held_out_loss", "perplexity", "stderr", "gain", "gain_stderr"), number),
        alt="Table of all points of the sweep, to be sorted by any column.",
    )


def _amounts(curves: list[Enough]) -> None:
    """Where several amounts of text were tried: how much suffices, by setting."""
    if not curves:
        return
    st.markdown("##### How many tokens suffice")
    verdicts = [(_settings(curve.least), str(curve)) for curve in curves]
    controls.figure(
        sweep_charts.amounts(curves, [name for name, _ in verdicts], colours(state.dark())),
        "sweep-tokens",
        "Recovered share of the lost log-likelihood, and how much nearer to the dense model, dotted, against the "
        "tokens trained on, two lines a setting. " + " ".join(text for _, text in verdicts),
        to_pandas([result for curve in curves for result in curve.results]),
    )
    for name, text in verdicts:
        st.markdown(f"{name[0].upper()}{name[1:]} :gray[· {text}]")


def _settings(result: SweepResult | Failure) -> str:
    """What was trained and how fast: 25% of the heads, 4 components, rate 0.2."""
    point = result.point
    number = sweep_charts.number(point.components_written)
    return f"{sweep_charts.percent(point.heads)} of the heads, {number}, rate {point.lr:g}"


def _text(result: SweepResult | Failure) -> str:
    """Where not all of the text was trained on: how much of it."""
    share = result.point.text
    return "" if share == 1 else f", {sweep_charts.percent(share)} of the text"


def _result(result: SweepResult) -> str:
    """A point of the grid and what it came to, as Markdown."""
    judged = result.judged
    shares = {"recovered": judged.recovered, "nearer": judged.nearer}
    written = "".join(f"{name} {share}, ".replace("-", "−") for name, share in shares.items() if share.known)
    return (
        f"{_settings(result)}{_text(result)} :gray[· {written}perplexity {judged.restored.value:.3f}, "
        f"{signed(judged.gain.nats)} ± {judged.gain.stderr:.4f} nats, loss {result.held_out_loss:.4f}, "
        f"{count(result.trained_parameters)} parameters]"
    )


def _use(workspace: Workspace, plan: Plan, result: SweepResult) -> None:
    """Put a point of the grid into the form and the picks."""
    settings.fill(plan.grid.settings_of(result.point))
    state.choose(state.picks().of(result.point.selection(workspace.lost, ordered(plan))))
    st.toast("The form and the picks above are filled: press Start restoration.", icon=":material/done:")
