"""All heads on the Components page: how much of each head's loss its first components hold."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from restorelcc.selection.scores import Measure
from restorelcc.workspace import Workspace

from ...charts.head_map import head_maps
from ...session import state
from ...values.colours import colours
from ...widgets import controls

ENERGY = Measure(
    name="energy",
    title="Energy of the first components",
    brief="share of what a head lost that its first components hold",
    unit="share of lost energy",
)


def section(workspace: Workspace) -> None:
    """The map of how much of each head's loss its first k components hold, and the slider for k."""
    layers, heads, components = workspace.lost.shape
    k = st.slider(
        "How many components of each head", 1, components, min(4, components), key="energy-k", persist_state="session"
    )
    table = workspace.lost.energy[:, :, :k].sum(-1)
    picked = state.picks().by_head()
    chart, narrow = head_maps(table, ENERGY, colours(state.dark()), picked, state.session().head)
    places = [(layer, head) for layer in range(layers) for head in range(heads)]
    rows = [(*place, float(table[place]), picked.get(place, 0)) for place in places]
    controls.figure(
        chart,
        "energy-map",
        f"Map of the share of lost energy that the first {k} components of each head hold, "
        f"from {float(table.min()):.0%} to {float(table.max()):.0%}.",
        pd.DataFrame(rows, columns=["layer", "head", f"energy_of_{k}", "picked"]),
        narrow=narrow,
        on_select=_map_selected,
        modes=("points",),
    )


def _map_selected() -> None:
    points = controls.selected_points("energy-map")
    if points:
        state.look_at((points[0][0], points[0][1]))
