"""What will be trained, the form that says how, and the button that starts it."""

from __future__ import annotations

from dataclasses import asdict

import streamlit as st

from restorelcc.compensation.constants import Constants
from restorelcc.progress import duration
from restorelcc.restoration.choices import KEEPS, LOSSES, POSITIONS, PRECISIONS, STARTS, UNITS, WAYS, WHAT, WHERE
from restorelcc.restoration.constants import trained_parameters
from restorelcc.restoration.settings import DEFAULTS, PRESETS, Settings
from restorelcc.text.sources import has_parts
from restorelcc.workspace import Workspace

from ...session import state
from ...values.names import names_written
from ...values.pages import PAGES
from ...values.verbatim import in_markdown, visible
from ...values.words import count
from ...widgets import feedback
from ...work import training
from .settings import (
    HELP,
    KEY,
    SAMPLED,
    fill,
    mirror,
    number,
    sampled_typed,
    select,
    settings_typed,
    start_from_picked,
)

LONGEST_NAME = 60
"""Characters of a typed name: it is shown in tables, legends and headings."""


def what(workspace: Workspace) -> None:
    """What will be trained: how many heads, components and parameters, and on which text."""
    picks, findings = state.picks(), workspace.findings
    settings = settings_typed()
    numbers = _numbers(workspace, settings) if settings else 0
    layers, heads, _ = workspace.lost.shape
    columns = st.columns(4)
    columns[0].metric("Heads", f"{len(picks.selection.heads)} of {layers * heads}")
    columns[1].metric("Components", f"{len(picks):,}")
    about = WHAT[settings.kind if settings else Settings().kind].numbers
    columns[2].metric("Trained parameters", "?" if numbers is None else count(numbers), help=about)
    share = "?" if numbers is None else f"{numbers / findings.dense_size.parameters:.3%}"
    columns[3].metric("Of the model", share, help="Of the dense model's parameters.")
    sampled = sampled_typed()
    if sampled:
        text = f"{sampled} windows that the dense model writes"
    else:
        text = f"{len(findings.calibration)} windows of '{in_markdown(workspace.recipe.calibration)}'"
    start = STARTS[settings.start if settings else Settings().start]
    recipe = workspace.recipe
    evaluation = f"'{in_markdown(recipe.evaluation)}'"
    if recipe.evaluation == recipe.calibration and not has_parts(recipe.evaluation):
        evaluation = f"other windows of {evaluation}"
    st.caption(
        f"Trains on {text}, of which a tenth is held out and judges every few steps; the evaluation text, "
        f"{evaluation}, is measured at the end and is never trained on. Starts from {start.sentence}."
    )
    set_by_hand = len(picks.factors)
    if set_by_hand and not start.by_hand:
        with st.container(horizontal=True, vertical_alignment="center", key="set-by-hand"):
            st.caption(
                f":material/info: {set_by_hand} of the picks have a magnitude set by hand. Training does not start "
                "from it, and finds its own.",
                width="stretch",
            )
            st.button("Start from what is picked", key="start-from-picked", on_click=start_from_picked)


def section(workspace: Workspace) -> None:
    """The form: presets, hyperparameters, a name, and the button that starts the restoration."""
    st.session_state.setdefault(KEY, asdict(DEFAULTS))
    _presets()
    _kind(workspace)
    select("loss", "Loss", LOSSES)
    _text(workspace)
    _often_changed(workspace)
    with st.expander("More", key="more-settings"):
        _seldom_changed()
    _name_and_start(workspace)


def _presets() -> None:
    typed, paper = st.session_state[KEY], PRESETS["paper"]
    with st.container(horizontal=True, vertical_alignment="bottom", key="presets"):
        st.markdown("##### How", width="stretch")
        st.button("Defaults", key="preset-studio", on_click=fill, args=(DEFAULTS,), disabled=typed == asdict(DEFAULTS))
        st.button(
            "As published",
            key="preset-published",
            on_click=fill,
            args=(paper.settings,),
            help=paper.definition,
        )
    if settings_typed() == paper.settings:
        st.caption(
            f"Heads are as you pick them; theirs are {paper.heads:.0%} of all, by probe accuracy. {paper.differs}"
        )


def _kind(workspace: Workspace) -> None:
    """What is trained, and how training goes through the model."""
    select("kind", "What is trained", WHAT)
    typed = st.session_state[KEY]
    st.caption(WHAT[typed["kind"]].definition)
    if typed["kind"] != Constants.kind:  # which alone can be held in less than float32
        typed["precision"] = DEFAULTS.precision
    if typed["kind"] == "weights":
        row = st.columns(2)
        with row[0]:
            select("where", "Which weights", WHERE)
        with row[1]:
            select("way", "How it goes through the model", WAYS)
        st.toggle("Constants beside the weights", help=HELP["constants"], **mirror("constants"))
    elif WAYS[typed["way"]].solves:  # which constants are not
        typed["way"] = DEFAULTS.way
    _cost(workspace)


