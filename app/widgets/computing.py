"""What a closer look takes where it is not computed yet: the button for it, and its progress."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from restorelcc.inspection.after import After
from restorelcc.workspace import Workspace

from ..session import state
from ..work import scores
from ..work.closer import found
from ..work.closer.found import InPlace
from ..work.jobs import State, jobs
from . import feedback, in_place


def asked(key: tuple[object, ...], place: str, cost: str, label: str, submit: Callable[[], None]) -> None:
    """key: of the job; place: which look; cost: what it takes; submit: queues it."""
    job = jobs.find(key)
    if job is not None and (not job.finished or job.state in (State.FAILED, State.CANCELLED)):
        feedback.progress(job, place)
    if job is None or job.finished:
        st.caption(f"Not computed for this pair yet. It takes {cost}.")
        st.button(label, key=f"look-{place}", type="primary", icon=":material/calculate:", on_click=submit)


def still_lost(workspace: Workspace, place: str) -> tuple[InPlace, After] | None:
    """What is put back, with the control that chooses it, and what is still lost then; None where that is not known
    yet, and then how to come to know it. place: which look asks."""
    back = in_place.chosen(workspace, place)
    if back is None:
        st.caption("Pick something, or restore this pair, to see what is still lost with it in place.")
        return None
    what, owner = f"after {back.name}", state.session().owner
    after: After | None = scores.known(workspace.recipe, what)
    if after is not None:
        return back, after
    asked(
        found.key(workspace, what),
        place,
        "one capture: a pass of each model over the text that heads were read on",
        "See what is still lost",
        lambda: found.submit(
            workspace, what, owner, "Reading heads with it in place", lambda: found.after_work(workspace, back)
        ),
    )
    return None
