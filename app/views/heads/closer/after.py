"""Before and after: what every head lost, and what is still lost with something put back, on one scale, in step."""

from __future__ import annotations

from functools import partial

import streamlit as st

from restorelcc.inspection.after import After
from restorelcc.selection.scores import SCORES, captured
from restorelcc.workspace import Workspace

from ....charts.closer.still import on_one_scale
from ....charts.head_map import head_maps
from ....session import state
from ....values.colours import colours
from ....widgets import computing, controls

HELP = (
    "Read again on the text that heads were read on, with what is put back in place in every layer; a constant counts "
    "as part of the activation that it is added to. Both maps have one scale. A click on either looks at the head."
)


def section(workspace: Workspace) -> None:
    """Two maps of one measure of loss."""
    st.markdown("##### Before and after", help=HELP)
    known = computing.still_lost(workspace, "after")
    if known is None:
        return
    back, after = known
    _maps(workspace, after, back.title)


def _maps(workspace: Workspace, after: After, title: str) -> None:
    session = state.session()
    metric = session.metric if session.metric in captured() else "relative_error"
    score, before, now = SCORES[metric], workspace.loss.table(metric), after.loss.table(metric)
    most = float(before.maximum(now).max())
    for column, (key, label, table) in zip(
        st.columns(2, gap="medium"), (("before", "Before", before), ("after", f"With {title}", now)), strict=True
    ):
        with column:
            st.markdown(f"**{label}**: {score.title.lower()}, mean {float(table.mean()):.3f}")
            wide, narrow = head_maps(table, score, colours(state.dark()), state.picks().by_head(), session.head)
            controls.figure(
                on_one_scale(wide, most),
                f"map-{key}",
                f"Map of {score.title.lower()} by layer and head, {label.lower()}; mean {float(table.mean()):.3f}.",
                controls.by_head(table, metric),
                on_select=partial(_selected, f"map-{key}"),
                modes=("points",),
                narrow=None if narrow is None else on_one_scale(narrow, most),
            )
    fewer = int((now < before).sum())
    st.caption(
        f"{fewer} of {before.numel()} heads are nearer to the dense model than before, {int((now > before).sum())} are "
        "further away: what is put back below changes what they read."
    )


def _selected(key: str) -> None:
    points = controls.selected_points(key)
    if points:
        state.look_at((points[0][0], points[0][1]))
