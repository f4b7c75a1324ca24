"""What is typed into the form of the Pair page, and the recipe that it makes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import streamlit as st

from restorelcc.artifacts.findings import Recipe
from restorelcc.errors import RestoreLCCError
from restorelcc.models.loading import DEMO, Loading
from restorelcc.pruning.layerwise import Pruning
from restorelcc.pruning.methods import narrows

from ...session import state
from ...widgets import controls, feedback

KEY = "pair-form"
"""Of the session state: what is typed so far, as a dict that is kept across pages."""
MOST_WINDOWS, LONGEST_WINDOW = 4_096, 32_768
"""That the form takes."""
KEPT = 256
"""Browsers of which what was typed last is kept, while the server runs."""
_kept: dict[str, dict[str, Any]] = {}
"""By owner."""


def plain() -> dict[str, Any]:
    """The form before anything is typed."""
    recipe = Recipe()
    return {
        "way": "demo",
        "dense": "",
        "pruned": "",
        "method": "wanda",
        "sparsity": 50,
        "pattern": "",
        "ratio": 25,
        "allocation": "uniform",
        "calibration": recipe.calibration,
        "evaluation": recipe.evaluation,
        "elsewhere": recipe.elsewhere,
        "windows": recipe.windows,
        "captured": recipe.captured,
        "length": 0,
        "in_order": False,
        "device": "auto",
        "dtype": "auto",
        "revision": "",
    }


def _of_two(recipe: Recipe) -> dict[str, Any]:
    """The form as it opens this pair; nothing where its pruned model is made here."""
    if recipe.pruned is None:
        return {}
    fields = ("dense", "pruned", "calibration", "evaluation", "elsewhere", "in_order")
    return {
        "way": "two",
        **{name: getattr(recipe, name) for name in fields},
        **{name: min(MOST_WINDOWS, getattr(recipe, name)) for name in ("windows", "captured")},
        "length": min(LONGEST_WINDOW, recipe.length or 0),
        "revision": recipe.loading.revision or "",
    }


def begun() -> dict[str, Any]:
    """What the form holds: at first what was typed last in the same browser, so that it survives a reload; else the
    pair in view."""
    if KEY not in st.session_state:
        session = state.session()
        st.session_state[KEY] = plain() | _kept.get(session.owner, _of_two(session.recipe))
    typed: dict[str, Any] = st.session_state[KEY]
    return typed


def mirror(name: str) -> dict[str, Any]:
    """Arguments that make a widget show a field of the form, and write it."""
    typed = st.session_state[KEY]

    def write(value: Any) -> None:
        typed[name] = value
        _kept[state.session().owner] = dict(typed)
        while len(_kept) > KEPT:
            del _kept[next(iter(_kept))]

    return controls.mirrored(f"pair-{name}", typed[name], write)


def recipe_typed() -> Recipe | None:
    """The recipe as typed; None, with the engine's reason, where it makes no sense or lacks something."""
    typed = st.session_state[KEY]
    way = typed["way"]
    if way != "demo" and not typed["dense"].strip():
        return None
    if way == "two" and not typed["pruned"].strip():
        return None
    try:
        recipe = Recipe(
            dense=DEMO if way == "demo" else typed["dense"].strip(),
            pruned=typed["pruned"].strip() if way == "two" else None,
            calibration=typed["calibration"],
            evaluation=typed["evaluation"],
            elsewhere=typed["elsewhere"],
            windows=typed["windows"],
            captured=typed["captured"],
            length=typed["length"] or None,
            in_order=typed["in_order"],
            loading=_loading(typed),
        )
        return replace(recipe, pruning=_pruning(typed)) if way == "one" else recipe
    except RestoreLCCError as error:
        feedback.refused(error)
        return None


def _loading(typed: dict[str, Any]) -> Loading:
    """How models are loaded; the embedded ones have no revision."""
    revision = None if typed["way"] == "demo" else typed["revision"].strip() or None
    return Loading(typed["device"], typed["dtype"], revision)


def _pruning(typed: dict[str, Any]) -> Pruning:
    """How the dense model is pruned here; what the method does not ask for is left out."""
    if narrows(typed["method"]):
        return Pruning(typed["method"], typed["ratio"] / 100)
    if typed["pattern"]:
        return Pruning(typed["method"], pattern=typed["pattern"])
    return Pruning(typed["method"], typed["sparsity"] / 100, allocation=typed["allocation"])
