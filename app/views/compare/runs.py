"""Parts of the Compare page that show and manage runs: the table, the curves, and what can be done with one run."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd
import streamlit as st

from restorelcc.artifacts.runs import LONGEST_NAME, Run, bring_back, discard_run, empty_trash, list_runs, rename_run
from restorelcc.errors import LoadError, RestoreLCCError, SettingError
from restorelcc.workspace import Workspace

from ...charts import compare as charts
from ...charts.common import faint
from ...charts.compare import plain, recipe_of
from ...session import cache, state
from ...values.colours import colours
from ...values.pages import PAGES
from ...values.picks import Picks
from ...values.words import HELP, count, model_name
from ...widgets import controls, feedback
from ...work import open_pairs
from ...work.jobs import jobs
from ..restore import exports

MOST_DRAWN = 8  # runs compared while none is chosen


# --- which runs -------------------------------------------------------------------------------------------------


def listed() -> list[Run]:
    """All runs on this machine, newest first; above them, the way back from the last deletion."""
    if not st.session_state.get("compare-trash-seen"):
        st.session_state["compare-trash-seen"] = True
        empty_trash()
    _undo_message()
    return list_runs()


def _parameters(runs: Sequence[Run]) -> dict[str, int]:
    """Sizes of dense models, of pairs that are open."""
    open_ones = [workspace_of(run) for run in runs] + [state.workspace()]
    return {one.findings.dense_name: one.findings.dense_size.parameters for one in open_ones if one is not None}


# --- the table --------------------------------------------------------------------------------------------------


def table(runs: list[Run]) -> list[Run]:
    """All runs, hyperparameters that differ first; returns those to compare, in the table's order."""
    names = [run.folder.name for run in runs]
    wanted = set(st.session_state.get("compare-runs", []))
    chosen = [run for run in runs if run.folder.name in wanted]
    compared = chosen or runs[:MOST_DRAWN]
    differ, same = charts.differing(compared)
    frame = charts.table(runs, differ, _parameters(runs))

    def selected() -> None:
        rows = st.session_state["runs-table"]["selection"]["rows"]
        st.session_state["compare-runs"] = [names[row] for row in rows if row < len(names)]

    # Drawn from the session, as every widget: rows move when runs come and go.
    rows = [index for index, name in enumerate(names) if name in wanted]
    st.session_state["runs-table"] = {"selection": {"rows": rows, "columns": [], "cells": []}}
    tint = faint(colours(state.dark()).restored, 0.13)
    st.dataframe(
        frame.style.set_properties(subset=list[Hashable](differ), **{"background-color": tint}) if differ else frame,
        key="runs-table",
        on_select=selected,
        selection_mode="multi-row",
        hide_index=True,
        placeholder="–",
        column_config=_columns(frame, differ),
        alt="Table of runs: what was trained, how, and how much of the loss came back.",
    )
    st.caption(_caption(runs, chosen, compared, differ, same))
    return compared


