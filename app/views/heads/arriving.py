"""The map while its pair is still being opened: there with the first texts that were read, sharper with every other."""

from __future__ import annotations

import streamlit as st

from restorelcc.capture.head_loss import head_loss
from restorelcc.capture.statistics import HeadStatistics
from restorelcc.selection.scores import SCORES, captured

from ...charts.head_map import head_map
from ...session import state
from ...values.colours import colours
from ...widgets import controls, feedback
from ...work.jobs import Job

TICK = 0.5  # seconds between two looks; what has not changed meanwhile is not drawn again
STAGES = (
    ("loading", "Loading", "both models are read from disk"),
    ("pruning", "Pruning", "where the pruned model is made here"),
    ("reading head activations", "Reading", "what every head computes in both models on the same text: the map"),
    ("measuring perplexity", "Measuring", "both models on a small text that all picks are judged by"),
)
"""How the work calls it, its name, what it is for; in their order."""


def section(job: Job) -> None:
    """How far the opening is, and what is known by then; one rerun of the page when it is over."""
    if job.finished:
        feedback.progress(job)
        return
    st.fragment(_growing, run_every=TICK)(job.id)


def _growing(job_id: str) -> None:
    job = feedback.running(job_id)
    feedback.bar(job, f"cancel-{job.id}")
    _stages(job.progress.what if job.progress else "")
    read = next((note for note in list(job.notes) if isinstance(note, HeadStatistics)), None)
    if read is not None:
        _map(read)


def _stages(what: str) -> None:
    """All of them, the one that the work is in marked. what: it does now."""
    now = next((number for number, (stage, _, _) in enumerate(STAGES) if what.startswith(stage)), None)
    parts = []
    for number, (_, name, purpose) in enumerate(STAGES):
        parts.append(f"**{name}: {purpose}**" if number == now else f"{name}: {purpose}")
    st.caption(" → ".join(parts))


def _map(read: HeadStatistics) -> None:
    """The map from what was read so far; a click names a head's figures, and has it in view once the pair is open."""
    session, loss = state.session(), head_loss(read)
    metric = session.metric if session.metric in captured() else type(session).metric
    measure, table = SCORES[metric], loss.table(metric)
    layers, heads = table.shape
    head = session.head if session.head and session.head[0] < layers and session.head[1] < heads else None
    st.markdown(f"##### {measure.title} of every head, from {read.count:,} tokens so far", help=measure.definition)
    # Not `controls.figure`: its popover would close at every tick.
    st.plotly_chart(
        head_map(table, measure, colours(state.dark()), selected=head),
        key="arriving-map",
        alt=f"Map of {measure.title.lower()} by layer and head, from {read.count:,} tokens so far.",
        config={"displayModeBar": False},
        on_select=_selected,
        selection_mode=("points",),
    )
    if head is None:
        st.caption("Click a cell to look at its head; more is shown of it once the pair is open.")
    else:
        known = (f"{SCORES[name].title.lower()} {float(loss.table(name)[head]):.3f}" for name in captured())
        st.markdown(f"**Layer {head[0]}, head {head[1]}**, so far: {' · '.join(known)}")


def _selected() -> None:
    places = controls.selected_points("arriving-map")
    if places:
        state.look_at((places[0][0], places[0][1]))
