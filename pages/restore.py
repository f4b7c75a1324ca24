"""Restore: train what is put back, and watch."""

import streamlit as st

from app.session import state
from app.views.restore import exports, form, interrupted, live, result, sweep

workspace = state.opened()
left, right = st.columns([4, 8], gap="large")
with left:
    form.section(workspace)
with right:
    form.what(workspace)
    interrupted.section("restore")
    job = live.watched()
    if job is not None:
        live.section(job)
    if job is None or job.finished:
        run = result.kept(state.session().run)
        if run is not None:
            result.section(workspace, run)
            exports.next_steps(workspace, run)
        elif job is None:
            st.info(
                "Loss and held-out perplexity will be drawn here, step by step, between the dense and the pruned "
                "model's, once you press Start restoration.",
                icon=":material/show_chart:",
            )
sweep.section(workspace)
