"""Restore: train what is put back, and watch."""

import streamlit as st

from app import exports, restore_views, result_views, state, sweep_views

workspace = state.opened()
left, right = st.columns([4, 8], gap="large")
with left:
    restore_views.form(workspace)
with right:
    restore_views.what(workspace)
    job = restore_views.watched()
    if job is not None:
        restore_views.live(job)
    if job is None or job.finished:
        run = result_views.kept(state.session().run)
        if run is not None:
            result_views.result(workspace, run)
            exports.next_steps(workspace, run)
        elif job is None:
            st.info(
                "Loss and held-out perplexity will be drawn here, step by step, between the dense and the pruned "
                "model's, once you press Start restoration.",
                icon=":material/show_chart:",
            )
sweep_views.section(workspace)
