"""The run in view, and what can be done with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import streamlit as st

from restorelcc.artifacts.runs import LONGEST_NAME, Run, rename_run
from restorelcc.errors import SettingError

from ...session import state
from ...values import run_facts
from ...values.pages import PAGES
from ...values.picks import Picks
from ...values.verbatim import in_markdown, visible
from ...widgets import controls, feedback
from ...work.jobs import jobs
from ..restore import exports
from . import trash
from .pair_of_run import workspace_of


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
            format_func=lambda folder: f"{visible(by_name[folder].name)} ({_made(by_name[folder])})",
            width=360,
            **controls.mirrored("run-in-view", name, look),
        )
        run = by_name[name]
        _reopen(run)
        _rename(run)
        exports.adapter_button(run, run.folder.name)
        if (workspace := workspace_of(run)) is not None:
            exports.checkpoint(workspace, run, run.folder.name)
        st.button("Delete", key="delete-run", icon=":material/delete:", on_click=trash.delete, args=(run,))
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
    settings, picks = asdict(run.settings), _picks(run)
    recipe, here = run_facts.recipe_of(run), state.session()
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


def _picks(run: Run) -> Picks:
    """What was trained, with the magnitudes that were set by hand. Raises LoadError, SettingError."""
    selection, text = run.selection, str(run.config.get("picks", ""))
    return Picks.from_text(text, selection.shape).of(selection)


def _rename(run: Run) -> None:
    with st.popover("Rename", icon=":material/edit:", key="rename-run"):
        key = f"name-{run.folder.name}"
        st.text_input("Name", value=run.name, max_chars=LONGEST_NAME, key=key)
        st.button("Rename", key="rename-now", type="primary", on_click=_renamed, args=(run, key))


def _renamed(run: Run, key: str) -> None:
    with feedback.guarded():
        renamed = rename_run(run, st.session_state[key])
        st.toast(f"Renamed to {in_markdown(renamed.name)}.", icon=":material/edit:")