def _columns(frame: pd.DataFrame, differ: Sequence[str]) -> dict[str, Any]:
    column = st.column_config
    words: dict[str, Any] = {}
    for name in differ:
        label, note = charts.NAMES.get(name, name), "Differs among the runs compared."
        numeric = pd.api.types.is_numeric_dtype(frame[name])
        words[name] = column.NumberColumn(label, format="%g", help=note) if numeric else column.Column(label, help=note)
    return words | {
        "run": column.TextColumn("run", pinned=True, width="medium"),
        "recovered": column.NumberColumn("recovered", format="percent", help=HELP["share"]),
        "perplexity": column.NumberColumn("perplexity", format="%.3f", help=HELP["perplexity"]),
        "stderr": column.NumberColumn("± se", format="%.3f", help="Standard error of the perplexity."),
        "gain": column.NumberColumn("gain, nats", format="%+.4f", help=HELP["gain"]),
        "gain_stderr": column.NumberColumn("± se", format="%.4f", help="Standard error of the gain, paired by window."),
        "trained": column.NumberColumn("trained", format="localized", help="Numbers that were trained: β and b."),
        "recovered_stderr": column.NumberColumn("± se", format="percent", help="Standard error of the share."),
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
    values = " · ".join(
        f"{charts.NAMES.get(name, name)} {charts.written(charts.setting(compared[0], name))}" for name in same
    )
    if len(compared) == 1:
        return f"**{plain(compared[0].name)}**: {values}."
    which = f"the {len(chosen)} chosen" if chosen else f"all {len(runs)}" if len(runs) <= MOST_DRAWN else "the newest"
    tinted = "Tinted settings differ. " if differ else ""
    choose = "" if chosen else " Tick rows to compare only those."
    return f"{tinted}The same in {which}: {values}.{choose}"


# --- figures ----------------------------------------------------------------------------------------------------


def metrics(runs: Sequence[Run]) -> dict[str, pd.DataFrame]:
    """Steps by folder name; runs whose steps cannot be read are named, and left out."""
    found: dict[str, pd.DataFrame] = {}
    lacking = []
    for run in runs:
        try:
            found[run.folder.name] = cache.metrics(str(run.folder), run)
        except LoadError:
            lacking.append(plain(run.name))
    if lacking:
        st.caption(f"Without readable training steps: {', '.join(lacking)}.")
    return found


def curves(runs: Sequence[Run]) -> None:
    """Learning curves over one another."""
    st.markdown(
        "##### Learning curves",
        help="The held-out text chooses the best step; it is not trained on. Recovered share puts runs of different "
        "pairs on one scale.",
    )
    view = st.segmented_control(
        "Curve",
        list(charts.VIEWS),
        format_func=lambda name: charts.VIEWS[name][0],
        required=True,
        label_visibility="collapsed",
        **controls.mirrored(
            "curve-view", st.session_state.get("compare-view", "perplexity"), lambda value: _remember("view", value)
        ),
    )
    steps = metrics(runs)
    frame = charts.curve_table(runs, steps)
    ends = {run.folder.name: charts.lines(run, steps[run.folder.name]) for run in runs if run.folder.name in steps}
    shown = frame.drop(columns="folder").rename(columns={"smooth": f"loss, mean of {charts.SMOOTH} steps"})
    controls.figure(
        charts.curves(runs, view, frame, ends, colours(state.dark())),
        "compare-curves",
        f"{charts.VIEWS[view][0]} by step of {len(runs)} runs: {', '.join(run.name for run in runs)}.",
        shown,
    )
    lacking = [plain(run.name) for run in runs if run.folder.name in ends and len(ends[run.folder.name]) < 2]
    if view == "perplexity" and len({charts.pair_names(run) for run in runs}) > 1:
        st.caption("These runs are of several pairs, so only lines that hold for all of them are drawn.")
    if view == "share" and lacking:
        st.caption(
            f"The dense model was not measured on the held-out text, so there is no share of: {', '.join(lacking)}."
        )
    if view == "loss":
        st.caption(f"Each point is the mean of up to {charts.SMOOTH} steps. Losses of different kinds do not compare.")


def sizes(runs: Sequence[Run]) -> None:
    """Perplexity against trained parameters."""
    st.markdown(
        "##### Perplexity against trained parameters",
        help="Bars are one standard error of each perplexity by itself. Runs on the same text share most of that "
        "noise, so they may differ clearly even where bars overlap.",
    )
    frame = charts.table(runs, [], {})
    controls.figure(
        charts.against_size(runs, frame, colours(state.dark())),
        "compare-sizes",
        f"Perplexity of {len(runs)} restored models against how many numbers were trained, with standard errors.",
        frame[["run", "trained", "perplexity", "stderr", "recovered"]],
    )


def _remember(name: str, value: object) -> None:
    st.session_state[f"compare-{name}"] = value


# --- one run ----------------------------------------------------------------------------------------------------


def in_view(runs: list[Run], compared: Sequence[Run]) -> Run:
    """The run that is looked at more closely, with what can be done with it."""
    here = state.session()
    by_name = {run.folder.name: run for run in runs}
    # Without a choice, one that can be tried on text at once.
    first = next((run for run in compared if workspace_of(run) is not None), compared[0])
    wanted = (st.session_state.get("compare-run"), here.run, first.folder.name)
    name = next(folder for folder in wanted if folder in by_name)

    def look(folder: str) -> None:
        st.session_state["compare-run"] = folder
        job = jobs.get(here.run) if here.run else None
        if job is None or job.finished:  # A restoration under way stays the one that the Restore page follows.
            here.run = folder

    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="run-actions"):
        st.selectbox(
            "Run in view",
            list(by_name),
            format_func=lambda folder: f"{by_name[folder].name} ({_made(by_name[folder])})",
            width=360,
            **controls.mirrored("run-in-view", name, look),
        )
        run = by_name[name]
        _reopen(run)
        _rename(run)
        exports.adapter_button(run, run.folder.name)
        if (workspace := workspace_of(run)) is not None:
            exports.checkpoint(workspace, run, run.folder.name)
        st.button("Delete", key="delete-run", icon=":material/delete:", on_click=_delete, args=(run,))
        return run


def _made(run: Run) -> str:
    return run.created.astimezone().strftime("%-d %b, %H:%M") if run.created else "–"


def _reopen(run: Run) -> None:
    if st.button(
        "Open with these settings",
        key="open-run",
        icon=":material/tune:",
        type="primary",
        help="The Restore page with this run's pair, picks and hyperparameters.",
    ):
        with feedback.guarded():
            _take_over(run)
            st.switch_page(PAGES["restore"].link)


