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
from ...values.words import signed
from ...widgets import controls, feedback
from ...work import lessons
from ...work.jobs import State, jobs
from ...work.lessons import Lesson
from . import longer_trainings
from .introduction import places

TEACHERS = {"kl": "Dense model", "ce": "Text"}
"""By the loss that is minimised."""


@st.fragment
def step(workspace: Workspace) -> None:
    """Train the constants here for a few steps; and what longer trainings showed."""
    left, right = places(5, "Train the constants")
    with left:
        _introduction(workspace)
        results = _results(workspace, right)
        st.page_link(PAGES["restore"].link, label="Restore the open pair", icon=":material/healing:")
    with right:
        _curves(results)
    longer_trainings.section()


def _introduction(workspace: Workspace) -> None:
    """What is trained towards what, and a button for each teacher."""
    st.markdown(
        "Rather than measure each head’s mean by itself, train all constants together for what they do to the "
        r"output: $c = \sum_i \beta_i v_i + b$ (Eq. 8), everything else frozen. Against what? The paper takes the "
        "text’s next token (cross-entropy). The **dense model** is the better teacher: its whole distribution over "
        "the next token says more than the one token that came, and it asks only for what pruning took."
    )
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


def _results(workspace: Workspace, place: DeltaGenerator) -> dict[str, Lesson]:
    """What each training came to, by teacher, and in words; of those under way, the progress goes to `place`."""
    results: dict[str, Lesson] = {}
    for loss, teacher in TEACHERS.items():
        job = jobs.find(lessons.training_key(workspace.recipe, loss))
        if job is not None and job.state == State.DONE:
            results[teacher] = job.result
            _verdict(teacher, job.result)
        elif job is not None:
            with place:
                feedback.progress(job)
    if results:
        st.caption(
            "Compare the distances, not the curves alone: calibration and evaluation text are by one author here. "
            "Trained on the text, the model learns that author’s manner, and its perplexity may even pass below "
            "the dense model’s. That is learning something new, not getting back what was lost."
        )
    return results


def _verdict(teacher: str, lesson: Lesson) -> None:
    measured = lesson.measured
    st.markdown(
        f"**{teacher}** as the teacher, on evaluation text: {signed(measured.gain.nats)} ± "
        f"{measured.gain.stderr:.4f} nats ({measured.share:.0%} ± {measured.share_error:.0%} of the loss). Distance to "
        f"the dense model, KL: {lesson.distance[0]:.4f} → **{lesson.distance[1]:.4f}** ({signed(lesson.closer.nats)} ± "
        f"{lesson.closer.stderr:.4f}).".replace("-", "−")
    )


def _curves(results: dict[str, Lesson]) -> None:
    """Held-out perplexity by step, a line a teacher."""
    if not results:
        feedback.empty("The learning curve of either teacher appears here, on windows held out of the training.")
        return
    curves = [(f"teacher: {teacher.lower()}", lesson.steps, lesson.held_out) for teacher, lesson in results.items()]
    last = list(results.values())[-1]
    controls.figure(
        learn_charts.lessons(curves, last.dense, last.held_out[0], colours(state.dark())),
        "learn-lessons",
        "Perplexity of held-out calibration windows by training step, between pruned and dense.",
        pd.concat(
            [pd.DataFrame({"curve": name, "step": steps, "perplexity": values}) for name, steps, values in curves]
        ),
    )


def _train(workspace: Workspace, loss: str, owner: str) -> None:
    lessons.training_job(workspace, loss, owner)
