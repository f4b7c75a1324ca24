"""Components: what one head lost, direction by direction; and all heads at once."""

import streamlit as st

from app.session import state
from app.views.components import (
    beside,
    effect,
    energy_map,
    on_a_passage,
    one_component,
    one_head,
    still_lost,
    strategies,
)

workspace = state.opened()
head = one_head.chosen(workspace)
left, right = st.columns([7, 5], gap="medium")
with left:
    one_head.scree(workspace, head)
    one_head.ticks(workspace, head)
    one_head.plane(workspace, head)
    on_a_passage.section(workspace, head)
with right:
    one_component.section(workspace, head)
    effect.section(workspace, head)
    still_lost.section(workspace, head)
    beside.section(workspace, head)

st.subheader("All heads")
left, right = st.columns([7, 5], gap="medium")
with left:
    energy_map.section(workspace)
with right:
    strategies.section(workspace)
