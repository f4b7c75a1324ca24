"""Components: what one head lost, direction by direction; and all heads at once."""

import streamlit as st

from app import component_effect_views, component_views, state, strategy_views

workspace = state.opened()
head = component_views.chosen_head(workspace)
left, right = st.columns([7, 5], gap="medium")
with left:
    component_views.scree(workspace, head)
    component_views.plane(workspace, head)
with right:
    component_views.detail(workspace, head)
    component_effect_views.effect(workspace, head)

st.subheader("All heads")
left, right = st.columns([7, 5], gap="medium")
with left:
    strategy_views.energy_map(workspace)
with right:
    strategy_views.strategies(workspace)
