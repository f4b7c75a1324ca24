"""Questions asked of the dense, the pruned and the restored model: what is asked, and how many each answers right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from restorelcc.artifacts.runs import Run
from restorelcc.errors import RestoreLCCError
from restorelcc.evaluation.tasks.known import METRICS, TASKS
from restorelcc.workspace import Workspace

from ....session import state
from ....values.verbatim import visible
from ....widgets import feedback
from ....work.continuation import MODELS
from ....work.jobs import State, jobs
from ....work.measured import tasks

REFUSED = "tasks-refused"
HELP = (
    "Each model says how likely every answer is after the question; the likeliest counts as given, or the likeliest "
    "per character where papers have it so. Asked without examples and scored by lm-eval. ± is one standard error."
)
ROWS = '`{"query": "…", "choices": ["…", "…"], "gold": 0}` or `{"sentence_good": "…", "sentence_bad": "…"}`'


def section(run: Run, workspace: Workspace | None) -> None:
    """What was asked of a run, and the controls that ask. workspace: the run's pair, where it can be tried on text."""
    known = tasks.known_of(run)
    if workspace is None and not known:
        return
    st.markdown("##### Questions answered", help=HELP)
    if workspace is not None:
        known = tasks.together(known, _asking(workspace, run))
    if known:
        _accuracies(known)
        _differences(known)


def _asking(workspace: Workspace, run: Run) -> tasks.Figures:
    """The controls, how far it is, and what came out of the last asking, which may not be kept with the run."""
    with st.expander("Ask all three models", icon=":material/quiz:", expanded=False, key="ask-tasks"):
        st.multiselect(
            "Tasks of the Hugging Face hub",
            list(TASKS),
            format_func=lambda name: f"{TASKS[name].title}: {TASKS[name].brief}",
            key="tasks-known",
            persist_state="session",
        )
        left, right = st.columns(2)
        left.text_input(
            "File of questions, on the machine that runs this app",
            key="tasks-file",
            persist_state="session",
            help=f"A question a row: {ROWS}.",
        )
        right.file_uploader("Or one of yours", ["jsonl"], key="tasks-upload", help=f"A question a row: {ROWS}.")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            st.number_input(
                "Questions of each", 1, 100_000, 200, 50, key="tasks-limit", persist_state="session", width=200,
                help="The first so many, of each of its parts where a task has several (BLiMP has 67). 200 give an "
                "accuracy to about 3 points.",
            )  # fmt: skip
            job = jobs.find(tasks.key(workspace, run))
            st.button(
                "Ask them",
                key="ask",
                type="primary",
                icon=":material/play_arrow:",
                disabled=job is not None and not job.finished,
                on_click=_submit,
                args=(workspace, run),
            )
    if refused := st.session_state.get(REFUSED):
        feedback.refused(refused)
    if job is None:
        return []
    if not job.finished or job.state == State.FAILED:
        feedback.progress(job, "tasks")
    return job.result or []


def _submit(workspace: Workspace, run: Run) -> None:
    chosen = st.session_state
    uploaded = chosen.get("tasks-upload")
    asked = tasks.Asked(
        tuple(chosen["tasks-known"]),
        chosen["tasks-file"].strip(),
        None if uploaded is None else (uploaded.name, uploaded.getvalue()),
        int(chosen["tasks-limit"]),
    )
    chosen[REFUSED] = None
    try:
        tasks.submit(workspace, run, asked, state.session().owner)
    except RestoreLCCError as error:
        chosen[REFUSED] = str(error)


def title(task: str) -> str:
    """Of a known task as papers write it, of a file its name."""
    return TASKS[task].title if task in TASKS else visible(task)


def _accuracies(known: tasks.Figures) -> None:
    """A row a task; what is within chance is marked."""
    rows = [
        {
            "task": title(row["task"]),
            "questions": row["questions"],
            "chance": f"{row['chance']:.1%}",
            **{model: _accuracy(row["models"][model], row["metric"]) for model in MODELS if model in row["models"]},
            "an answer is": METRICS.get(row["metric"], visible(row["metric"])),
        }
        for row in known
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, key="tasks-table", alt="Questions answered right, by model.")
    guessed = [
        f"{title(row['task'])} ({', '.join(model for model in MODELS if _is_chance(row, model))})"
        for row in known
        if any(_is_chance(row, model) for model in MODELS)
    ]
    if guessed:
        st.caption(
            f"* within chance, no further from guessing than two standard errors of guessing: {'; '.join(guessed)}. "
            "Where the dense model guesses, a task says nothing of what pruning took."
        )


def _is_chance(row: Mapping[str, Any], model: str) -> bool:
    return bool(row["models"].get(model, {}).get("within_chance"))


def _accuracy(answers: Mapping[str, Any], metric: str) -> str:
    value, error = answers.get(metric), answers.get(f"{metric}_stderr")
    if value is None:
        return "–"
    spread = "" if error is None else f" ± {100 * error:.1f}"
    return f"{100 * value:.1f}{spread} %{' *' if answers.get('within_chance') else ''}"


def _differences(known: Sequence[Mapping[str, Any]]) -> None:
    """Of models, question by question."""
    rows = [
        {
            "task": title(row["task"]),
            "models": f"{visible(pair['model'])} − {visible(pair['against'])}",
            "points": 100 * pair["difference"],
            "± se": None if pair.get("stderr") is None else 100 * pair["stderr"],
            "gained": pair["gained"],
            "lost": pair["lost"],
            "p": pair["p"],
        }
        for row in known
        for pair in row["paired"]
    ]
    if not rows:
        return
    number = st.column_config.NumberColumn
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        key="tasks-paired",
        column_config={
            "points": number("points", format="%+.1f", help="Of the share answered right, on the same questions."),
            "± se": number("± se", format="%.1f", help="Standard error of the paired difference."),
            "gained": number("gained", help="Answered right by the first and not by the second."),
            "lost": number("lost", help="The reverse."),
            "p": number("p", format="%.2g", help="McNemar's exact test of gained against lost, one task at a time."),
        },
        alt="Differences between models, question by question.",
    )
