"""What is known of the pair in view as a whole: sizes, losses, and where its zeros are."""

from __future__ import annotations

import streamlit as st

from restorelcc.report.build import of_pair
from restorelcc.workspace import Workspace

from ...charts import pair as pair_charts
from ...session import state
from ...values.colours import colours
from ...values.verbatim import in_markdown
from ...values.words import HELP, count, model_name, signed, text_name
from ...widgets import controls, reports
from ...work import open_pairs
from ...work.live import unpicked


def names_and_shape(workspace: Workspace) -> None:
    """What the models are called, how they are built, and what should be said of how they were read."""
    findings, shape = workspace.findings, workspace.findings.geometry
    kv = "" if shape.n_kv_heads == shape.n_heads else f", {shape.n_kv_heads} key/value heads"
    st.markdown(f"#### {in_markdown(model_name(findings.dense_name))} and {in_markdown(findings.pruned_name)}")
    st.caption(
        f"{shape.n_layers} layers of {shape.n_heads} heads of width {shape.d_head}{kv}; residual stream of "
        f"{shape.d_model}. Head activations read from {findings.statistics.count:,} tokens of "
        f"{in_markdown(text_name(workspace.recipe.calibration))}."
    )
    if open_pairs.changed(state.session().recipe):
        st.warning(
            "Files of this pair changed on disk since it was opened: what is shown is of those before. Press Open to "
            "read them again.",
            icon=":material/sync_problem:",
        )
    for remark in (*workspace.remarks(), *findings.notes):
        st.caption(in_markdown(remark))


def sizes_and_losses(workspace: Workspace) -> None:
    """What pruning took: parameters, zeros, likelihood."""
    findings, losses = workspace.findings, unpicked(workspace)
    columns = st.columns(4)
    columns[0].metric("Parameters", count(findings.dense_size.parameters), help=f"{findings.dense_size.parameters:,}")
    columns[1].metric(
        "Not zero after pruning",
        count(findings.pruned_size.nonzero),
        help=f"{findings.pruned_size.nonzero:,}; embeddings and norms, which are not pruned, included.",
    )
    columns[2].metric(
        "Sparsity",
        f"{findings.sparsity.sparsity:.1%}",
        help="Share of zeros in the weight matrices of the decoder layers.",
    )
    columns[3].metric(
        "Lost",
        f"{signed(losses.lost.nats, 3)} nats",
        help=f"± {losses.lost.stderr:.3f}: mean negative log-likelihood per token, pruned minus dense, paired "
        f"by window, over {losses.dense.tokens:,} tokens. {HELP['perplexity']}",
    )
    st.markdown(
        f"Perplexity **{losses.dense.value:.2f}** ± {losses.dense.stderr:.2f} dense, **{losses.pruned.value:.2f}** "
        f"± {losses.pruned.stderr:.2f} pruned, on the live set: {losses.dense.tokens:,} tokens of "
        f"{in_markdown(text_name(workspace.recipe.evaluation))}."
    )


def sparsity(workspace: Workspace) -> None:
    """The map of zeros by layer and matrix."""
    frame = workspace.findings.sparsity.to_pandas()
    st.markdown("##### Sparsity by layer and matrix", help="Share of zeros in each weight matrix, and its n:m pattern.")
    controls.figure(
        pair_charts.sparsity_map(frame, colours(state.dark())),
        "sparsity",
        f"Map of the share of zeros by layer and matrix, from {frame['sparsity'].min():.0%} to "
        f"{frame['sparsity'].max():.0%}.",
        frame,
    )


def report(workspace: Workspace) -> None:
    """All that is known of the pair, to take away."""
    reports.button("Report", "report-pair", "pair", lambda: of_pair(workspace))
