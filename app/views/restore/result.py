"""A restoration that is kept: its figures, curves, what was trained, and what to do next."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from restorelcc.artifacts.runs import Run, load_run, runs_folder
from restorelcc.errors import RestoreLCCError
from restorelcc.selection.scores import Measure
from restorelcc.workspace import Workspace

from ...charts import heads as head_charts
from ...charts import training as training_charts
from ...session import state
from ...values.colours import colours
from ...values.recipes import recipe_written
from ...values.verbatim import in_markdown
from ...values.words import HELP, count, signed
from ...widgets import controls


def kept(name: str) -> Run | None:
    """A run by the name of its folder; None, with a message, if there is none."""
    if not name or Path(name).name != name:  # A link must not name a folder elsewhere.
        return None
    try:
        return load_run(runs_folder() / name)
    except RestoreLCCError:
        st.info("The restoration that the link names is no longer kept here.", icon=":material/info:")
        return None


def result(workspace: Workspace, run: Run) -> None:
    """Everything about it."""
    st.markdown(f"#### {in_markdown(run.name)}")
    _figures(run)
    _curves(run)
    _trained(workspace, run)


def _figures(run: Run) -> None:
    figures = run.config.get("figures", {})
    columns = st.columns(5)
    for column, kind in zip(columns, ("dense", "restored", "pruned"), strict=False):
        one = figures.get(kind)
        if one:
            column.metric(
                f"{kind.capitalize()} perplexity",
                f"{one['perplexity']:.3f}",
                help=f"± {one['stderr']:.3f} (one standard error) over {one['tokens']:,} tokens. {HELP['perplexity']}",
            )
    share, error = figures.get("recovered_share"), figures.get("share_stderr")
    if share is not None:
        around = f" ± {error:.1%}" if error is not None else ""
        columns[3].metric("Recovered", f"{share:.1%}{around}".replace("-", "−"), help=HELP["share"])
    columns[4].metric("Trained parameters", count(run.config["trained_parameters"]))
    names = run.config.get("names")
    if names:
        st.caption("Named components: " + in_markdown(", ".join(f"{place} {name}" for place, name in names.items())))
    gain = figures.get("gain")
    if gain:
        stopped = " It was stopped early; the best so far was kept." if run.config.get("stopped") else ""
        st.caption(
            f"{signed(gain['nats'])} ± {gain['stderr']:.4f} nats per token against the pruned model, paired by window. "
            f"Best at step {run.config['best_step']}.{stopped}"
        )


def _curves(run: Run) -> None:
    metrics, look = run.metrics(), colours(state.dark())
    dense = run.config.get("held_out", {}).get("dense", {}).get("perplexity")
    left, right = st.columns(2)
    with left:
        controls.figure(
            training_charts.perplexities(metrics, dense, look),
            "run-perplexity",
            "Held-out perplexity by step.",
            metrics,
        )
    with right:
        controls.figure(training_charts.losses(metrics, look), "run-loss", "Loss by step.", metrics)


def _trained(workspace: Workspace, run: Run) -> None:
    look = colours(state.dark())
    compensation = run.adapter().compensation
    norms, (symbol, unit) = compensation.norms, compensation.size
    measure = Measure(name="size", title=symbol, brief="how much is put back", unit=unit)
    left, right = st.columns(2)
    with left:
        st.markdown(
            f"##### Trained: {compensation.made_of}, {symbol}", help=f"How much is put back into each head, in {unit}."
        )
        controls.figure(
            head_charts.head_map(norms, measure, look),
            "norms",
            f"Map of how much is put back into each head, by layer and head, at most {float(norms.max()):.2f}.",
            controls.by_head(norms, "norm"),
        )
    if run.config.get("recipe") != recipe_written(workspace.recipe):
        return  # α is of another pair.
    trained = run.trained()
    if "beta" not in trained:
        return  # A kind without magnitudes.
    with right:
        beta, picked = trained["beta"], run.selection.mask()
        alpha = workspace.lost.magnitude
        st.markdown(
            "##### Trained β against α",
            help="If training only put back the mean of what was lost, all points would lie on the dotted line. They "
            "do not: what helps is not what was lost on average, because deeper heads show what shallower ones lost.",
        )
        frame = pd.DataFrame(picked.nonzero().numpy(), columns=["layer", "head", "component"])
        controls.figure(
            training_charts.beta_against_alpha(alpha, beta, picked, look),
            "beta-alpha",
            "Scatter of trained magnitudes against the mean lost activation of each component.",
            frame.assign(alpha=alpha[picked].numpy(), beta=beta[picked].numpy()),
        )
