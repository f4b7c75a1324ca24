"""What is typed into the Restore page's form: hyperparameters, and how much text is sampled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from typing import Any

import streamlit as st

from restorelcc.errors import RestoreLCCError
from restorelcc.registry import Choice, definitions
from restorelcc.restoration.choices import KEEPS, LOSSES, POSITIONS, PRECISIONS, UNITS, WAYS, WHAT, WHERE
from restorelcc.restoration.settings import DEFAULTS, Settings

from ...widgets import controls, feedback

KEY = "restore-settings"
"""Of the session state: settings as typed so far, as a dict. It is kept across pages, and filled by whoever opens
earlier settings again."""
SAMPLED = 96  # windows, where nothing else is typed
HELP = {
    "loss": definitions(LOSSES),
    "lr": "Peak learning rate of AdamW, in the unit below. 0.2 with the unit of loss; the paper's is 0.001 in "
    "activation units.",
    "kind": definitions(WHAT),
    "where": "Which of the surviving weights: " + ". ".join(f"{row.title}: {row.brief}" for row in WHERE.values()),
    "way": definitions(WAYS),
    "constants": "A constant per head is trained along. It folds into a bias, which not every architecture has.",
    "bounded": "Adam's first step moves every number by the rate, so the more heads are trained, the further the model "
    "moves. Before the start, slope and curvature of the loss along that step say how long it may be; of weights, "
    "trying it.",
    "steps": "Optimiser steps. Each reads one batch of windows.",
    "batch": "Windows of calibration text in a step.",
    "learned": "Train a free vector b for each picked head beside the magnitudes β of its components (Eq. 8).",
    "unit": definitions(UNITS),
    "start": "Where β starts from. In a sweep, whose points pick their own heads, what is picked is α.",
    "warm_up": "Share of the steps over which the rate rises from zero.",
    "cool_down": "Share of the steps, the last ones, over which it falls to zero.",
    "seed": "Order of the windows, and noise where the start is noise.",
    "evaluate_every": "Steps between measurements on the held-out windows.",
    "epochs": "Passes over the text, in place of a number of steps; 0: steps say.",
    "short_batch": "An epoch ends with the windows that are left, however few; else the next one fills the batch.",
    "clip": "Norm that the gradient of all that is trained is cut down to, in the unit of the rate; 0: never.",
    "precision": "What β and b are held and moved in. " + definitions(PRECISIONS),
    "keep": definitions(KEEPS),
    "positions": "Which tokens the components are of that are trained along.\n\n" + definitions(POSITIONS),
    "patience": "Stop after so many measurements without a better one; 0: never.",
}


def sampled_typed() -> int:
    """How many windows the form says are to be sampled from the dense model; 0: train on the calibration text."""
    if st.session_state.get("training-text", "text") == "text":
        return 0
    return int(st.session_state.get("sampled-windows", SAMPLED))


def fill(settings: Settings) -> None:
    """Put these settings into the form."""
    st.session_state[KEY] = asdict(settings)


def start_from_picked() -> None:
    """Into the form: training starts from the picks, with the magnitudes that were set by hand."""
    st.session_state.setdefault(KEY, asdict(DEFAULTS))["start"] = "picked"


def settings_typed(show: bool = False) -> Settings | None:
    """The settings as typed, or None, with the engine's reason on the screen, where they make no sense."""
    defaults = {field.name: field.default for field in fields(Settings) if field.default is not MISSING}
    typed = defaults | {name: value for name, value in st.session_state.get(KEY, {}).items() if name in defaults}
    typed["patience"] = typed["patience"] or None
    try:
        return Settings(**typed)
    except RestoreLCCError as error:
        if show:
            feedback.refused(error)
        return None


def mirror(name: str) -> dict[str, Any]:
    """Arguments that make a widget show a setting, and write it."""
    typed = st.session_state[KEY]
    return controls.mirrored(f"setting-{name}", typed[name], lambda value: typed.update({name: value}))


def select(name: str, label: str, rows: Mapping[str, Choice]) -> None:
    """A setting that is a row of a table."""
    st.selectbox(label, list(rows), format_func=lambda value: rows[value].title, help=HELP[name], **mirror(name))


def number(name: str, label: str, least: float, most: float, step: float, style: str | None = None) -> None:
    """A setting that is a number, between least and most."""
    # The three of one type, whole or not: Streamlit refuses a mixture, and settings tell 8 windows from 8.0.
    typed = st.session_state[KEY]
    typed[name] = type(least)(min(most, max(least, typed[name] or 0)))
    st.number_input(label, least, most, step=step, format=style, help=HELP[name], **mirror(name))
