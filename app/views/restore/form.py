"""Parts of the Restore page: what is trained, how, and the restoration under way."""

from __future__ import annotations

from dataclasses import MISSING, asdict, fields
from typing import Any

import pandas as pd
import streamlit as st

from restorelcc.artifacts.runs import Run, step_rows
from restorelcc.errors import RestoreLCCError
from restorelcc.restoration.training import LOSSES, PUBLISHED, STARTS, UNITS, Settings, Step, trained_parameters
from restorelcc.workspace import Workspace

from ...charts import training as training_charts
from ...session import state
from ...values.colours import colours
from ...values.names import names_written
from ...values.pages import PAGES
from ...values.words import count, percent, seconds
from ...widgets import controls, feedback
from ...work import training
from ...work.jobs import Job, State, jobs

KEY = "restore-settings"
"""Settings as typed so far, as a dict: kept across pages, and filled by whoever opens earlier settings again."""
SAMPLED = 96  # windows, where nothing else is typed

LABELS = {
    "loss": {
        "kl": "Distil the dense model",
        "ce": "Cross-entropy of the text",
        "response": "Cross-entropy of responses",
    },
    "start": {"zero": "Zero", "noise": "Noise, N(0, 1e-3)", "alpha": "Mean lost activation α"},
    "unit": {"loss": "RMS of what each head lost", "activation": "Activation units"},
}
HELP = {
    "loss": "Distilling matches the dense model's next-token distribution (KL divergence): it needs the fewest tokens, "
    "and learns what was lost rather than the text. Cross-entropy is the paper's, there of responses to prompts.",
    "lr": "Peak learning rate of AdamW, in the unit below. 0.2 with the unit of loss; the paper's is 0.001 in "
    "activation units.",
    "steps": "Optimiser steps. Each reads one batch of windows.",
    "batch": "Windows of calibration text in a step.",
    "learned": "Train a free vector b for each picked head beside the magnitudes β of its components (Eq. 8).",
    "unit": "One rate fits every head if it is counted in what that head lost.",
    "start": "Where β starts from.",
    "warm_up": "Share of the steps over which the rate rises from zero.",
    "cool_down": "Share of the steps, the last ones, over which it falls to zero.",
    "seed": "Order of the windows, and noise where the start is noise.",
    "evaluate_every": "Steps between measurements on the held-out windows.",
    "patience": "Stop after so many measurements without a better one; 0: never.",
}


def what(workspace: Workspace) -> None:
    """What will be trained."""
    picks, found = state.picks(), workspace.findings
    settings = settings_typed()
    cost = trained_parameters(picks.selection, settings, found.geometry.d_head) if settings else 0
    layers, heads, _ = workspace.lost.shape
    columns = st.columns(4)
    columns[0].metric("Heads", f"{len(picks.selection.heads)} of {layers * heads}")
    columns[1].metric("Components", f"{len(picks):,}")
    columns[2].metric("Trained parameters", count(cost), help="One β a component, and d_head for b of every head.")
    columns[3].metric("Of the model", f"{cost / found.dense_size.parameters:.3%}", help="They fold into a bias.")
    sampled = sampled_typed()
    if sampled:
        text = f"{sampled} windows that the dense model writes"
    else:
        text = f"{len(workspace.findings.calibration)} windows of '{workspace.recipe.calibration}'"
    st.caption(
        f"Trains on {text}, of which a tenth is held out and judges every few steps; the evaluation text is measured "
        "at the end and is never trained on."
    )


def sampled_typed() -> int:
    """How many windows the form says are to be sampled from the dense model; 0: train on the calibration text."""
    if st.session_state.get("training-text", "text") == "text":
        return 0
    return int(st.session_state.get("sampled-windows", SAMPLED))


def form(workspace: Workspace) -> None:
    """Hyperparameters, presets, start."""
    typed = st.session_state.setdefault(KEY, asdict(Settings()))
    with st.container(horizontal=True, vertical_alignment="bottom", key="presets"):
        st.markdown("##### How", width="stretch")
        st.button(
            "Defaults", key="preset-studio", on_click=fill, args=(Settings(),), disabled=typed == asdict(Settings())
        )
        st.button(
            "As published",
            key="preset-published",
            on_click=fill,
            args=(PUBLISHED,),
            help="Feng et al.: AdamW at 0.001 on β and b in activation units, from noise, batches of 8. Their loss is "
            "of responses to prompts; on plain text that is the cross-entropy of the text.",
        )
    _select("loss", "Loss", LOSSES)
    _text(workspace)
    row = st.columns(3)
    with row[0]:
        _number("steps", "Steps", 1, 20_000, 10)
    with row[1]:
        _number("lr", "Learning rate", 0.00001, 9.0, 0.01, "%.5g")
    with row[2]:
        _number("batch", "Batch", 1, 256, 1)
    st.toggle("Learned component b", help=HELP["learned"], **_mirror("learned"))
    with st.expander("More", key="more-settings"):
        _select("unit", "Learning rate is in", UNITS)
        _select("start", "Start", STARTS)
        left, right = st.columns(2)
        with left:
            _number("warm_up", "Warm-up", 0.0, 1.0, 0.05, "%.2f")
            _number("evaluate_every", "Measure every", 1, 1_000, 5)
        with right:
            _number("cool_down", "Cool-down", 0.0, 1.0, 0.05, "%.2f")
            _number("patience", "Patience", 0, 1_000, 1)
        _number("seed", "Seed", 0, 100_000, 1)
    name = st.text_input(
        "Name of the run", placeholder=_suggested(workspace), key="run-name", persist_state="session", max_chars=60
    )
    settings = settings_typed(show=True)
    empty = len(state.picks()) == 0
    st.button(
        "Start restoration",
        type="primary",
        key="start-restoration",
        icon=":material/play_arrow:",
        disabled=empty or settings is None,
        help="Pick heads or components first." if empty else None,
        on_click=lambda: _start(workspace, settings, name or _suggested(workspace)),
        width="stretch",
    )
    if empty:
        feedback.empty(
            "Nothing is picked yet, so there is nothing to train. Fill the picks by a strategy, or tick components.",
            PAGES["components"].link,
            "Pick components",
        )


