"""Heads: what every head lost, as a map; beside it one head in detail."""

import streamlit as st

from app.session import state
from app.views.heads import all_heads, bounds, own, panel, scatter, score
from app.views.heads.closer import looks
from app.widgets import controls

workspace = state.opened()
metric = controls.metric(lambda: own.section(workspace))
left, right = st.columns([7, 5], gap="medium")
below_left, below_right = st.columns([7, 5], gap="medium")
text = st.container()

with left:
    there = score.available(workspace, metric)


def whole_map() -> None:
    """All heads."""
    if there:
        with left:
            all_heads.loss_map(workspace, metric)


# A click is answered where it shows first: the panel, once the models that a part of the page waits for are there.
panel_first = workspace.loaded
if not panel_first:
    whole_map()
with right:
    panel.beside_the_map(workspace, metric)
if panel_first:
    whole_map()
with text:
    panel.reading(workspace)
if there:
    with below_right:
        panel.ranking(workspace, metric)
with below_left:
    scatter.section(workspace)
if metric == "ceiling":
    bounds.section(workspace)
with st.container():
    looks.section(workspace)
