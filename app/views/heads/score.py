"""A measure of heads that is not there from the start: what it takes, the button that computes it, its progress."""

from __future__ import annotations

import streamlit as st

from restorelcc.selection.scores import SCORES, captured
from restorelcc.workspace import Workspace

from ...session import measures, state
from ...widgets import feedback
from ...work import scores
from ...work.jobs import State, jobs


def available(workspace: Workspace, metric: str) -> bool:
    """Whether the measure in view is there; if not, what it is, what it takes, and the button that computes it.

    While it is being computed, its progress; measurements that come one by one are there from the first.
    """
    if metric in captured() or metric in measures.own():
        return True
    there, missing = scores.table(workspace, metric) is not None, scores.missing(workspace, metric)
    job = jobs.find(scores.key(workspace, metric))
    if job is not None and (not job.finished or job.state in (State.FAILED, State.CANCELLED)):
        feedback.progress(job)
    if job is not None and not job.finished:
        st.fragment(_arrivals, run_every=feedback.ARRIVALS)(workspace, metric, missing)
    idle = job is None or job.finished
    if not there:
        _introduce(workspace, metric, idle)
    elif missing and idle:
        _compute(workspace, metric, f"Measure the other {missing} heads")
    return there


def _introduce(workspace: Workspace, metric: str, idle: bool) -> None:
    """What the measure is. idle: nobody computes it, so there is a button for that."""
    score = SCORES[metric]
    with st.container(border=True, key="score-missing"):
        st.markdown(f"##### {score.title}")
        st.markdown(score.definition)
        if idle:
            st.caption(f"Not computed for this pair yet. It takes {score.computation.cost}.")
            _compute(workspace, metric, "Compute")


def _arrivals(workspace: Workspace, metric: str, missing: int) -> None:
    """Draw anew when more heads have been measured."""
    if scores.missing(workspace, metric) != missing:
        st.rerun()


def _compute(workspace: Workspace, metric: str, label: str) -> None:
    st.button(
        label,
        key="compute-score",
        type="primary",
        icon=":material/calculate:",
        on_click=scores.submit,
        args=(workspace, metric, state.session().owner, SCORES[metric].title),
    )
