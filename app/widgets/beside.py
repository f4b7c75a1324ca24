"""Another pair, beside which the one in view is seen: chosen on any page, and in the link."""

from __future__ import annotations

import streamlit as st

from restorelcc.artifacts.findings import Recipe
from restorelcc.workspace import Workspace

from ..session import state
from ..values.verbatim import visible
from ..work import open_pairs
from ..work.closer import other_pairs
from . import controls, feedback


def chosen(workspace: Workspace, place: str) -> Recipe | None:
    """The other pair, and the control that chooses it. place: where on which page."""
    session = state.session()
    offered = other_pairs.others(workspace.recipe)
    now = session.beside if session.beside != workspace.recipe else None
    if now is not None and now not in offered:
        offered = [now, *offered]
    opened = set(open_pairs.seen())
    st.selectbox(
        "Beside",
        offered,
        index=None,
        format_func=lambda recipe: (
            visible(other_pairs.named(recipe, workspace.recipe)) + ("" if recipe in opened else " · not opened yet")
        ),
        placeholder="Another pair",
        width=420,
        help="Pairs that were opened on this server, those of runs, and, of a model that is pruned here, the same one "
        "pruned otherwise. A pair that is not listed is opened on the Pair page first.",
        **controls.mirrored(f"beside-{place}", now, lambda recipe: setattr(session, "beside", recipe)),
    )
    return now


def workspace_of(recipe: Recipe, place: str) -> Workspace | None:
    """The pair of this recipe; while it is being opened, how far that is, and None. Needs no models where it was opened
    before."""
    opened = open_pairs.workspace(recipe)
    if opened is None:
        owner = state.session().owner
        job = open_pairs.awaited(recipe, owner)
        job.wait(max(0.0, feedback.GLANCE - job.age))
        opened = open_pairs.workspace(recipe)
        if opened is None:
            feedback.progress(job, place)
            if job.finished:
                st.button("Try again", key=f"open-{place}", on_click=_again, args=(recipe, owner))
    return opened


def _again(recipe: Recipe, owner: str) -> None:
    open_pairs.opening(recipe, owner)
