"""Ways to another head than by the map, where cells are small for a finger: by its number, and in the order of a
measure."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from restorelcc.workspace import Workspace

from ..session import state
from ..values.picks import Head
from . import controls


def by_number(workspace: Workspace, head: Head) -> None:
    """Layer and head as numbers. head: the one in view."""
    layers, heads, _ = workspace.lost.shape
    layer_input = controls.mirrored("choose-layer", head[0], lambda layer: state.look_at((int(layer), head[1])))
    st.number_input("Layer", 0, layers - 1, width=110, **layer_input)
    head_input = controls.mirrored("choose-head", head[1], lambda index: state.look_at((head[0], int(index))))
    st.number_input("Head", 0, heads - 1, width=110, **head_input)


def by_rank(order: Sequence[Head], head: Head) -> None:
    """One step in the order of a measure; none from a head that it does not know."""
    rank = order.index(head) if head in order else None
    st.button(
        "Previous",
        icon=":material/arrow_back:",
        key="previous-head",
        disabled=not rank,
        on_click=lambda: state.look_at(order[(rank or 0) - 1]),
    )
    st.button(
        "Next",
        icon=":material/arrow_forward:",
        key="next-head",
        disabled=rank is None or rank == len(order) - 1,
        on_click=lambda: state.look_at(order[(rank or 0) + 1]),
    )
