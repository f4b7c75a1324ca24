"""The panel of the head in view: its name and figures, what can be done with it, how its loss is spread over tokens."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from restorelcc.selection.scores import SCORES, captured, computed
from restorelcc.workspace import Workspace

from ...charts import heads as head_charts
from ...session import state
from ...values.colours import colours
from ...values.pages import PAGES
from ...values.picks import Head
from ...values.words import signed
from ...widgets import controls
from ...work import scores


def title(workspace: Workspace, head: Head) -> None:
    """Name, figures, and what can be done with the head."""
    losses = {name: float(workspace.loss.table(name)[head]) for name in captured()}
    picked = len(state.picks().components_of(*head))
    total = workspace.lost.shape[2]
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="head-title"):
        st.markdown(f"#### Layer {head[0]}, head {head[1]}", width="content")
        figures = " · ".join(f"{SCORES[name].title.lower()} {value:.3f}" for name, value in losses.items())
        figures += _scored(workspace, head)
        st.markdown(f"<span class='muted'>{figures}</span>", unsafe_allow_html=True, width="stretch")
        gone = not bool(workspace.lost.present[head])
        st.button(
            f"Add to picks ({picked} of {total} components in)" if picked else "Add to picks",
            key="add-head",
            icon=":material/add:",
            type="primary",
            disabled=picked == total or gone,
            on_click=state.pick_heads,
            args=(workspace, [head]),
        )
        st.button(
            "Remove",
            key="remove-head",
            icon=":material/remove:",
            disabled=picked == 0,
            on_click=lambda: state.choose(state.picks().of_head(*head, [])),
        )
        st.page_link(PAGES["components"].link, label="Its components", icon=":material/arrow_forward:")
    if gone:
        st.info("Pruning removed this head: it is lost whole, and nothing can be put back into it.")


def _scored(workspace: Workspace, head: Head) -> str:
    """The changes of the loss that are known of a head, each with its error."""
    parts = []
    for name, score in computed().items():
        table, errors = scores.table(workspace, name), scores.errors(workspace, name)
        if score.scale == "change" and table is not None and errors is not None and bool(table[head].isfinite()):
            parts.append(f" · {score.title.lower()} {signed(float(table[head]))} ± {float(errors[head]):.4f}")
    return "".join(parts)


def spread(workspace: Workspace, head: Head) -> None:
    """How the loss is spread over tokens."""
    samples = workspace.findings.statistics.samples
    lost = samples.lost[head].double().square().sum(-1)
    mean = float(workspace.findings.statistics.dense_energy[head])
    share = lost / mean if mean > 0 else lost
    st.markdown(
        f"##### Lost energy over {len(share)} sampled tokens",
        help="‖z_dense − z_pruned‖² of each token as a share of the head's mean ‖z_dense‖². A few tokens often carry "
        "most of the loss; a constant can only bring back what they have in common.",
    )
    top = float(share.sort(descending=True).values[: max(1, len(share) // 10)].sum() / share.sum().clamp(min=1e-12))
    controls.figure(
        head_charts.histogram(share, colours(state.dark()), "lost energy, share of the head's mean energy"),
        "head-spread",
        f"Histogram of lost energy over tokens. The tenth of tokens with most loss carries {top:.0%} of it.",
        pd.DataFrame({"text": samples.text, "position": samples.pos, "lost_energy_share": share}),
    )
    st.caption(f"The tenth of tokens that lost most carries {top:.0%} of the loss.")
