"""One prompt, continued by the dense, the pruned and the restored model at once."""

from __future__ import annotations

from collections.abc import Generator

import streamlit as st

from restorelcc.artifacts.export import adapter_fits
from restorelcc.artifacts.runs import Run
from restorelcc.progress import Progress
from restorelcc.workspace import Workspace

from ...session import cache, state
from ...values.verbatim import lines_in_html
from ...widgets import feedback
from ...work.continuation import MODELS, Asked, Continued, continued
from ...work.jobs import Job, jobs

POLL = 0.25  # seconds between looks at text that grows


def section(workspace: Workspace, run: Run) -> None:
    """The prompt, the button that has it continued, and the three texts as they grow."""
    st.markdown(
        "##### One prompt, three continuations",
        help="Each model samples from its own distribution, with the same random numbers. Where two models agree on "
        "what comes next they draw the same token, so texts part where the models do.",
    )
    asked = _asked(workspace)
    key = ("continued", workspace.recipe, run.folder.name, asked)
    job = jobs.get(st.session_state.get("compare-writing", ""))
    job = job if job is not None and job.key == key else jobs.find(key)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Continue it",
            key="write",
            icon=":material/play_arrow:",
            type="primary",
            disabled=not asked.prompt.strip() or (job is not None and not job.finished),
            on_click=_write,
            args=(workspace, run, asked),
        )
        if job is None:
            st.markdown(
                f"<span class='muted'>{3 * asked.length} tokens in all; the page stays usable meanwhile.</span>",
                unsafe_allow_html=True,
            )
    if job is not None:
        st.fragment(_growing, run_every=None if job.finished else POLL)(job.id, asked)


def _asked(workspace: Workspace) -> Asked:
    """The prompt and how it is continued, as the controls say."""
    if "write-prompt" not in st.session_state:
        st.session_state["write-prompt"] = cache.opening(workspace.recipe, workspace)
    prompt = st.text_area("Prompt", key="write-prompt", height=80, persist_state="session")
    with st.container(horizontal=True, key="write-settings"):
        length = st.number_input(
            "Tokens", 8, 512, 80, 8, key="write-length", persist_state="session", help="Tokens that each model writes."
        )
        temperature = st.number_input(
            "Temperature",
            0.0,
            2.0,
            0.8,
            0.1,
            key="write-temperature",
            persist_state="session",
            help="0 takes the likeliest token each time; 1 samples from the model's own distribution.",
        )
        seed = st.number_input("Seed", 0, 2**31 - 1, 0, 1, key="write-seed", persist_state="session")
    return Asked(prompt, int(length), float(temperature), int(seed))


def _write(workspace: Workspace, run: Run, asked: Asked) -> None:
    """Queue the job that continues it."""
    with feedback.guarded():
        adapter, recipe = run.adapter(), workspace.recipe

        def work(job: Job) -> Generator[Progress, None, Continued]:
            adapter_fits(adapter, (yield from workspace.loading()).pruned)
            return (yield from continued(workspace, adapter.compensation, asked, job))

        # A queue of its own: a sentence should not wait for minutes of training. What computes is the lane's thread,
        # one token of each model at a time, so that the header's measurements come in between.
        device, key = recipe.loading.resolved_device(), ("continued", recipe, run.folder.name, asked)
        job = jobs.submit("Writing", state.session().owner, device, work, key, keeps_on_cancel=True, beside="text")
        st.session_state["compare-writing"] = job.id


def _growing(job_id: str, asked: Asked) -> None:
    """The three texts, as far as they are."""
    job = jobs.get(job_id)
    if job is None:
        return
    if job.finished and not st.session_state.get(f"seen-{job_id}"):
        st.session_state[f"seen-{job_id}"] = True
        st.rerun()  # The whole page, once: the polling ends and the button comes back.
    if job.error:
        feedback.refused(job.error)
        return
    written: Continued | None = job.result or (job.notes[0] if job.notes else None)
    if not job.finished:
        with st.container(horizontal=True, vertical_alignment="center", key="writing"):
            st.progress(min(1.0, job.fraction), text=feedback.doing(job))
            feedback.cancel_button(job, st.container(width="content"), key=f"stop-{job.id}", label="Stop")
    caret = "" if job.finished else "▍"
    for index, (column, name) in enumerate(zip(st.columns(3), MODELS, strict=True)):
        text, note = (written.texts[index], _note(written, index)) if written else ("", "0 tokens")
        column.html(
            f'<div class="continued" data-model="{name}" style="border-top:3px solid var(--{name});padding-top:.4rem">'
            f'<div style="display:flex;justify-content:space-between;gap:1rem"><b>'
            f'{name.capitalize()}</b><span class="muted">{note}</span></div><div style="white-space:pre-wrap;'
            f'line-height:1.6;margin-top:.3rem"><span class="muted" style="font-size:inherit">'
            f"{lines_in_html(asked.prompt)}</span>{lines_in_html(text)}{caret}</div></div>"
        )


def _note(written: Continued, index: int) -> str:
    """How much a model has written, and for how long it wrote what the dense one did."""
    number = len(written.tokens[index])
    if index == 0:
        return f"{number} tokens"
    same = written.agreed(index)
    return f"{number} tokens · " + ("the same as dense" if same == number else f"leaves dense after {same}")
