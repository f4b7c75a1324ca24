"""Before and after: what every head lost, and what is still lost with something put back, on one scale, in step."""

from __future__ import annotations

import streamlit as st

from restorelcc.inspection.after import After
from restorelcc.selection.scores import SCORES, captured
from restorelcc.workspace import Workspace

from ....session import state
from ....widgets import computing
from .in_step import Side, maps

HELP = (
    "Read again on the text that heads were read on, with what is put back in place in every layer; a constant counts "
    "as part of the activation that it is added to. Both maps have one scale. A click on either looks at the head."
)


def section(workspace: Workspace) -> None:
    """Two maps of one measure of loss."""
    st.markdown("##### Before and after", help=HELP)
    known = computing.still_lost(workspace, "after")
    if known is None:
        return
    back, after = known
    _maps(workspace, after, back.title)


def _maps(workspace: Workspace, after: After, title: str) -> None:
    session = state.session()
    metric = session.metric if session.metric in captured() else "relative_error"
    before, now = workspace.loss.table(metric), after.loss.table(metric)
    maps(SCORES[metric], Side("before", "before", before, "Before"), Side("after", "after", now, f"With {title}"))
    fewer = int((now < before).sum())
    st.caption(
        f"{fewer} of {before.numel()} heads are nearer to the dense model than before, {int((now > before).sum())} are "
        "further away: what is put back below changes what they read."
    )
