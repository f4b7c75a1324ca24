"""The text that was hit: windows by what they lost, what came back, what got worse; a click reads one."""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st

from restorelcc.workspace import Workspace

from ....session import cache, state
from ....values.passages import LONGEST, SOURCES, Passage
from ....widgets import computing, controls, in_place, passages
from ....work import scores
from ....work.closer import found

TABLE = "hit-table"
HELP = (
    "Mean NLL of each window, nats per token: lost is pruned − dense; back is pruned − with what is put back, below 0 "
    "where it got worse; still is what is left of the loss. KL: of the pruned model's next-token distribution to the "
    "dense one's. Position and token: where most was lost. Click a column's head to sort."
)
COLUMNS = {"lost": "lost", "back": "back", "still": "still", "kl": "KL", "kl_restored": "KL after"}


def section(workspace: Workspace) -> None:
    """A row a window; a click reads it token by token, with the head in view."""
    st.markdown("##### The text that was hit", help=HELP)
    session = state.session()
    with st.container(horizontal=True, vertical_alignment="bottom", key="hit-settings"):
        source = session.passage.source if session.hit_source == "" else session.hit_source
        source = "calibration" if source == "own" else source
        st.segmented_control(
            "Windows of",
            [name for name in SOURCES if name != "own"],
            format_func=lambda name: SOURCES[name],
            required=True,
            **controls.mirrored("hit-source", source, lambda name: setattr(session, "hit_source", name)),
        )
        back = in_place.chosen(workspace, "hit")
    what = f"windows {source} {'' if back is None else back.name}"
    frame: pd.DataFrame | None = scores.known(workspace.recipe, what)
    if frame is None:
        work = partial(found.windows_work, workspace, source, back)
        computing.asked(
            found.key(workspace, what),
            "hit",
            f"a pass of {'both models' if back is None else 'both models, and one more with what is put back'}",
            "See which text was hit",
            partial(found.submit, workspace, what, session.owner, "Reading every window", work),
        )
        return
    _table(workspace, source, frame)


def _table(workspace: Workspace, source: str, frame: pd.DataFrame) -> None:
    ids = passages.text_of(workspace, source).ids
    recipe = workspace.recipe
    name = recipe.evaluation if source == "evaluation" else recipe.calibration
    words = cache.words_at(
        recipe, source, tuple(frame["window"]), tuple(frame["position"]), workspace
    ) if workspace.loaded else [""] * len(frame)  # fmt: skip
    shown = frame[["window", "tokens", *(column for column in COLUMNS if column in frame)]].rename(columns=COLUMNS)
    shown = shown.assign(at=frame["position"], token=words, source=f"{name}, window of {ids.shape[1]} tokens")
    worse = int((frame["back"] < 0).sum()) if "back" in frame else 0
    st.dataframe(
        shown,
        hide_index=True,
        key=TABLE,
        height=320,
        on_select=lambda: _selected(workspace, source, frame),
        selection_mode="single-row",
        column_config={
            column: st.column_config.NumberColumn(format="%.3f") for column in COLUMNS.values() if column in shown
        },
    )
    st.caption(
        "Tick a row to read its window above, from where most was lost."
        + (f" {worse} of {len(frame)} windows got worse." if "back" in frame else "")
    )


def _selected(workspace: Workspace, source: str, frame: pd.DataFrame) -> None:
    """Read the window around the token that lost most; with the head that lost most, where none is in view."""
    rows = st.session_state[TABLE]["selection"]["rows"]
    if not rows:
        return
    row = frame.iloc[rows[0]]
    session = state.session()
    session.passage = Passage(int(row["window"]), max(0, int(row["position"]) - LONGEST // 2), LONGEST, source)
    if session.head is None:
        table = workspace.loss.output_weighted
        state.look_at((int(table.argmax()) // table.shape[1], int(table.argmax()) % table.shape[1]))