def _numbers(workspace: Workspace, settings: Settings) -> int | None:
    """How many are trained; None where surviving weights have to be counted and the models are not there yet."""
    picks = state.picks()
    if settings.kind == Constants.kind:
        return trained_parameters(picks.selection, settings, workspace.findings.geometry.d_head)
    if not len(picks):
        return 0
    return training.cost(workspace, picks.selection, settings).numbers if workspace.loaded else None


def _cost(workspace: Workspace) -> None:
    """About how much memory and time it takes, where the models are there to ask."""
    settings, picks = settings_typed(), state.picks()
    if settings is None or len(picks) == 0 or not workspace.loaded:
        return
    settings = settings.counted(sampled_typed() or len(workspace.training))
    cost = training.cost(workspace, picks.selection, settings)
    memory = f"{cost.memory / 2**20:,.0f} MB" if cost.memory < 2**30 else f"{cost.memory / 2**30:.1f} GB"
    time = "" if cost.seconds is None else f" and about {duration(cost.seconds)} on this machine"
    st.caption(f"{count(cost.numbers)} numbers are trained, which takes about {memory} beside the models{time}.")


def _often_changed(workspace: Workspace) -> None:
    row = st.columns(3)
    with row[0]:
        number("steps", "Steps", 1, 20_000, 10)
    with row[1]:
        number("lr", "Learning rate", 0.00001, 9.0, 0.01, "%.5g")
    with row[2]:
        number("batch", "Batch", 1, 256, 1)
    settings = settings_typed()
    if settings is not None and settings.epochs:
        steps = settings.counted(sampled_typed() or len(workspace.training)).steps
        st.caption(f"{settings.epochs:g} epochs are trained, about {steps:,} steps: see More.")
    typed = st.session_state[KEY]
    if typed["kind"] == Constants.kind or typed["constants"]:
        st.toggle("Learned component b", help=HELP["learned"], **mirror("learned"))
    if typed["kind"] == Constants.kind:  # Rates of weights are in shares of the weights (see `UNITS`).
        st.toggle("Lower a rate that would overshoot", help=HELP["bounded"], **mirror("bounded"))


def _seldom_changed() -> None:
    select("unit", "Learning rate is in", UNITS)
    select("start", "Start", STARTS)
    left, right = st.columns(2)
    with left:
        number("warm_up", "Warm-up", 0.0, 1.0, 0.05, "%.2f")
        number("evaluate_every", "Measure every", 1, 1_000, 5)
    with right:
        number("cool_down", "Cool-down", 0.0, 1.0, 0.05, "%.2f")
        number("patience", "Patience", 0, 1_000, 1)
    with left:
        number("epochs", "Epochs", 0.0, 1_000.0, 1.0, "%.4g")
        number("clip", "Clip gradients at", 0.0, 1_000.0, 0.5, "%.4g")
    with right:
        number("seed", "Seed", 0, 100_000, 1)
        select("keep", "Step to keep", KEEPS)
    select("positions", "Directions are of", POSITIONS)
    if st.session_state[KEY]["kind"] == Constants.kind:
        select("precision", "β and b in", PRECISIONS)
    st.toggle("A last, short batch", help=HELP["short_batch"], **mirror("short_batch"))


def _name_and_start(workspace: Workspace) -> None:
    suggested = _suggested(workspace)
    name = st.text_input("Name of the run", placeholder=visible(suggested), key="run-name", persist_state="session")
    too_long = len(name) > LONGEST_NAME
    if too_long:
        feedback.refused(f"A name of {len(name)} characters does not do: give up to {LONGEST_NAME}.")
    settings = settings_typed(show=True)
    empty = len(state.picks()) == 0
    beside = training.handed_to(workspace.recipe)
    if beside > 1:
        st.caption(f"Trained by {beside} processes beside this server, which take some ten seconds to begin.")
    st.button(
        "Start restoration",
        type="primary",
        key="start-restoration",
        icon=":material/play_arrow:",
        disabled=empty or settings is None or too_long,
        help="Pick heads or components first." if empty else None,
        on_click=lambda: _start(workspace, settings, name or suggested),
        width="stretch",
    )
    if empty:
        feedback.empty(
            "Nothing is picked yet, so there is nothing to train. Fill the picks by a strategy, or tick components.",
            PAGES["components"].link,
            "Pick components",
        )


def _suggested(workspace: Workspace) -> str:
    """A name for the run, where none is typed."""
    picks = state.picks()
    heads = len(picks.selection.heads)
    return f"{workspace.findings.pruned_name}, {heads} head{'' if heads == 1 else 's'}, {st.session_state[KEY]['loss']}"


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
        session, picks = state.session(), state.picks()
        names = names_written(session.names, picks.selection.picks)
        job = training.start(workspace, picks, settings, name, session.owner, sampled_typed(), names)
        session.run = job.id