def _suggested(workspace: Workspace) -> str:
    picks = state.picks()
    return f"{workspace.findings.pruned_name}, {len(picks.selection.heads)} heads, {st.session_state[KEY]['loss']}"


def _text(workspace: Workspace) -> None:
    """What to train on: the calibration text, or windows that the dense model writes."""
    source = st.segmented_control(
        "Text to train on",
        ["text", "none"],
        format_func=lambda kind: "Calibration text" if kind == "text" else "None: sampled from the dense model",
        default="text",
        required=True,
        wrap=True,
        key="training-text",
        persist_state="session",
        help="Restoration without data: the dense model writes the text itself, at temperature 1, and the pruned one "
        "learns to continue it as the dense one would. Only the distillation loss makes use of that.",
    )
    if source == "text":
        return
    length = workspace.findings.calibration.ids.shape[1]
    windows = st.number_input(
        f"Windows of {length} tokens to sample", 2, 4_096, SAMPLED, key="sampled-windows", persist_state="session"
    )
    st.caption(
        f"{int(windows) * length:,} tokens, of which a tenth is held out. The sweep below shows how many suffice."
    )


def _start(workspace: Workspace, settings: Settings | None, name: str) -> None:
    if settings is not None:
        here = state.session()
        selection = state.picks().selection
        names = names_written(here.names, selection.picks)
        here.run = training.start(workspace, selection, settings, name, here.owner, sampled_typed(), names).id


def fill(settings: Settings) -> None:
    """Into the form."""
    st.session_state[KEY] = asdict(settings)


def settings_typed(show: bool = False) -> Settings | None:
    """The settings as typed, or None, with the engine's reason on the screen, where they make no sense."""
    known = {field.name: field.default for field in fields(Settings) if field.default is not MISSING}
    typed = known | {k: v for k, v in st.session_state.get(KEY, {}).items() if k in known}
    typed["patience"] = typed["patience"] or None
    try:
        return Settings(**typed)
    except RestoreLCCError as error:
        if show:
            st.error(str(error), icon=":material/error:")
        return None


def _mirror(name: str) -> dict[str, Any]:
    typed = st.session_state[KEY]
    return controls.mirrored(f"setting-{name}", typed[name], lambda value: typed.update({name: value}))


def _select(name: str, label: str, options: tuple[str, ...]) -> None:
    st.selectbox(label, options, format_func=lambda value: LABELS[name][value], help=HELP[name], **_mirror(name))


def _number(name: str, label: str, least: float, most: float, step: float, style: str | None = None) -> None:
    # The three of one type, whole or not: Streamlit refuses a mixture, and settings tell 8 windows from 8.0.
    typed = st.session_state[KEY]
    typed[name] = type(least)(min(most, max(least, typed[name] or 0)))
    st.number_input(label, least, most, step=step, format=style, help=HELP[name], **_mirror(name))


# --- under way --------------------------------------------------------------------------------------------------


def watched() -> Job | None:
    """The restoration in view, if it is a job that this server remembers."""
    return jobs.get(state.session().run) if state.session().run else None


def live(job: Job) -> None:
    """Curves that grow by themselves while the job runs; one rerun of the page when it is over."""
    if not job.finished:
        st.fragment(_growing, run_every=feedback.pause(job))(job.id)
        return
    if job.state == State.FAILED:
        st.error(job.error, icon=":material/error:")
    elif isinstance(job.result, Run):
        state.session().run = job.result.folder.name
    else:
        st.info("Cancelled before the first step: nothing to keep.", icon=":material/cancel:")


def _growing(job_id: str) -> None:
    job = feedback.running(job_id)
    feedback.bar(job, "cancel-restoration", "Stop" if job.notes else "Cancel")
    steps = [note for note in list(job.notes) if isinstance(note, Step)]
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
    last = steps[-1]
    measured = [step.held_out for step in steps if step.held_out is not None]
    dense, pruned, now = job.notes[0], measured[0], measured[-1]
    lost = pruned.nats - dense.nats
    share = percent((pruned.nats - now.nats) / lost) if lost > 0 else "–"
    with st.container(horizontal=True, key="live-figures"):  # In columns they would be twice as many elements to draw.
        st.metric("Recovered so far", share, help="Of the lost log-likelihood, on the held-out windows.")
        st.metric("Held-out perplexity", f"{now.value:.3f}", help=f"± {now.stderr:.2f}, one standard error")
        st.metric("Learning rate", f"{last.lr:.3g}")
        st.metric("Tokens/s", f"{last.tokens_per_second:,.0f}", help="Of training; measurements left out.")
        st.metric("So far", seconds(last.seconds), help=f"{last.tokens:,} tokens trained on, repeats counted.")
