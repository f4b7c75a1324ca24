"""Which closer look is taken; only that one is drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from restorelcc.workspace import Workspace

from ....session import state
from ....widgets import controls
from . import after, another_pair, depth, hit, kinds


@dataclass(frozen=True)
class Look:
    """One of several ways to look closer."""

    title: str
    draw: Callable[[Workspace], None]


LOOKS = {
    "kinds": Look("Kinds of heads", kinds.section),
    "depth": Look("Where the prediction departs", depth.section),
    "hit": Look("The text that was hit", hit.section),
    "after": Look("Before and after", after.section),
    "beside": Look("Beside another pair", another_pair.section),
}


def section(workspace: Workspace) -> None:
    """Choose a look, and take it."""
    st.divider()
    st.subheader("Look closer")
    session = state.session()
    session.look = session.look if session.look in LOOKS else ""
    st.segmented_control(
        "Look closer",
        list(LOOKS),
        format_func=lambda name: LOOKS[name].title,
        label_visibility="collapsed",
        wrap=True,
        **controls.mirrored("look-closer", session.look or None, lambda name: setattr(session, "look", name or "")),
    )
    if session.look:
        LOOKS[session.look].draw(workspace)
