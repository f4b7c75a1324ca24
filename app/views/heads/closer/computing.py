"""What a closer look takes where it is not computed yet: the button for it, and its progress."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from ....widgets import feedback
from ....work.jobs import State, jobs


def asked(key: tuple[object, ...], place: str, cost: str, label: str, submit: Callable[[], None]) -> None:
    """key: of the job; place: which look; cost: what it takes; submit: queues it."""
    job = jobs.find(key)
    if job is not None and (not job.finished or job.state in (State.FAILED, State.CANCELLED)):
        feedback.progress(job, place)
    if job is None or job.finished:
        st.caption(f"Not computed for this pair yet. It takes {cost}.")
        st.button(label, key=f"look-{place}", type="primary", icon=":material/calculate:", on_click=submit)
