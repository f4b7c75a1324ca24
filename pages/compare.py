"""Compare: runs side by side, and one of them tried on text beside the two models it stands between."""

import streamlit as st

from app.values.pages import PAGES
from app.views.compare import runs, text
from app.widgets import feedback

kept = runs.listed()
if not kept:
    feedback.empty(
        "No run is kept on this machine yet. Restore a pair: every restoration is kept as a run and listed here.",
        PAGES["restore"].link,
        "Restore",
    )
    st.stop()
compared = runs.table(kept)
left, right = st.columns([7, 5], gap="medium")
with left:
    runs.curves(compared)
with right:
    runs.sizes(compared)
st.divider()
run = runs.in_view(kept, compared)
workspace = runs.pair_of(run)
if workspace is not None:
    runs.about(run, workspace)
    text.continuation(workspace, run)
    text.token_by_token(workspace, run)
