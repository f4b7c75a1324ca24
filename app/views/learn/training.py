"""Step 5: train the constants here for a few steps."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from restorelcc.workspace import Workspace

from ...charts import learn as learn_charts
from ...session import state
from ...values.colours import colours
from ...values.pages import PAGES
from ...values.words import percent, signed
from ...widgets import feedback
from ...work import lessons
from ...work.jobs import State, jobs
from ...work.lessons import Lesson
from . import known_lessons, longer_trainings
from .introduction import Source, figure, heading, places, presented, term, written

TEACHERS = {"kl": "Dense model", "ce": "Text"}
"""By the loss that is minimised."""


@st.fragment
def step(source: Source) -> None:
    """Train the constants here for a few steps; and what longer trainings showed."""
    heading(5)
    left, right = places(5)
    with left:
        _introduction()
        results = _results(source, right)
        if source.workspace is not None:
            _buttons(source.workspace)
        st.page_link(PAGES["restore"].link, label="Restore the open pair", icon=":material/healing:")
    with right:
        _curves(results)
    if not presented():
        longer_trainings.section()


def _introduction() -> None:
    """What is trained towards what."""
    written(
        "Rather than measure each head’s mean by itself, train all constants together for what they do to the "
        r"output: $c = \sum_i \beta_i v_i + b$ (Eq. 8), everything else frozen. Against what? The paper takes the "
        "text’s next token (cross-entropy). The **dense model** is the better teacher: its whole distribution over "
        "the next token says more than the one token that came, and it asks only for what pruning took "
        f"({term('Distillation', 'distillation')})."
    )


def _buttons(workspace: Workspace) -> None:
    """One for each teacher."""
    st.markdown(f"Train all heads for {lessons.STEPS} steps, now:")
    with st.container(horizontal=True):
        for loss, teacher in TEACHERS.items():
            job = jobs.find(lessons.training_key(workspace.recipe, loss))
            st.button(
                f"Teacher: {teacher.lower()}",
                key=f"learn-train-{loss}",
                icon=":material/model_training:",
                on_click=_train,
                args=(workspace, loss, state.session().owner),
                disabled=job is not None and job.state in (State.QUEUED, State.RUNNING, State.DONE),
            )


def _results(source: Source, place: DeltaGenerator) -> dict[str, Lesson]:
    """What each training came to, by teacher, and in words; of those under way, the progress goes to `place`."""
    results: dict[str, Lesson] = {}
    for loss, teacher in TEACHERS.items():
        job = None if source.workspace is None else jobs.find(lessons.training_key(source.workspace.recipe, loss))
        if job is not None and job.state == State.DONE:
            results[teacher] = job.result
        else:
            if source.known:
                results[teacher] = known_lessons.lesson(loss)
            if job is not None:
                with place:
                    feedback.progress(job)
        if teacher in results:
            _verdict(teacher, results[teacher])
    if results:
        st.caption(
            "Compare the distances, not the curves alone: calibration and evaluation text are by one author here. "
            "Trained on the text, the model learns that author’s manner, and its perplexity may even pass below "
            "the dense model’s. That is learning something new, not getting back what was lost."
        )
    return results


def _verdict(teacher: str, lesson: Lesson) -> None:
    measured, share = lesson.measured, -lesson.closer.nats / lesson.distance[0]
    moved = f"**{percent(abs(share))}** {'nearer' if share > 0 else 'further away'}"
    st.markdown(
        f"**{teacher}** as the teacher, on evaluation text: {signed(measured.gain.nats)} ± "
        f"{measured.gain.stderr:.4f} nats ({measured.share:.0%} ± {measured.share_error:.0%} of the loss). Distance to "
        f"the dense model, KL: {lesson.distance[0]:.4f} → **{lesson.distance[1]:.4f}** ({signed(lesson.closer.nats)} ± "
        f"{lesson.closer.stderr:.4f}), {moved}.".replace("-", "−")
    )


def _curves(results: dict[str, Lesson]) -> None:
    """Held-out perplexity by step, a line a teacher."""
    if not results:
        feedback.empty("The learning curve of either teacher appears here, on windows held out of the training.")
        return
    curves = [(f"teacher: {teacher.lower()}", lesson.steps, lesson.held_out) for teacher, lesson in results.items()]
    last = list(results.values())[-1]
    figure(
        learn_charts.lessons(curves, last.dense, last.held_out[0], colours(state.dark())),
        "learn-lessons",
        "Perplexity of held-out calibration windows by training step, between pruned and dense.",
        pd.concat(
            [pd.DataFrame({"curve": name, "step": steps, "perplexity": values}) for name, steps, values in curves]
        ),
    )


def _train(workspace: Workspace, loss: str, owner: str) -> None:
    lessons.training_job(workspace, loss, owner)
