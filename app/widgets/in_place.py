"""What is put back while it is looked closer: nothing, the picks, or what a run trained for this pair."""

from __future__ import annotations

import streamlit as st

from restorelcc.artifacts.export import adapter_fits
from restorelcc.artifacts.runs import Run, list_runs
from restorelcc.compensation.constants import injected
from restorelcc.compensation.interface import Compensation
from restorelcc.errors import RestoreLCCError
from restorelcc.models.pair import ModelPair
from restorelcc.workspace import Workspace

from ..session import state
from ..values import run_facts
from ..values.picks import Picks
from ..values.verbatim import in_markdown, visible
from ..work.closer.found import InPlace
from . import controls

NOTHING, PICKS = "", "picks"


def chosen(workspace: Workspace, place: str) -> InPlace | None:
    """What is in place, and the control that chooses it; None: nothing. place: which look asks."""
    runs, picks, session = _runs(workspace), state.picks(), state.session()
    titles = {NOTHING: "Nothing"} | ({PICKS: f"The picks ({len(picks)})"} if len(picks) else {})
    titles |= {name: f"Run {visible(run.name)}" for name, run in runs.items()}
    wanted = session.run or None if session.in_place is None else session.in_place
    name = wanted if wanted in titles else next((name for name in titles if name), NOTHING)
    st.selectbox(
        "Put back",
        list(titles),
        format_func=lambda name: titles[name],
        width=360,
        help="The picks at their mean magnitudes, or what a run trained. Runs of this pair are listed.",
        **controls.mirrored(f"in-place-{place}", name, lambda name: setattr(session, "in_place", name)),
    )
    if name in runs:
        return InPlace(name, in_markdown(runs[name].name), lambda pair: _trained(runs[name], pair))
    if name == PICKS:
        return InPlace(f"picks {picks.to_text()}", "the picks", lambda _: _injected(workspace, picks))
    return None


def _runs(workspace: Workspace) -> dict[str, Run]:
    """Sound runs of this pair by their folders' names, newest first."""
    try:
        kept = list_runs()
    except RestoreLCCError:
        return {}
    return {run.folder.name: run for run in kept if run_facts.recipe_of(run) == workspace.recipe and not run.damage}


def _injected(workspace: Workspace, picks: Picks) -> Compensation:
    return injected(workspace.lost, picks.weights())


def _trained(run: Run, pair: ModelPair) -> Compensation:
    adapter = run.adapter()
    adapter_fits(adapter, pair.pruned)
    return adapter.compensation
