"""All runs that are kept on this machine as a table, in which those to compare are ticked."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from restorelcc.artifacts.runs import Run, empty_trash, list_runs

from ...charts.common import faint
from ...session import state
from ...values import run_facts
from ...values.colours import colours
from ...values.verbatim import in_markdown
from ...values.words import HELP
from ...widgets import feedback
from . import trash
from .pair_of_run import workspace_of

MOST_DRAWN = 8  # runs compared while none is chosen


def listed() -> list[Run]:
    """All runs on this machine, newest first; above them, the way back from the last deletion."""
    if not st.session_state.get("compare-trash-seen"):
        st.session_state["compare-trash-seen"] = True
        with feedback.guarded():
            empty_trash()
    trash.way_back()
    runs: list[Run] = []
    with feedback.guarded():
        runs = list_runs()
    return runs


def section(runs: list[Run]) -> list[Run]:
    """All runs, hyperparameters that differ first; returns those to compare, in the table's order."""
    ticked = set(st.session_state.get("compare-runs", []))
    chosen = [run for run in runs if run.folder.name in ticked]
    compared = chosen or runs[:MOST_DRAWN]
    differ, same = run_facts.differing(compared)
    frame = run_facts.table(runs, differ, _parameters(runs))
    tint = faint(colours(state.dark()).restored, 0.13)
    st.dataframe(
        frame.style.set_properties(subset=list[Hashable](differ), **{"background-color": tint}) if differ else frame,
        **_ticks([run.folder.name for run in runs], ticked),
        selection_mode="multi-row",
        hide_index=True,
        placeholder="–",
        column_config=_columns(frame, differ),
        alt="Table of runs: what was trained, how, and how much of the loss came back.",
    )
    st.caption(_caption(runs, chosen, compared, differ, same))
    return compared


def _ticks(names: list[str], ticked: set[str]) -> dict[str, Any]:
    """Arguments that tick these rows, and keep what is ticked. names: of the runs' folders, in the table's order."""

    def selected() -> None:
        rows = st.session_state["runs-table"]["selection"]["rows"]
        st.session_state["compare-runs"] = [names[row] for row in rows if row < len(names)]

    # Drawn from the session, as every widget: rows move when runs come and go.
    rows = [index for index, name in enumerate(names) if name in ticked]
    st.session_state["runs-table"] = {"selection": {"rows": rows, "columns": [], "cells": []}}
    return {"key": "runs-table", "on_select": selected}


def _parameters(runs: Sequence[Run]) -> dict[str, int]:
    """Parameters of dense models by name, of the pairs that are open."""
    pairs = [workspace_of(run) for run in runs] + [state.workspace()]
    findings = [pair.findings for pair in pairs if pair is not None]
    return {known.dense_name: known.dense_size.parameters for known in findings}


def _columns(frame: pd.DataFrame, differ: Sequence[str]) -> dict[str, Any]:
    column = st.column_config
    settings: dict[str, Any] = {}
    for name in differ:
        label, note = run_facts.NAMES.get(name, name), "Differs among the runs compared."
        numeric = pd.api.types.is_numeric_dtype(frame[name])
        settings[name] = (
            column.NumberColumn(label, format="%g", help=note) if numeric else column.Column(label, help=note)
        )
    return settings | {
        "run": column.TextColumn("run", pinned=True, width="medium"),
        "recovered": column.NumberColumn("recovered", format="percent", help=HELP["share"]),
        "nearer": column.NumberColumn("nearer", format="percent", help=HELP["nearer"]),
        "elsewhere": column.NumberColumn(
            "elsewhere", format="percent", help="Recovered on the second text, which nothing was trained or chosen on."
        ),
        "nearer_elsewhere": column.NumberColumn(
            "nearer, elsewhere", format="percent", help="Nearer to the dense model on the second text."
        ),
        "perplexity": column.NumberColumn("perplexity", format="%.3f", help=HELP["perplexity"]),
        "stderr": column.NumberColumn("± se", format="%.3f", help="Standard error of the perplexity."),
        "gain": column.NumberColumn("gain, nats", format="%+.4f", help=HELP["gain"]),
        "gain_stderr": column.NumberColumn("± se", format="%.4f", help="Standard error of the gain, paired by window."),
        "trained": column.NumberColumn(
            "trained", format="localized", help="Numbers that were trained: β and b, or weights."
        ),
        **{
            name: column.NumberColumn("± se", format="percent", help="Standard error of the share.")
            for name in ("recovered_stderr", "nearer_stderr", "elsewhere_stderr", "nearer_elsewhere_stderr")
        },
        "share": column.NumberColumn(
            "of the model",
            format="percent",
            help="Trained numbers as a share of the dense model's parameters, where that model is open.",
        ),
        "pair": column.TextColumn("pair", help="Dense → pruned."),
        "made": column.DatetimeColumn("made", format="D MMM YYYY, HH:mm"),
    }  # fmt: skip


def _caption(
    runs: Sequence[Run], chosen: Sequence[Run], compared: Sequence[Run], differ: Sequence[str], same: Sequence[str]
) -> str:
    """What the runs compared have in common, as Markdown."""
    said = {name: [value for run in compared if (value := run_facts.setting(run, name)) is not None] for name in same}
    settings = {name: in_markdown(run_facts.written(values[0])) for name, values in said.items()}
    values = " · ".join(f"{run_facts.NAMES.get(name, name)} {value}" for name, value in settings.items())
    if len(compared) == 1:
        return f"**{in_markdown(compared[0].name)}**: {values}."
    which = f"the {len(chosen)} chosen" if chosen else f"all {len(runs)}" if len(runs) <= MOST_DRAWN else "the newest"
    tinted = "Tinted settings differ. " if differ else ""
    choose = "" if chosen else " Tick rows to compare only those."
    return f"{tinted}The same in {which}: {values}.{choose}"
