"""Heads: what every head lost, as a map; and one head in detail."""

import streamlit as st

from app import bound_views, controls, head_views, state

workspace = state.opened()
metric = controls.metric()
above, below = st.container(), st.container()


def overview() -> None:
    """All heads."""
    with above:
        there = head_views.score(workspace, metric)
    if there:
        left, right = above.columns([7, 5], gap="medium")
        with left:
            head_views.loss_map(workspace, metric)
        with right:
            head_views.ranks(workspace, metric)
    if metric == "ceiling":
        with above:
            bound_views.section(workspace)


def panel() -> None:
    """The head in view."""
    head = state.session().head
    if head is None:
        head_views.none_in_view(workspace, metric)
        return
    head_views.title(workspace, head)
    spread, text = st.columns([4, 6], gap="medium")
    passage = head_views.passage(workspace)
    with text:
        head_views.tinted(workspace, head, passage)
    with spread:
        head_views.spread(workspace, head)
    head_views.attention(workspace, head, passage)


# A click is answered where it shows first; while the models are still to be loaded, the map, which needs none.
panel_first = workspace.loaded
if not panel_first:
    overview()
with below:
    panel()
if panel_first:
    overview()
