"""Heads: what every head lost, as a map; and one head in detail."""

import streamlit as st

from app.session import state
from app.views.heads import all_heads, bounds, one_head, passage, score
from app.views.heads.closer import looks
from app.widgets import controls, feedback

workspace = state.opened()
metric = controls.metric()
above, below = st.container(), st.container()


def whole_map() -> None:
    """All heads."""
    with above:
        there = score.available(workspace, metric)
    if there:
        left, right = above.columns([7, 5], gap="medium")
        with left:
            all_heads.loss_map(workspace, metric)
        with right:
            all_heads.ranking(workspace, metric)
            all_heads.profile(workspace, metric)
    if metric == "ceiling":
        with above:
            bounds.section(workspace)


def panel() -> None:
    """The head in view."""
    head = state.session().head
    if head is None:
        all_heads.none_in_view(workspace, metric)
        return
    one_head.title(workspace, head)
    spread, text = st.columns([4, 6], gap="medium")
    chosen = passage.chosen(workspace)
    with text:
        readable = feedback.models_there(workspace, "passage")
        if readable:
            passage.tinted(workspace, head, chosen)
    with spread:
        one_head.split(workspace, head)
        one_head.spread(workspace, head)
    if readable:
        passage.attention(workspace, head, chosen)


# A click is answered where it shows first; while the models are still to be loaded, the map, which needs none.
panel_first = workspace.loaded
if not panel_first:
    whole_map()
with below:
    panel()
if panel_first:
    whole_map()
with st.container():
    looks.section(workspace)
