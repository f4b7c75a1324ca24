"""The run in view, and what can be done with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from restorelcc.artifacts.runs import LONGEST_NAME, Run, rename_run
from restorelcc.errors import SettingError
from restorelcc.report.build import of_runs

from ...session import state
from ...values import run_facts
from ...values.pages import PAGES
from ...values.picks import Picks
from ...values.verbatim import in_markdown, shortened, visible
from ...widgets import controls, feedback, reports
from ...work import allowed
from ...work.jobs import jobs
from ..restore import exports, settings
from . import notes, trash
from .pair_of_run import workspace_of

NOT_YOURS = "On this server a run is renamed and deleted from the browser that made it."


def in_view(runs: list[Run], compared: Sequence[Run]) -> Run:
    """The run that is looked at more closely, with what can be done with it."""
    by_folder = {run.folder.name: run for run in runs}
    folder = _folder(by_folder, compared)
    gone([*by_folder], f"{in_markdown(by_folder[folder].name)} is shown in its place.")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="run-actions"):
        st.selectbox(
            "Run in view",
            list(by_folder),
            format_func=lambda folder: f"{visible(by_folder[folder].name)} ({_made(by_folder[folder])})",
            width=360,
            **controls.mirrored("run-in-view", folder, _look),
        )
        run = by_folder[folder]
        _reopen(run)
        changes = allowed.may_change(run, state.session().owner)
        _rename(run, changes)
        notes.button(run, changes)
        exports.adapter_button(run, run.folder.name)
        if (workspace := workspace_of(run)) is not None:
            exports.checkpoint(workspace, run, run.folder.name)
        exports.how_to_use(run, run.folder.name)
        reports.button("Report", "report-run", run.folder.name, lambda: of_runs([run]))
        if len(compared) > 1:
            reports.button(f"Report of {len(compared)}", "report-runs", "runs", lambda: of_runs(compared))
        st.button(
            "Delete",
            key="delete-run",
            icon=":material/delete:",
            on_click=trash.delete,
            args=(run,),
            disabled=not changes,
            help=None if changes else NOT_YOURS,
        )
        return run


def _folder(by_folder: Mapping[str, Run], compared: Sequence[Run]) -> str:
    """The folder of the run in view: the one chosen here, the one that the Restore page shows, or one of those
    compared, where there is one that can be tried on text at once."""
    first = next((run for run in compared if workspace_of(run) is not None), compared[0])
    wanted = (st.session_state.get("compare-run"), _of_the_link(), first.folder.name)
    return next(str(folder) for folder in wanted if folder in by_folder)


def _of_the_link() -> str:
    """The folder of the run in the link, which while it was trained was the id of a job."""
    named = state.session().run
    job = jobs.get(named) if named else None
    return job.result.folder.name if job is not None and isinstance(job.result, Run) else named


def gone(folders: Sequence[str], instead: str = "") -> None:
    """Says so where the run that the link names is not among those that are kept, nor under way. instead: what there
    is to see, as Markdown."""
    wanted, chosen = _of_the_link(), st.session_state.get("compare-run")
    if not wanted or wanted in folders or chosen in folders or jobs.get(wanted) is not None:
        return
    st.warning(
        f"The run that the link names, {in_markdown(shortened(wanted, 60))}, is not kept here: it was deleted, or made "
        f"on another machine. {instead}",
        icon=":material/link_off:",
    )


def _look(folder: str) -> None:
    session = state.session()
    st.session_state["compare-run"] = folder
    job = jobs.get(session.run) if session.run else None
    if job is None or job.finished:  # A restoration under way stays the one that the Restore page follows.
        session.run = folder


def _made(run: Run) -> str:
    """When the run was made, for people."""
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
    trained_with, picks = run.settings, _picks(run)
    recipe, session = run_facts.recipe_of(run), state.session()
    if recipe is not None and recipe != session.recipe:
        state.show(recipe)
        session.link, session.picks = {}, picks
    elif session.picks is None:
        session.picks = picks
    elif session.picks.selection.shape == picks.selection.shape:
        state.choose(picks)
    else:
        raise SettingError(
            f"This run does not say how its pair is opened, and its picks are for heads of {picks.selection.shape}, "
            f"not of {session.picks.selection.shape} as in the open pair. Open its pair on the Pair page first."
        )
    settings.fill(trained_with)


def _picks(run: Run) -> Picks:
    """What was trained, with the magnitudes that were set by hand. Raises LoadError, SettingError."""
    selection, text = run.selection, str(run.config.get("picks", ""))
    return Picks.from_text(text, selection.shape).of(selection)


def _rename(run: Run, changes: bool) -> None:
    with st.popover("Rename", icon=":material/edit:", key="rename-run", disabled=not changes):
        key = f"name-{run.folder.name}"
        st.text_input("Name", value=visible(run.name), key=key, help=f"At most {LONGEST_NAME} letters.")
        st.button("Rename", key="rename-now", type="primary", on_click=_renamed, args=(run, key))


def _renamed(run: Run, key: str) -> None:
    with feedback.guarded():
        allowed.check_change(run, state.session().owner)
        renamed = rename_run(run, st.session_state[key])
        st.toast(f"Renamed to {in_markdown(renamed.name)}.", icon=":material/edit:")
