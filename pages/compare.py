"""Compare: runs side by side, and one of them tried on text beside the two models it stands between."""

import streamlit as st

from app import compare_text, compare_views, feedback

runs = compare_views.listed()
if not runs:
    feedback.empty(
        "No run is kept on this machine yet. Restore a pair: every restoration is kept as a run and listed here.",
        "../pages/restore.py",
        "Restore",
    )
    st.stop()
compared = compare_views.table(runs)
left, right = st.columns([7, 5], gap="medium")
with left:
    compare_views.curves(compared)
with right:
    compare_views.sizes(compared)
st.divider()
run = compare_views.in_view(runs, compared)
workspace = compare_views.pair_of(run)
if workspace is not None:
    compare_views.about(run, workspace)
    compare_text.continuation(workspace, run)
    compare_text.token_by_token(workspace, run)
