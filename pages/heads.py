"""Heads: what every head lost, as a map; and one head in detail."""

import streamlit as st

from app import controls, head_views, state

workspace = state.opened()
metric = controls.metric()
left, right = st.columns([7, 5], gap="medium")
with left:
    head_views.loss_map(workspace, metric)
with right:
    head_views.ranks(workspace, metric)
head = state.session().head
if head is None:
    st.info(
        "Click a cell of the map, or a bar of the ranking, to see what that head lost.", icon=":material/ads_click:"
    )
else:
    head_views.title(workspace, head)
    spread, text = st.columns([4, 6], gap="medium")
    with spread:
        head_views.spread(workspace, head)
    passage = head_views.passage(workspace)
    with text:
        head_views.tinted(workspace, head, passage)
    head_views.attention(workspace, head, passage)
