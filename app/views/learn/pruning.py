"""Step 1: pruning changes what the model writes, and what its heads compute."""

from __future__ import annotations

import streamlit as st

from restorelcc.selection.scores import SCORES

from ...charts import learn as learn_charts
from ...session import state
from ...values.colours import colours
from ...values.verbatim import lines_in_html
from ...values.words import head_name, signed
from ...widgets import controls, feedback
from ...work import lessons
from ...work.jobs import State, jobs
from . import known_lessons
from .introduction import MAP, Source, choice, figure, heading, places, term, written


@st.fragment
def step(source: Source) -> None:
    """The slider for the sparsity: what it does to text, then to perplexity, and how much each head changed."""
    heading(1)
    if source.known:
        written(
            f"Weights are set to zero by {term('Wanda', 'Wanda')}, in growing numbers ({term('Sparsity')}). Slide, and "
            "read how the model goes on from the same words."
        )
    label = st.select_slider(
        "Share of weights that Wanda sets to zero",
        lessons.SPARSITIES,
        help="2:4 also removes half of the weights, but exactly two of every four neighbours, as GPUs want it.",
        **choice("sparsity", lessons.SPARSITIES, "60 %"),
    )
    if source.known:
        _texts(label)
    left, right = places(1)
    with left:
        written(
            f"A {term('Head', 'head')} mixes values of earlier tokens into its {term('Activation', '**activation**')} "
            f"$z$; the {term('Output projection, $W_O$', 'output projection')} $W_O$ then writes it into the "
            f"{term('Residual stream')}. With weights gone, $z$ comes out different. The map shows by how much: the "
            "mean squared change as a share of the mean squared activation, for every head. 0 is untouched; 1 is as "
            "much change as there was activation."
        )
    with right:
        damage = _damage(source, label)
    if damage is None:
        return
    with left:
        _verdict(damage)
    with right, st.container(width=MAP):
        _map(damage, label)


def _texts(label: str) -> None:
    """The same words continued by both models; what the pruned one writes from where it departs stands out."""
    dense, pruned = known_lessons.continuations(label)
    pairs = enumerate(zip(dense, pruned, strict=False))
    same = next((at for at, (ours, theirs) in pairs if ours != theirs), min(len(dense), len(pruned)))
    for column, name, text, start in zip(
        st.columns(2, gap="large"), ("dense", "pruned"), (dense, pruned), (len(dense), same), strict=True
    ):
        title = "Dense" if name == "dense" else f"Pruned, {label}"
        column.html(
            f'<div class="continued" data-model="{name}" style="border-top:3px solid var(--{name})"><b>{title}</b>'
            f'<p><span class="muted">{lines_in_html(lessons.PROMPT)}</span>{lines_in_html(text[:start])}'
            f"<mark>{lines_in_html(text[start:])}</mark></p></div>"
        )


def _verdict(damage: lessons.Damage) -> None:
    """What pruning did to perplexity; why a loss is clear though its errors overlap."""
    dense, pruned, lost = damage.dense, damage.pruned, damage.lost
    written(
        f"In numbers: {term('Perplexity')} goes from **{dense.value:.2f}** ± {dense.stderr:.2f} (dense) to "
        f"**{pruned.value:.2f}** ± {pruned.stderr:.2f}: {signed(lost.nats)} ± {lost.stderr:.4f} "
        f"{term('NLL, nats', 'nats')} per token, paired" + (", which is within noise." if abs(lost.z) < 2 else ".")
    )
    overlap = pruned.value - dense.value < pruned.stderr + dense.stderr
    if overlap and abs(lost.z) >= 2:
        written(
            f"Each ± is a {term('Standard error', 'standard error')}, and the two overlap. The difference is clear all "
            "the same: both models read the same windows, and what is hard for both cancels out when the windows are "
            "**paired**."
        )
    st.caption(
        f"{damage.sparsity:.1%} of decoder weights zero; perplexity of {dense.tokens:,} tokens of evaluation text."
    )


def _map(damage: lessons.Damage, label: str) -> None:
    """How much each head changed."""
    table = damage.relative_error
    worst = divmod(int(table.argmax()), table.shape[1])
    figure(
        learn_charts.damage_map(table, SCORES["relative_error"], colours(state.dark())),
        "learn-damage",
        f"Relative error by layer and head at {label}. It reaches {float(table.max()):.2f}, at {head_name(worst)}.",
        controls.by_head(table, "relative_error"),
    )


def _damage(source: Source, label: str) -> lessons.Damage | None:
    """What pruning to this sparsity does; None, with the progress on the screen, while it is being pruned."""
    if source.known or source.workspace is None:
        return known_lessons.damage(label)
    if lessons.recipe_at(label) == source.workspace.recipe:
        return lessons.damage(source.workspace)
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
