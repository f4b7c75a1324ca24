"""What a person makes of a run: a star, tags to find it by, a note."""

from __future__ import annotations

import streamlit as st

from restorelcc.artifacts.runs import Run, annotate_run

from ...session import state
from ...values import run_facts
from ...widgets import feedback
from ...work import allowed


def button(run: Run, changes: bool) -> None:
    """Opens what can be written down of a run. changes: whether this visitor may."""
    name = run.folder.name
    with st.popover("Notes", icon=":material/sticky_note_2:", key="annotate-run", disabled=not changes):
        st.toggle("Star", value=run_facts.known(run, "star") is True, key=f"star-{name}")
        st.text_input("Tags, parted by commas", value=", ".join(run_facts.tags(run)), key=f"tags-{name}")
        st.text_area("Note", value=str(run_facts.known(run, "note") or ""), key=f"note-{name}")
        st.button("Keep", key="annotate-now", type="primary", on_click=_annotated, args=(run,))


def _annotated(run: Run) -> None:
    name = run.folder.name
    with feedback.guarded():
        allowed.check_change(run, state.session().owner)
        typed = (st.session_state[f"{what}-{name}"] for what in ("star", "tags", "note"))
        star, tags, note = typed
        annotate_run(run, star, tags.split(","), note)
        st.toast("Noted.", icon=":material/sticky_note_2:")
