"""Which closer look is taken; only that one is drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from restorelcc.workspace import Workspace

from . import after, depth, hit, kinds


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
}


def section(workspace: Workspace) -> None:
    """Choose a look, and take it."""
    st.divider()
    st.subheader("Look closer")
    chosen = st.segmented_control(
        "Look closer",
        list(LOOKS),
        format_func=lambda name: LOOKS[name].title,
        key="look-closer",
        persist_state="session",
        label_visibility="collapsed",
        wrap=True,
    )
    if chosen is not None:
        LOOKS[chosen].draw(workspace)
