"""Compare: runs side by side, and one of them tried on text beside the two models it stands between."""

import streamlit as st

from app.values.pages import PAGES
from app.views.compare import continuation, curves, damaged, filters, one_run, pair_of_run, table, token_by_token
from app.views.compare.measured import speed, tasks
from app.views.compare.neighbours import section as neighbours
from app.views.restore import interrupted
from app.widgets import feedback

runs = table.listed()
interrupted.section("compare")
if not runs:
    one_run.gone([])
    feedback.empty(
        "No run is kept on this machine yet. Restore a pair: every restoration is kept as a run and listed here.",
        PAGES["restore"].link,
        "Restore",
    )
    neighbours.section([])
    st.stop()
compared = table.section(filters.section(runs))
left, right = st.columns([7, 5], gap="medium")
with left:
    curves.by_step(compared)
with right:
    curves.by_size(compared)
damaged.section(runs)
st.divider()
neighbours.section(runs)
st.divider()
run = one_run.in_view(runs, compared)
workspace = pair_of_run.pair_of(run)
if workspace is not None:
    pair_of_run.about(run, workspace)
    continuation.section(workspace, run)
    token_by_token.token_by_token(workspace, run)
tasks.section(run, workspace)
speed.section(run, workspace)
