"""Step 1: pruning changes what heads compute."""

from __future__ import annotations

import streamlit as st

from restorelcc.selection.scores import SCORES
from restorelcc.workspace import Workspace

from ...charts import learn as learn_charts
from ...session import state
from ...values.colours import colours
from ...values.words import head_name, signed
from ...widgets import controls, feedback
from ...work import lessons
from ...work.jobs import State, jobs
from .introduction import MAP, places


@st.fragment
def step(workspace: Workspace) -> None:
    """Slide the sparsity, see the map."""
    left, right = places(1, "Pruning changes what heads compute")
    with left:
        st.markdown(
            "A head mixes values of earlier tokens into its **activation** $z$; the output projection $W_O$ "
            "then writes it into the residual stream. With weights gone, $z$ comes out different. The map shows by how "
            "much: the mean squared change as a share of the mean squared activation, for every head. 0 is untouched; "
            "1 is as much change as there was activation."
        )
        label = st.select_slider(
            "Share of weights that Wanda sets to zero",
            lessons.SPARSITIES,
            "60 %",
            key="learn-sparsity",
            persist_state="session",
            help="2:4 also removes half of the weights, but exactly two of every four neighbours, as GPUs want it. A "
            "sparsity not seen before is pruned now, from fewer calibration windows than the embedded pair's.",
        )
    with right:
        found = _damage(workspace, label)
    if found is None:
        return
    with left:
        st.markdown(
            f"Perplexity goes from **{found.dense.value:.2f}** ± {found.dense.stderr:.2f} (dense) to "
            f"**{found.pruned.value:.2f}** ± {found.pruned.stderr:.2f}: {signed(found.lost.nats)} ± "
            f"{found.lost.stderr:.4f} nats per token, paired"
            + (", which is within noise." if abs(found.lost.z) < 2 else ".")
        )
        st.caption(
            f"{found.sparsity:.1%} of decoder weights zero; perplexity of {found.dense.tokens:,} tokens of evaluation "
            "text."
        )
    with right, st.container(width=MAP):
        measure = SCORES["relative_error"]
        table = found.relative_error
        worst = divmod(int(table.argmax()), table.shape[1])
        controls.figure(
            learn_charts.damage_map(table, measure, colours(state.dark())),
            "learn-damage",
            f"Relative error by layer and head at {label}. It reaches {float(table.max()):.2f}, at {head_name(worst)}.",
            controls.by_head(table, "relative_error"),
        )


def _damage(workspace: Workspace, label: str) -> lessons.Damage | None:
    """Of one sparsity; None while it is being pruned."""
    if lessons.recipe_at(label) == workspace.recipe:
        return lessons.damage(workspace)
    owner = state.session().owner
    known = jobs.find(("learn-prune", lessons.recipe_at(label)))
    # After a cancel or a failure nothing starts by itself.
    job = known if known is not None else lessons.pruning_job(label, owner)
    if job.state == State.DONE:
        result: lessons.Damage = job.result
        return result
    feedback.progress(job)
    if job.finished:
        st.button("Prune it", key="learn-prune-again", on_click=_prune, args=(label, owner))
    return None


def _prune(label: str, owner: str) -> None:
    lessons.pruning_job(label, owner)
