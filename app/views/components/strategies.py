"""Strategies that fill the picks: choose one, see what it would pick, take it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import streamlit as st
from torch import Tensor

from restorelcc.errors import RestoreLCCError
from restorelcc.restoration.constants import trained_parameters
from restorelcc.restoration.settings import Settings
from restorelcc.selection.picks import Selection, everything, random_heads, top_components, top_heads, within_budget
from restorelcc.selection.predicted_effect import PredictedEffect
from restorelcc.workspace import Workspace

from ...session import cache, measures, state
from ...values.picks import Picks
from ...values.words import count, signed
from ...widgets import feedback
from ...work import scores
from . import effect


@dataclass(frozen=True)
class Strategy:
    """A way to fill the picks, with its help."""

    label: str
    help: str


STRATEGIES = {
    "energy": Strategy(
        "Strongest components", "The components that carry most squared lost activation, over all heads."
    ),
    "predicted": Strategy(
        "Best predicted components",
        "The components that are predicted to lower the loss most, each on its own at its best magnitude; from one "
        "backward pass.",
    ),
    "together": Strategy(
        "Best set for a budget",
        "The components that together are predicted to lower the loss most for a number of trained parameters: one "
        "after the other, each time the one that adds most to those before it.",
    ),
    "loss": Strategy(
        "Heads by a measure", "All or the first components of the heads that come first by a measure or score."
    ),
    "budget": Strategy("Within a budget", "The strongest components that a number of trained parameters pays for."),
    "random": Strategy("Random heads", "A baseline that anything clever has to beat."),
    "all": Strategy("Everything", "All components of all heads."),
}


def section(workspace: Workspace) -> None:
    """Choose a strategy, see what it would pick, fill the picks."""
    kind = st.selectbox(
        "Strategy",
        list(STRATEGIES),
        format_func=lambda name: STRATEGIES[name].label,
        key="strategy",
        persist_state="session",
        help="\n\n".join(f"**{strategy.label}**: {strategy.help}" for strategy in STRATEGIES.values()),
    )
    st.caption(STRATEGIES[kind].help)
    if kind in ("predicted", "together") and scores.known(workspace.recipe, "effect") is None:
        effect.compute(workspace, "strategy")
        return
    try:
        selection = _selection(workspace, kind)
    except RestoreLCCError as error:
        feedback.refused(error)
        return
    cost = trained_parameters(selection, Settings(), workspace.findings.geometry.d_head)
    st.markdown(
        f"{len(selection):,} components of {len(selection.heads)} heads; training them takes {count(cost)} parameters, "
        f"{cost / workspace.findings.dense_size.parameters:.3%} of the model."
    )
    filled = state.picks().of(selection)
    if kind == "together" and st.toggle(
        "At their best magnitudes",
        value=True,
        key="strategy-magnitudes",
        persist_state="session",
        help="Each put back as strongly as is predicted to be best beside the others, instead of by its mean α.",
    ):
        filled = _at_best(workspace, selection)
    foretold = scores.foretold(workspace, filled)
    if foretold is not None:
        st.caption(
            f"Put back untrained, predicted to change the loss by {signed(foretold.nats)} ± {foretold.stderr:.4f} nats "
            "per token of the calibration text."
        )
    _take(selection, filled)


def _at_best(workspace: Workspace, selection: Selection) -> Picks:
    """The picks with the magnitudes that are predicted to be best together, as multiples of α."""
    effect: PredictedEffect = scores.known(workspace.recipe, "effect")
    factors = effect.along(workspace.lost).best(selection.mask()) / workspace.lost.magnitude
    found = ((pick, round(float(factors[pick]), 2)) for pick in sorted(selection.picks))
    # A component without any mean has no multiples of it.
    return Picks(selection, tuple((pick, factor) for pick, factor in found if factor != 1 and math.isfinite(factor)))


def _take(selection: Selection, filled: Picks) -> None:
    """Buttons that put the selection in place of the picks, as `filled` has it, or beside them."""
    picks = state.picks()
    with st.container(horizontal=True, key="strategy-buttons"):
        st.button(
            "Fill the picks",
            type="primary",
            key="fill",
            icon=":material/done_all:",
            disabled=filled == picks,
            on_click=lambda: state.choose(filled),
        )
        st.button(
            "Add to the picks",
            key="fill-add",
            icon=":material/add:",
            disabled=selection.picks <= picks.selection.picks,
            on_click=lambda: state.choose(state.picks().of(state.picks().selection.added(selection.picks))),
        )


def _selection(workspace: Workspace, kind: str) -> Selection:
    """What a strategy picks, and the controls for what it asks for. Raises SettingError."""
    shape, present = workspace.lost.shape, workspace.lost.present
    heads, components = int(present.sum()), shape[2]
    most = heads * components
    if kind == "all":
        return everything(shape).within(present)
    if kind in ("energy", "predicted"):
        number = _number("Components", most, min(200, most), "strategy-components")
        gain = -scores.known(workspace.recipe, "effect").of_component if kind == "predicted" else None
        return top_components(workspace.lost, number, gain)
    if kind in ("budget", "together"):
        budget = _number("Trained parameters", 2 * most, 1_000, "strategy-budget")
        return within_budget(workspace.lost, budget, score=_turns(workspace, budget) if kind == "together" else None)
    number = _number("Heads", heads, max(1, heads // 4), "strategy-heads")
    first = _number("First components of each", components, components, "strategy-first")
    if kind == "random":
        seed = st.number_input("Seed", 0, 10_000, 0, key="strategy-seed", persist_state="session")
        return random_heads(shape, number, int(seed), first, present)
    rows = measures.rows()
    metric = st.selectbox(
        "Measure",
        measures.there(workspace),
        format_func=lambda name: rows[name].title,
        key="strategy-metric",
        persist_state="session",
        help="Scores are here once the Heads page has computed them.",
    )
    return top_heads(shape, measures.order(workspace, metric), number, first, present)


def _turns(workspace: Workspace, budget: int) -> Tensor:
    """[layer, head, component], highest for what is taken first where what components do together is what counts."""
    effect: PredictedEffect = scores.known(workspace.recipe, "effect")
    return -cache.in_turn(workspace.recipe, budget, effect, workspace)


def _number(label: str, most: int, value: int, key: str) -> int:
    return int(st.number_input(f"{label} (1 to {most:,})", 1, most, min(value, most), key=key, persist_state="session"))
