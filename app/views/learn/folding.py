"""Step 6: a constant folds into a bias."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from ...charts import learn as learn_charts
from ...session import cache, state
from ...values.colours import colours
from ...widgets import feedback
from ...work import lessons
from . import known_lessons
from .introduction import Source, choice, figure, heading, places, written


@st.fragment
def step(source: Source) -> None:
    """Hook and bias give the same logits; no zero is lost."""
    heading(6)
    left, right = places(6)
    with left:
        written(
            "The output projection is linear: $W_O (z + c) = W_O z + W_O c$. The second term is the same vector for "
            "every token, so it is computed once and stored as the projection’s **bias**. No weight changes, every "
            "zero stays zero, and a forward pass has one vector to add per layer."
        )
        factor = float(
            st.select_slider(
                "Put back how many times the mean of every head",
                lessons.FACTORS,
                format_func=lambda value: f"{value:g} ×",
                **choice("factor", lessons.FACTORS, 1.0, lambda value: f"{value:g}"),
                help="Not to make the model better (step 4), but to see that both ways agree whatever c is.",
            )
        )
    workspace = source.workspace
    with right:
        if source.known or workspace is None:
            check = known_lessons.merge_check(factor)
        elif not feedback.models_there(workspace, "learn-folding", dense=False):
            return
        else:
            with st.spinner("Comparing hook and bias"):
                check = cache.merge_check(workspace.recipe, factor, workspace)
        figure(
            learn_charts.agreement(check.plain, check.hooked, check.folded, colours(state.dark())),
            "learn-folding",
            f"Next-token logits with c in a bias against c in a hook: they differ by {check.difference:.1e} at most.",
            pd.DataFrame(
                {"hook": check.hooked.numpy(), "bias": check.folded.numpy(), "nothing_put_back": check.plain.numpy()}
            ),
        )
    with left:
        st.markdown(_verdict(check))


def _power(value: float) -> str:
    """0.000012 as 1 × 10⁻⁵, in LaTeX."""
    if value == 0:
        return "0"
    digit, _, exponent = f"{value:.0e}".partition("e")
    return rf"${digit} \times 10^{{{int(exponent)}}}$"


def _verdict(check: lessons.MergeCheck) -> str:
    before, after = check.zeros
    kept = "none was lost" if before == after else f"{abs(before - after):,} changed"
    return (
        f"Putting it back moves logits by up to **{check.change:.2f}**. In float32, hook and bias differ by "
        f"**{_power(check.difference)}** at most. In {check.stored}, in which the model is stored, they differ by "
        f"{check.stored_difference:.2g}: it rounds the two ways differently.\n\n"
        f"Zeros before: **{before:,}** of {check.weights:,} weights ({before / check.weights:.1%}); after: "
        f"**{after:,}**; {kept}. All that was added is {check.bias_numbers:,} numbers in biases."
    )
