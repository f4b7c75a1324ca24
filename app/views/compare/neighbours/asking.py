"""What is to be compared on the pair in view, and the comparison under way."""

from __future__ import annotations

import streamlit as st

from restorelcc.artifacts.experiments import Experiment
from restorelcc.progress import duration
from restorelcc.registry import definitions
from restorelcc.restoration.baselines.methods import METHODS
from restorelcc.workspace import Workspace

from ....session import state
from ....values.verbatim import in_markdown
from ....widgets import feedback, neighbours
from ....work.jobs import Job, State
from ....work.neighbours import comparing
from ....work.neighbours.comparing import BATCH, Plan


def section(workspace: Workspace, before: Experiment | None) -> Job | None:
    """Form, progress, and the rows that are known; returns the newest job. before: an earlier comparison of the pair,
    which says how long one takes."""
    job = comparing.newest(workspace, state.session().owner)
    under_way = job is not None and not job.finished
    with st.expander("Compare methods on this pair", under_way, key="neighbours-form", icon=":material/balance:"):
        plan = _plan()
        st.button(
            f"Compare {len(plan.methods)}",
            type="primary",
            key="start-neighbours",
            icon=":material/play_arrow:",
            disabled=not plan.methods or under_way,
            help="One comparison at a time: wait for yours, or cancel it." if under_way else None,
            on_click=lambda: _start(workspace, plan),
        )
        st.caption(_size(plan, before))
    if job is not None and under_way:
        st.fragment(_growing, run_every=feedback.pause(job))(job.id)
    elif job is not None:
        _over(job)
    return job


def _plan() -> Plan:
    st.session_state.setdefault("neighbours-methods", list(METHODS))
    methods = st.multiselect(
        "Methods",
        list(METHODS),
        format_func=lambda name: METHODS[name].title,
        key="neighbours-methods",
        persist_state="session",
        help=definitions(METHODS),
    )
    with st.container(horizontal=True):
        steps = st.number_input(
            "Steps", 1, 100_000, 40, 10, key="neighbours-steps", persist_state="session", width=140,
            help=f"Of what is trained, each of {BATCH} windows of the calibration text.",
        )  # fmt: skip
        seeds = st.number_input(
            "Seeds", 1, 100, 1, 1, key="neighbours-seeds", persist_state="session", width=140,
            help="Trainings of each, with other orders and starts: three say how far they differ.",
        )  # fmt: skip
    return Plan(tuple(methods), int(steps), int(seeds))


def _size(plan: Plan, before: Experiment | None) -> str:
    """What will be done, and about how long it takes."""
    needed = None if before is None else comparing.seconds(plan, before)
    took = "" if needed is None else f" About {duration(needed)} and the time to measure, by what they took before."
    return (
        "All heads, the pair's calibration text, the same steps and seeds for each; judged on the evaluation text and "
        f"on the second one. Rows appear as they are known, and are kept.{took}"
    )


def _start(workspace: Workspace, plan: Plan) -> None:
    comparing.start(workspace, plan, state.session().owner)
    st.session_state.pop("neighbours-file", None)  # What comes of it is looked at.


def _growing(job_id: str) -> None:
    job = feedback.running(job_id)
    feedback.bar(job, "cancel-neighbours")
    found = comparing.so_far(job)
    if found is not None:
        neighbours.table(found, "neighbours-growing")


def _over(job: Job) -> None:
    if job.state == State.FAILED:
        feedback.refused(job.error)
    elif job.state == State.CANCELLED:
        done = comparing.so_far(job)
        what = "what was done is kept" if done else "nothing was done yet"
        st.info(f"The comparison was cancelled: {what}.", icon=":material/cancel:")
    if reason := comparing.unkept(job):
        st.warning(f"It could not be kept on disk: {in_markdown(reason)}", icon=":material/warning:")
