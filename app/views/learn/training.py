"""Step 5: train the constants here for a few steps."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from restorelcc.workspace import Workspace

from ...charts import learn as learn_charts
from ...session import state
from ...values.colours import colours
from ...values.pages import PAGES
from ...values.words import signed
from ...widgets import controls, feedback
from ...work import lessons
from ...work.jobs import State, jobs
from . import longer_trainings
from .introduction import places

LESSONS = {"kl": "Dense model", "ce": "Text"}


@st.fragment
def step(workspace: Workspace) -> None:
    """Train the constants here for a few steps; and what longer trainings showed."""
    left, right = places(5, "Train the constants")
    owner = state.session().owner
    with left:
        st.markdown(
            "Rather than measure each head’s mean by itself, train all constants together for what they do to the "
            r"output: $c = \sum_i \beta_i v_i + b$ (Eq. 8), everything else frozen. Against what? The paper takes the "
            "text’s next token (cross-entropy). The **dense model** is the better teacher: its whole distribution over "
            "the next token says more than the one token that came, and it asks only for what pruning took."
        )
        st.markdown(f"Train all heads for {lessons.STEPS} steps, now:")
        with st.container(horizontal=True):
            for loss, name in LESSONS.items():
                done = jobs.find(lessons.training_key(workspace.recipe, loss))
                st.button(
                    f"Teacher: {name.lower()}",
                    key=f"learn-train-{loss}",
                    icon=":material/model_training:",
                    on_click=_train,
                    args=(workspace, loss, owner),
                    disabled=done is not None and done.state in (State.QUEUED, State.RUNNING, State.DONE),
                )
    curves: list[tuple[str, tuple[int, ...], tuple[float, ...]]] = []
    level = None
    with left:
        for loss, name in LESSONS.items():
            job = jobs.find(lessons.training_key(workspace.recipe, loss))
            if job is None:
                continue
            if job.state != State.DONE:
                with right:
                    feedback.progress(job)
                continue
            lesson: lessons.Lesson = job.result
            level = lesson.dense, lesson.held_out[0]
            curves.append((f"teacher: {name.lower()}", lesson.steps, lesson.held_out))
            result = lesson.measured
            st.markdown(
                f"**{name}** as the teacher, on evaluation text: {signed(result.gain.nats)} ± {result.gain.stderr:.4f} "
                f"nats ({result.share:.0%} ± {result.share_error:.0%} of the loss). Distance to the dense model, KL: "
                f"{lesson.distance[0]:.4f} → **{lesson.distance[1]:.4f}** ({signed(lesson.closer.nats)} ± "
                f"{lesson.closer.stderr:.4f}).".replace("-", "−")
            )
        if curves:
            st.caption(
                "Compare the distances, not the curves alone: calibration and evaluation text are by one author here. "
                "Trained on the text, the model learns that author’s manner, and its perplexity may even pass below "
                "the dense model’s. That is learning something new, not getting back what was lost."
            )
        st.page_link(PAGES["restore"].link, label="Restore the open pair", icon=":material/healing:")
    with right:
        if level is None:
            feedback.empty("The learning curve of either teacher appears here, on windows held out of the training.")
        else:
            controls.figure(
                learn_charts.lessons(curves, *level, colours(state.dark())),
                "learn-lessons",
                "Perplexity of held-out calibration windows by training step, between pruned and dense.",
                pd.concat([pd.DataFrame({"curve": n, "step": s, "perplexity": p}) for n, s, p in curves]),
            )
    longer_trainings.section()


def _train(workspace: Workspace, loss: str, owner: str) -> None:
    lessons.training_job(workspace, loss, owner)
