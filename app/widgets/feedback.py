"""Errors as messages, jobs as progress."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from restorelcc.errors import RestoreLCCError
from restorelcc.progress import duration
from restorelcc.workspace import Workspace

from ..session import state
from ..values.verbatim import in_markdown, in_message
from ..work import open_pairs
from ..work.jobs import Job, State, jobs

POLL = 0.8  # seconds; every tick is a rerun that the work itself pays for where both share a processor

GLANCE = 1.0  # seconds in which what is nearly there comes, without a bar flashing up

ARRIVALS = 3.0  # seconds between looks at measurements that come one by one
CURVES = {"cpu": 4.0}  # seconds, by device: curves cost a training dearly where the browser shares its processor


def refused(reason: RestoreLCCError | str, place: DeltaGenerator | None = None) -> None:
    """Why something was not done, as a message; where no place is given, at the place in turn."""
    (st if place is None else place).error(in_message(str(reason)), icon=":material/error:")


@contextmanager
def guarded() -> Iterator[None]:
    """What the engine refuses becomes a message, and the page goes on after it."""
    try:
        yield
    except RestoreLCCError as error:
        refused(error)


def time_left(job: Job) -> str:
    """From the pace so far; empty where it cannot be known."""
    if job.fraction < 0.05 or job.started is None:
        return ""
    return f", about {duration(job.seconds * (1 - job.fraction) / job.fraction)} left"


def pause(job: Job) -> float:
    """Seconds between two drawings of curves that grow while the job runs."""
    return CURVES.get(job.device, 1.0)


def progress(job: Job, place: str = "") -> None:
    """A bar that moves by itself, a Cancel for whoever owns the job, one rerun of the page when it is over.

    place: where on the page, for a job that is shown at several.
    """
    if job.finished:
        _over(job)
        return
    st.fragment(_moving, run_every=POLL)(job.id, place)


def _moving(job_id: str, place: str) -> None:
    job = running(job_id)
    bar(job, f"cancel-{job.id}{place}")


def models_there(workspace: Workspace, place: str, dense: bool = True) -> bool:
    """Whether the models are in memory, so that a part of a page that needs them can be drawn.

    Where they are not, what is there to see instead: how far their loading is, which begins with this, or why they
    cannot be had. place: which part of the page asks; dense: whether it needs the dense model too.
    """
    if not workspace.loaded:
        owner = state.session().owner
        job = open_pairs.awaited_load(workspace, owner)
        job.wait(max(0.0, GLANCE - job.age))
        if not workspace.loaded:
            progress(job, place)
            if job.finished:
                st.button("Load the models", key=f"load-{place}", on_click=_load, args=(workspace, owner))
            return False
    try:
        workspace.pair(dense)
    except RestoreLCCError as error:
        st.info(in_message(str(error)), icon=":material/memory:")
        return False
    return True


def _load(workspace: Workspace, owner: str) -> None:
    open_pairs.loading(workspace, owner)


def running(job_id: str) -> Job:
    """The job of this id; one rerun of the page when it is over."""
    job = jobs.get(job_id)
    if job is None or job.finished:
        st.rerun()
    return job


def bar(job: Job, key: str, label: str = "Cancel") -> None:
    """How far it is, as it stands, and a button that ends it. key: of the button; label: what ending it is called."""
    left, right = st.columns([5, 1], vertical_alignment="center")
    left.progress(min(1.0, job.fraction), text=doing(job))
    cancel_button(job, right, key, label)


def doing(job: Job) -> str:
    """What it does now, as Markdown."""
    title = in_markdown(job.title)
    if job.state == State.QUEUED:
        return f"{title}: {waits_for(job)}"
    if job.stopping:
        return f"{title}: stopping"
    what = job.progress.what if job.progress else "starting"
    return f"{title}: {in_markdown(what)}{time_left(job)}"


def waits_for(job: Job) -> str:
    """What a queued job waits for, whose that is, how long it takes still, and which place it has; as Markdown."""
    ahead = jobs.ahead(job)
    if not ahead:
        return "about to begin"
    first, owner = ahead[0], state.session().owner
    whose = "yours" if first.owner == owner else "somebody else's" if first.owner else "the server's own"
    left = time_left(first)
    said = f"waiting for {in_markdown(first.title)} ({whose}{left}{' of the stage it is in' if left else ''})"
    more = len(ahead) - 1
    others = f" and {more} other{'s' if more > 1 else ''} after it" if more else ""
    return f"{said}{others}; place {len(ahead)} in the queue"


def cancel_button(job: Job, place: DeltaGenerator, key: str, label: str = "Cancel") -> None:
    """Works for the owner; tells others why it does not for them."""
    owner = state.session().owner
    mine = job.owner == owner
    place.button(
        label,
        key=key,
        on_click=lambda: _cancel(job, owner),
        disabled=not mine or job.stopping,
        help=None if mine else "Started by somebody else: only they can cancel it.",
        width="stretch",
    )


def _cancel(job: Job, owner: str) -> None:
    jobs.cancel(job, owner)


def _over(job: Job) -> None:
    if job.state == State.FAILED:
        refused(job.error)
    elif job.state == State.CANCELLED:
        st.info(f"{in_markdown(job.title)}: cancelled.", icon=":material/cancel:")


def empty(message: str, page: str | None = None, label: str = "") -> None:
    """An empty state that says what to do next."""
    with st.container(border=True, key=f"empty-{abs(hash(message)) % 10**8}"):
        st.markdown(message)
        if page is not None:
            st.page_link(page, label=label, icon=":material/arrow_forward:")
