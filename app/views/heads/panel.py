"""What stands beside the map: the head in view; until there is one, the heads to look at first."""

from __future__ import annotations

import streamlit as st

from restorelcc.workspace import Workspace

from ...session import state
from ...widgets import feedback, passages
from . import all_heads, one_head, passage


def beside_the_map(workspace: Workspace, metric: str) -> None:
    """The head in view, else the ranking."""
    head = state.session().head
    if head is not None:
        one_head.title(workspace, head)
        one_head.split(workspace, head)
        one_head.spread(workspace, head)
    elif all_heads.there(workspace, metric):
        st.info("Click a cell of the map, or a bar, to see here what that head lost.", icon=":material/ads_click:")
        all_heads.way_in(workspace, metric)
        all_heads.ranking(workspace, metric)
        all_heads.first_to_picks(workspace, metric)


def ranking(workspace: Workspace, metric: str) -> None:
    """Below the head in view, the ranking; by layer, in any case."""
    if state.session().head is not None:
        all_heads.ranking(workspace, metric)
        all_heads.first_to_picks(workspace, metric)
    all_heads.profile(workspace, metric)


def reading(workspace: Workspace) -> None:
    """The head in view on a passage of text: where it lost, and where it looks. Needs the models."""
    head = state.session().head
    if head is None:
        return
    chosen = passages.chosen(workspace)
    if feedback.models_there(workspace, "passage") and passages.written(chosen):
        with feedback.guarded():
            passage.tinted(workspace, head, chosen)
            passage.attention(workspace, head, chosen)
