"""Runs that cannot be used, or not in all their parts: what is wrong with them, and a way to be rid of them."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from restorelcc.artifacts.runs import Run

from ...session import state
from ...values.verbatim import in_markdown
from ...work import allowed
from . import trash


def section(runs: Sequence[Run]) -> None:
    """Each damaged run with its reason and a button that deletes it; nothing where all are sound."""
    damaged = [run for run in runs if run.damage]
    if not damaged:
        return
    with st.expander(f"{len(damaged)} damaged", icon=":material/broken_image:", key="damaged-runs"):
        for run in damaged:
            with st.container(horizontal=True, vertical_alignment="center", key=f"damaged-{run.folder.name}"):
                st.markdown(f"**{in_markdown(run.name)}**: {in_markdown(run.damage)}", width="stretch")
                st.button(
                    "Delete",
                    key=f"delete-damaged-{run.folder.name}",
                    icon=":material/delete:",
                    on_click=trash.delete,
                    args=(run,),
                    disabled=not allowed.may_change(run, state.session().owner),
                )
