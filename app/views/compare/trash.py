"""Deleting a run, and the way back."""

from __future__ import annotations

import streamlit as st

from restorelcc.artifacts.runs import Run, bring_back, discard_run

from ...session import state
from ...values.verbatim import in_markdown
from ...widgets import feedback
from ...work import allowed


def delete(run: Run) -> None:
    """Put a run into the trash, from which it can be brought back."""
    with feedback.guarded():
        allowed.check_change(run, state.session().owner)
        discarded = discard_run(run)
        st.session_state["compare-deleted"] = [*st.session_state.get("compare-deleted", []), discarded]
        ticked = st.session_state.get("compare-runs", [])
        st.session_state["compare-runs"] = [name for name in ticked if name != run.folder.name]
        st.session_state.pop("compare-run", None)
        if state.session().run == run.folder.name:
            state.session().run = ""


def way_back() -> None:
    """What was deleted last, with a button that brings it back."""
    deleted: list[Run] = st.session_state.get("compare-deleted", [])
    if not deleted:
        return
    with st.container(border=True, horizontal=True, vertical_alignment="center", key="deleted-run"):
        st.markdown(f":material/delete: Deleted **{in_markdown(deleted[-1].name)}**.", width="content")
        st.button("Undo", key="undo-delete", icon=":material/undo:", on_click=_undelete)
        st.button("Dismiss", key="dismiss-delete", type="tertiary", on_click=deleted.clear)


def _undelete() -> None:
    deleted: list[Run] = st.session_state.get("compare-deleted", [])
    if deleted:
        with feedback.guarded():
            run = bring_back(deleted.pop())
            st.session_state["compare-run"] = run.folder.name
