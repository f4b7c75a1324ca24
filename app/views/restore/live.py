"""The restoration under way: curves that grow while it trains."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from restorelcc.artifacts.runs import Run, step_rows
from restorelcc.progress import duration
from restorelcc.restoration.settings import Settings
from restorelcc.restoration.training import Step

from ...charts import training as training_charts
from ...session import state
from ...values.colours import colours
from ...values.run_facts import measures_distance
from ...values.verbatim import in_markdown
from ...values.words import HELP, percent
from ...widgets import feedback
from ...work.jobs import Job, State, jobs
from ...work.training import Unkept


def watched() -> Job | None:
    """The restoration in view, if it is a job that this server remembers."""
    return jobs.get(state.session().run) if state.session().run else None


def section(job: Job) -> None:
    """Curves that grow by themselves while the job runs; one rerun of the page when it is over."""
    if not job.finished:
        st.fragment(_growing, run_every=feedback.pause(job))(job.id)
        return
    if job.state == State.FAILED:
        feedback.refused(job.error)
    elif isinstance(job.result, Run):
        state.session().run = job.result.folder.name
    else:
        st.info("Cancelled before the first step: nothing to keep.", icon=":material/cancel:")


def _growing(job_id: str) -> None:
    job = feedback.running(job_id)
    feedback.bar(job, "cancel-restoration", "Stop" if job.notes else "Cancel")
    steps = [note for note in list(job.notes) if isinstance(note, Step)]
    unkept = [note for note in list(job.notes) if isinstance(note, Unkept)]
    if unkept and unkept[-1].reason:
        st.caption(in_markdown(f"Should the server end, this cannot be gone on with: {unkept[-1].reason}"))
    if steps:
        _figures(job, steps)
        _curves(job, steps)


def _curves(job: Job, steps: list[Step]) -> None:
    metrics, look = pd.DataFrame(step_rows(steps)), colours(state.dark())
    left, right = st.columns(2)
    # Not `controls.figure`: its popover would close at every tick. The table comes when it is over.
    chart: dict[str, Any] = {"config": {"displayModeBar": False}}
    left.plotly_chart(
        training_charts.perplexities(metrics, job.notes[0].value, look),
        key="live-perplexity",
        alt="Held-out perplexity by step.",
        **chart,
    )
    right.plotly_chart(training_charts.losses(metrics, look), key="live-loss", alt="Loss by step.", **chart)


def _figures(job: Job, steps: list[Step]) -> None:
    """What the training has won so far, on the held-out windows, and how fast it goes."""
    last = steps[-1]
    measured = [step.held_out for step in steps if step.held_out is not None]
    dense, pruned, now = job.notes[0], measured[0], measured[-1]
    lost = pruned.nats - dense.nats
    share = percent((pruned.nats - now.nats) / lost) if lost > 0 else "–"
    near = _nearer(job, steps)
    with st.container(horizontal=True, key="live-figures"):  # In columns they would be twice as many elements to draw.
        st.metric("Recovered so far", share, help="Of the lost log-likelihood, on the held-out windows.")
        st.metric(
            "Nearer so far",
            "unknown" if near is None else percent(near),
            help=f"On the held-out windows. {HELP['nearer']} Known where that distance is minimised, from zero; both "
            "shares are measured with their errors at the end.",
        )
        st.metric("Held-out perplexity", f"{now.value:.3f}", help=f"± {now.stderr:.2f}, one standard error")
        st.metric("Learning rate", f"{last.lr:.3g}")
        st.metric("Tokens/s", f"{last.tokens_per_second:,.0f}", help="Of training; measurements left out.")
        st.metric("So far", duration(last.seconds), help=f"{last.tokens:,} tokens trained on, repeats counted.")


def _nearer(job: Job, steps: list[Step]) -> float | None:
    """Share of the pruned model's distance to the dense one that is gone; None where the loss is no such distance."""
    settings = next((note for note in list(job.notes) if isinstance(note, Settings)), None)
    losses = [step.held_out_loss for step in steps if step.held_out_loss is not None]
    if settings is None or not measures_distance(settings.loss, settings.start) or not losses[0] > 0:
        return None
    return 1 - losses[-1] / losses[0]
