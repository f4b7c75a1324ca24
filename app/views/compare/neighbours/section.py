"""Against its neighbours: methods that repair the pair, and a person's runs of it, as one table and one picture."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from restorelcc.artifacts.experiments import Experiment
from restorelcc.artifacts.runs import Run

from ....session import state
from ....values import run_facts
from ....widgets import neighbours
from ....work.neighbours import comparing
from . import asking, chosen


def section(runs: Sequence[Run]) -> None:
    """All of it; only what is kept, while no pair is open."""
    st.markdown(
        "#### Against its neighbours",
        help="What else repairs a pruned model, on the same text, steps and seeds: trained beside it or under its "
        "mask, or solved for. A method that fills zeros, or keeps products beside them, costs a forward pass more.",
    )
    workspace, found = state.workspace(), chosen.known()
    if workspace is not None:
        job = asking.section(workspace, chosen.of_pair(found, workspace.recipe))
        if job is not None and not job.finished:
            return
        if job is not None and comparing.unkept(job) and (own := comparing.so_far(job)) is not None:
            found = {"own": own} | found
    in_view = chosen.in_view(found)
    if in_view is None:
        st.caption("Nothing was compared on this machine yet.")
        return
    own_runs = _of_its_pair(in_view, runs)
    st.caption(neighbours.about(in_view) + _remark(in_view, own_runs))
    neighbours.table(in_view, "neighbours-table")
    share = neighbours.switch(
        "neighbours-switch",
        st.session_state.get("neighbours-share", "nearer"),
        lambda name: st.session_state.update({"neighbours-share": name}),
    )
    neighbours.picture(in_view, "neighbours-picture", share, own_runs)


def _of_its_pair(found: Experiment, runs: Sequence[Run]) -> list[Run]:
    """Runs of that pair that were judged on that text: those of the command line and of sweeps were on another."""
    pair, text = tuple(map(run_facts.short, found.pair)), f"the evaluation text, {found.text('there')}"
    return [run for run in runs if run_facts.pair_names(run) == pair and run_facts.known(run, "evaluation") == text]


def _remark(found: Experiment, runs: Sequence[Run]) -> str:
    stopped = " It was stopped before all was done." if found.stopped else ""
    stars = " Stars are your runs of this pair on the same text, with budgets of their own." if runs else ""
    return stopped + stars
