"""Scores of one's own on the Heads page: a file becomes a measure of this session, and of no other."""

from __future__ import annotations

from functools import partial

import streamlit as st

from restorelcc.errors import RestoreLCCError
from restorelcc.workspace import Workspace

from ...session import measures
from ...widgets import controls, feedback

REFUSED = "own-refused"
"""Where the session keeps why a file was not taken, until the next is."""
ENDS = {False: "highest", True: "lowest"}


def section(workspace: Workspace) -> None:
    """A file to give, and those that were given."""
    refused = st.session_state.get(REFUSED)
    with st.popover("Own scores", icon=":material/upload_file:", key="own-scores"):
        st.file_uploader(
            "Scores of heads, a CSV or JSON of layer, head and value",
            ["csv", "json"],
            key="own-file",
            on_change=_given,
            args=(workspace,),
            help="A row a head, counted from 0; heads without a row stay blank. It becomes a measure like any other, "
            "in this session alone: it is not kept, not in links, and nobody else sees it.",
        )
        if refused:
            feedback.refused(refused)
        for name, own in measures.own().items():
            with st.container(horizontal=True, vertical_alignment="bottom"):
                st.segmented_control(
                    f"{own.row.title}: first come the",
                    list(ENDS),
                    format_func=lambda lowest: ENDS[lowest],
                    required=True,
                    **controls.mirrored(f"first-{name}", own.row.lowest_first, partial(measures.turn, name)),
                )
                st.button("Remove", key=f"drop-{name}", on_click=measures.drop, args=(name,), type="tertiary")
    if refused:
        feedback.refused(refused)


def _given(workspace: Workspace) -> None:
    """Take the file that was given; none where it was taken away again."""
    file = st.session_state.get("own-file")
    st.session_state[REFUSED] = None
    if file is None:
        return
    try:
        measures.take(workspace, file.name, file.getvalue())
    except RestoreLCCError as error:
        st.session_state[REFUSED] = str(error)
