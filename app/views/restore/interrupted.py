"""Trainings that were interrupted, by a server or a command that ended: how far each is, and the way on."""

from __future__ import annotations

import streamlit as st

from restorelcc.artifacts.findings import Recipe
from restorelcc.artifacts.runs import Run
from restorelcc.artifacts.unfinished import Unfinished, list_unfinished

from ...session import state
from ...values import run_facts
from ...values.verbatim import in_markdown
from ...widgets import feedback
from ...work import allowed, open_pairs, training


def section(place: str) -> None:
    """Each with what can be done with it; nothing where there is none. place: which page it is on."""
    there: list[Unfinished] = []
    with feedback.guarded():
        there = [each for each in list_unfinished() if not each.is_under_way]
    interrupted = [each for each in there if not training.goes_on(each)]
    if not interrupted:
        return
    with st.container(border=True, key=f"interrupted-{place}"):
        st.markdown(f"##### {len(interrupted)} interrupted", help="A training is kept on its way. One whose server or "
                    "command ended goes on where it stood, to the numbers that it would have come to.")  # fmt: skip
        for each in interrupted:
            _row(each)


def _row(interrupted: Unfinished) -> None:
    name, recipe = interrupted.folder.name, _recipe(interrupted)
    began = f", begun {interrupted.created.astimezone():%-d %b, %H:%M}" if interrupted.created else ""
    with st.container(horizontal=True, vertical_alignment="center", key=f"interrupted-{name}"):
        said = f"**{in_markdown(interrupted.name)}**: {in_markdown(interrupted.standing)}{began}"
        st.markdown(said, width="stretch")
        if recipe is not None:
            _way_on(interrupted, recipe)
        st.button(
            "Delete",
            key=f"delete-interrupted-{name}",
            icon=":material/delete:",
            help="For good: it is no run yet.",
            on_click=_delete,
            args=(interrupted,),
            disabled=not allowed.may_change(interrupted, state.session().owner),
        )
    if recipe is None and not interrupted.damage:
        st.caption("Begun on the command line, and goes on there:")
        st.code(f"python -m restorelcc restore --continue {name}", language="sh")


def _recipe(interrupted: Unfinished) -> Recipe | None:
    """How its pair is opened; None for one that was begun on the command line, or cannot go on."""
    if interrupted.damage or "recipe" not in interrupted.facts["about"]:
        return None
    return run_facts.recipe_of(Run(interrupted.folder, interrupted.facts["about"]))


def _way_on(interrupted: Unfinished, recipe: Recipe) -> None:
    name, session = interrupted.folder.name, state.session()
    if recipe == session.recipe:
        st.button(
            "Continue",
            key=f"continue-{name}",
            icon=":material/play_arrow:",
            type="primary",
            on_click=_go_on,
            args=(interrupted, recipe),
            disabled=not allowed.may_change(interrupted, session.owner),
        )
    else:
        st.button(
            "Open its pair",
            key=f"open-interrupted-{name}",
            icon=":material/folder_open:",
            disabled=bool(session.pending),
            help="It takes the place of the pair in view; then the training can be continued.",
            on_click=lambda: setattr(session, "pending", open_pairs.opening(recipe, session.owner).id),
        )


def _go_on(interrupted: Unfinished, recipe: Recipe) -> None:
    session, workspace = state.session(), open_pairs.workspace(recipe)
    with feedback.guarded():
        allowed.check_change(interrupted, session.owner)
        if workspace is not None:
            session.run = training.go_on(workspace, interrupted, session.owner).id


def _delete(interrupted: Unfinished) -> None:
    with feedback.guarded():
        allowed.check_change(interrupted, state.session().owner)
        interrupted.discard()
