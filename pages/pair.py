"""Pair: which models are looked at, and what pruning did to them as a whole."""

import streamlit as st

from app.session import state
from app.values.pages import PAGES
from app.views.pair import facts, form

left, right = st.columns([4, 8], gap="large")
with left:
    st.markdown("#### Open a pair")
    form.section()
with right:
    workspace = state.workspace()
    if workspace is None:
        st.info("The pair is being opened. What is known of it will be shown here.", icon=":material/hourglass_empty:")
    else:
        facts.names_and_shape(workspace)
        facts.sizes_and_losses(workspace)
        facts.sparsity(workspace)
        facts.report(workspace)
        st.page_link(PAGES["heads"].link, label="See what every head lost", icon=":material/arrow_forward:")