def _take_over(run: Run) -> None:
    """Pair, picks and hyperparameters of a run become the session's. Raises LoadError, SettingError."""
    settings, picks = asdict(run.settings), Picks(run.selection)
    recipe, here = recipe_of(run), state.session()
    if recipe is not None and recipe != here.recipe:
        state.show(recipe)
        here.link, here.picks = {}, picks
    elif here.picks is None:
        here.picks = picks
    elif here.picks.selection.shape == picks.selection.shape:
        state.choose(picks)
    else:
        raise SettingError(
            f"This run does not say how its pair is opened, and its picks are for heads of {picks.selection.shape}, "
            f"not of {here.picks.selection.shape} as in the open pair. Open its pair on the Pair page first."
        )
    st.session_state["restore-settings"] = settings


def _rename(run: Run) -> None:
    with st.popover("Rename", icon=":material/edit:", key="rename-run"):
        key = f"name-{run.folder.name}"
        st.text_input("Name", value=run.name, max_chars=LONGEST_NAME, key=key)
        st.button("Rename", key="rename-now", type="primary", on_click=_renamed, args=(run, key))


def _renamed(run: Run, key: str) -> None:
    with feedback.guarded():
        renamed = rename_run(run, st.session_state[key])
        st.toast(f"Renamed to {plain(renamed.name)}.", icon=":material/edit:")


def _delete(run: Run) -> None:
    with feedback.guarded():
        gone = discard_run(run)
        st.session_state["compare-deleted"] = [*st.session_state.get("compare-deleted", []), gone]
        st.session_state["compare-runs"] = [
            name for name in st.session_state.get("compare-runs", []) if name != run.folder.name
        ]
        st.session_state.pop("compare-run", None)
        if state.session().run == run.folder.name:
            state.session().run = ""


def _undo_message() -> None:
    deleted: list[Run] = st.session_state.get("compare-deleted", [])
    if not deleted:
        return
    with st.container(border=True, horizontal=True, vertical_alignment="center", key="deleted-run"):
        st.markdown(f":material/delete: Deleted **{plain(deleted[-1].name)}**.", width="content")
        st.button("Undo", key="undo-delete", icon=":material/undo:", on_click=_undelete)
        st.button("Dismiss", key="dismiss-delete", type="tertiary", on_click=deleted.clear)


def _undelete() -> None:
    deleted: list[Run] = st.session_state.get("compare-deleted", [])
    if deleted:
        with feedback.guarded():
            back = bring_back(deleted.pop())
            st.session_state["compare-run"] = back.folder.name


# --- the run's pair ---------------------------------------------------------------------------------------------


def workspace_of(run: Run) -> Workspace | None:
    """The run's pair, if it is open on this server."""
    recipe = recipe_of(run)
    return None if recipe is None else open_pairs.workspace(recipe)


def pair_of(run: Run) -> Workspace | None:
    """The run's pair where it is open; else how to open it."""
    recipe, here = recipe_of(run), state.session()
    if recipe is None:
        feedback.empty(
            f"**{plain(run.name)}** does not say which models it restored, so it cannot be tried on text.",
        )
        return None
    workspace = open_pairs.workspace(recipe)
    if workspace is None:
        opening = here.pending or recipe == here.recipe
        with st.container(border=True, key="open-pair-first"):
            st.markdown(f"To try **{plain(run.name)}** on text, its pair must be open: {plain(_pair_name(run))}.")
            st.button(
                "Open this pair",
                key="open-pair",
                icon=":material/folder_open:",
                disabled=bool(opening),
                help="It is being opened." if opening else "It takes the place of the pair in view.",
                on_click=lambda: setattr(here, "pending", open_pairs.opening(recipe, here.owner).id),
            )
        return None
    try:
        shape = run.adapter().geometry
        with st.spinner("Loading the models"):
            workspace.pair()
    except RestoreLCCError as error:
        st.error(str(error), icon=":material/error:")
        return None
    if shape != workspace.findings.geometry:
        st.error(
            f"This run is for {shape}, but the pair of that name has {workspace.findings.geometry}: its models have "
            "changed since. Restore the pair anew.",
            icon=":material/error:",
        )
        return None
    return workspace


def _pair_name(run: Run) -> str:
    return " and ".join(name or "–" for name in charts.pair_names(run))


def about(run: Run, workspace: Workspace) -> None:
    """A line that says what the run in view came to."""
    share = charts.number(run, "figures", "recovered_share")
    trained = charts.number(run, "trained_parameters")
    facts = [
        f"{model_name(workspace.findings.dense_name)}, pruned: {workspace.findings.pruned_name}",
        f"{count(trained)} trained parameters" if trained is not None else "",
        f"{share:.0%}".replace("-", "−") + " of the lost log-likelihood recovered" if share is not None else "",
    ]
    st.caption(" · ".join(plain(fact) for fact in facts if fact))
