"""A restoration that is kept: its figures, curves, what was trained, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pandas as pd
import streamlit as st
from torch import Tensor

from restorelcc.artifacts.findings import recipe_written
from restorelcc.artifacts.runs import Run, load_run, runs_folder
from restorelcc.compensation.interface import Compensation
from restorelcc.errors import RestoreLCCError
from restorelcc.selection.scores import Measure
from restorelcc.workspace import Workspace

from ...charts import training as training_charts
from ...charts.head_map import head_maps
from ...session import state
from ...values import run_facts
from ...values.colours import colours
from ...values.run_facts import known, number
from ...values.verbatim import in_markdown, in_message
from ...values.words import HELP, count, signed
from ...widgets import controls, feedback

SHARES = (("recovered_share", "Recovered", HELP["share"]), ("nearer", "Nearer", HELP["nearer"]))


def kept(name: str) -> Run | None:
    """A run by the name of its folder; None, with a message, if there is none."""
    if not name:
        return None
    if Path(name).name == name:  # A link must not name a folder elsewhere.
        with suppress(RestoreLCCError):
            return load_run(runs_folder() / name)
    st.info("The restoration that the link names is no longer kept here.", icon=":material/info:")
    return None


def section(workspace: Workspace, run: Run) -> None:
    """Everything about a restoration; what its folder lacks is a message, and the rest is shown."""
    st.markdown(f"#### {in_markdown(run.name)}")
    if run.fault:
        st.warning(in_message(f"This run is damaged. {run.fault}"), icon=":material/broken_image:")
    _figures(run)
    _remarks(run)
    with feedback.guarded():
        _curves(run)
    with feedback.guarded():
        _trained(workspace, run)


def _figures(run: Run) -> None:
    """What it came to, as far as the run says, and on which text."""
    where, tokens = known(run, "evaluation"), number(run, "figures", "restored", "tokens")
    if isinstance(where, str) and where and tokens is not None:
        st.caption(f"On {in_markdown(where)}: {tokens:,} tokens. The header's are of the live set.")
    columns = st.columns(4)
    for column, side in zip(columns, ("dense", "restored", "pruned"), strict=False):
        perplexity, stderr, tokens = (number(run, "figures", side, name) for name in ("perplexity", "stderr", "tokens"))
        if perplexity is None:
            continue
        about = HELP["perplexity"]
        if stderr is not None and tokens is not None:
            about = f"± {stderr:.3f} (one standard error) over {tokens:,} tokens. {about}"
        column.metric(f"{side.capitalize()} perplexity", f"{perplexity:.3f}", help=about)
    trained = number(run, "trained_parameters")
    if trained is not None:
        columns[3].metric("Trained parameters", count(trained))
    _shares(run)


def _shares(run: Run) -> None:
    """What came back on the evaluation text, and on one that nothing was trained or chosen on; and what the two shares
    say where they part."""
    shown = [(label, run_facts.share(run, name), about) for name, label, about in SHARES]
    other = run_facts.elsewhere(run)
    if other:
        note = f"On {in_markdown(other)}, which nothing was trained or chosen on. "
        shown += [
            (f"{label}, {in_markdown(other)}", run_facts.share(run, name, "elsewhere"), note + about)
            for name, label, about in SHARES
        ]
    for column, (label, share, about) in zip(st.columns(4), [row for row in shown if row[1]], strict=False):
        column.metric(label, share, help=about)
    if run_facts.learns_the_text(run):
        st.warning(
            "Likelihood rises while the distance to the dense model grows: what is put back has learnt the text, not "
            "what pruning took. Distil the dense model, with more text, fewer steps or a lower rate.",
            icon=":material/warning:",
        )


def _remarks(run: Run) -> None:
    """Names of components, the gain, and how the training ended."""
    names = known(run, "names")
    if isinstance(names, Mapping) and names:
        st.caption("Named components: " + in_markdown(", ".join(f"{place} {name}" for place, name in names.items())))
    ended = known(run, "ended")
    if isinstance(ended, str) and ended:
        st.warning(in_message(ended), icon=":material/warning:")
    nats, stderr = number(run, "figures", "gain", "nats"), number(run, "figures", "gain", "stderr")
    best = number(run, "best_step")
    if nats is not None and stderr is not None:
        gain = f"{signed(nats)} ± {stderr:.4f} nats per token against the pruned model, paired by window."
        step = "" if best is None else f" Best at step {best}."
        stopped = (
            f" It was stopped{run_facts.steps_done(run)}; the best so far was kept." if known(run, "stopped") else ""
        )
        st.caption(f"{gain}{step}{stopped}")


def _curves(run: Run) -> None:
    """Loss and held-out perplexity by step."""
    metrics, look = run.metrics(), colours(state.dark())
    source = run_facts.short(known(run, "calibration", "source"))
    st.caption(f"Curves: windows of {in_markdown(source or 'the calibration text')} that were held out of training.")
    dense = number(run, "held_out", "dense", "perplexity")
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
    """What is put back into each head; and beside it the magnitudes, where the run is of the pair in view."""
    compensation = run.adapter().compensation
    parts = [compensation, *([compensation.beside] if compensation.beside is not None else [])]
    left, right = st.columns(2)
    for column, part, key in zip((left, right), parts, ("norms", "norms-beside"), strict=False):
        with column:
            _sizes(part, key)
    # α is of the pair in view; a compensation may have no magnitudes.
    if len(parts) > 1 or known(run, "recipe") != recipe_written(workspace.recipe):
        return
    if "beta" in (trained := run.trained()):
        beta, alpha = trained["beta"], workspace.lost.magnitude
        with right:
            if beta.shape == alpha.shape:
                _magnitudes(run, beta, alpha)


def _sizes(compensation: Compensation, key: str) -> None:
    """The map of how much is put back into each head. key: of the figure."""
    norms, (symbol, unit) = compensation.norms, compensation.size
    measure = Measure(name="size", title=symbol, brief="how much is put back", unit=unit)
    chart, narrow = head_maps(norms, measure, colours(state.dark()))
    st.markdown(
        f"##### Trained: {compensation.made_of}, {symbol}", help=f"How much is put back into each head, in {unit}."
    )
    controls.figure(
        chart,
        key,
        f"Map of how much is put back into each head, by layer and head, at most {float(norms.max()):.2f}.",
        controls.by_head(norms, "norm"),
        narrow=narrow,
    )


def _magnitudes(run: Run, beta: Tensor, alpha: Tensor) -> None:
    """Trained magnitudes against the mean lost activation. beta, alpha: [layer, head, component]."""
    picked = run.selection.mask()
    st.markdown(
        "##### Trained β against α",
        help="If training only put back the mean of what was lost, all points would lie on the dotted line. They "
        "do not: what helps is not what was lost on average, because deeper heads show what shallower ones lost.",
    )
    frame = pd.DataFrame(picked.nonzero().numpy(), columns=["layer", "head", "component"])
    controls.figure(
        training_charts.beta_against_alpha(alpha, beta, picked, colours(state.dark())),
        "beta-alpha",
        "Scatter of trained magnitudes against the mean lost activation of each component.",
        frame.assign(alpha=alpha[picked].numpy(), beta=beta[picked].numpy()),
    )
