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
    """The slider for the sparsity, what it does to perplexity, and the map of how much each head changed."""
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
        damage = _damage(workspace, label)
    if damage is None:
        return
    with left:
        _verdict(damage)
    with right, st.container(width=MAP):
        _map(damage, label)


def _verdict(damage: lessons.Damage) -> None:
    """What pruning did to perplexity."""
    dense, pruned, lost = damage.dense, damage.pruned, damage.lost
    st.markdown(
        f"Perplexity goes from **{dense.value:.2f}** ± {dense.stderr:.2f} (dense) to **{pruned.value:.2f}** ± "
        f"{pruned.stderr:.2f}: {signed(lost.nats)} ± {lost.stderr:.4f} nats per token, paired"
        + (", which is within noise." if abs(lost.z) < 2 else ".")
    )
    st.caption(
        f"{damage.sparsity:.1%} of decoder weights zero; perplexity of {dense.tokens:,} tokens of evaluation text."
    )


def _map(damage: lessons.Damage, label: str) -> None:
    """How much each head changed."""
    table = damage.relative_error
    worst = divmod(int(table.argmax()), table.shape[1])
    controls.figure(
        learn_charts.damage_map(table, SCORES["relative_error"], colours(state.dark())),
        "learn-damage",
        f"Relative error by layer and head at {label}. It reaches {float(table.max()):.2f}, at {head_name(worst)}.",
        controls.by_head(table, "relative_error"),
    )


def _damage(workspace: Workspace, label: str) -> lessons.Damage | None:
    """What pruning to this sparsity does; None, with the progress on the screen, while it is being pruned."""
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
