"""The panel of the head in view: its name and figures, what can be done with it, how its loss is spread over tokens."""

from __future__ import annotations

import math

import pandas as pd
import streamlit as st

from restorelcc.selection.scores import SCORES, captured, computed
from restorelcc.workspace import Workspace

from ...charts import heads as head_charts
from ...session import measures, state
from ...values.colours import colours
from ...values.pages import PAGES
from ...values.picks import Head
from ...values.words import signed
from ...widgets import controls, head_chooser
from ...work import scores


def title(workspace: Workspace, head: Head) -> None:
    """Name, figures, and what can be done with the head; and another by its number."""
    gone = not bool(workspace.lost.present[head])
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="head-title"):
        st.markdown(f"#### Layer {head[0]}, head {head[1]}", width="stretch")
        head_chooser.by_number(workspace, head)
    figures = " · ".join([*_losses(workspace, head), *_changes(workspace, head), *_own(head)])
    st.markdown(f"<span class='muted'>{figures}</span>", unsafe_allow_html=True)
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="head-buttons"):
        _pick_buttons(workspace, head, gone)
        st.page_link(PAGES["components"].link, label="Its components", icon=":material/arrow_forward:")
    if gone:
        st.info("Pruning removed this head: it is lost whole, and nothing can be put back into it.")


def _pick_buttons(workspace: Workspace, head: Head, gone: bool) -> None:
    picked, total = len(state.picks().components_of(*head)), workspace.lost.shape[2]
    st.button(
        f"Add to picks ({picked} of {total} in)" if picked else "Add to picks",
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


def _losses(workspace: Workspace, head: Head) -> list[str]:
    """What the head lost, by every measure of loss."""
    return [f"{SCORES[name].title.lower()} {float(workspace.loss.table(name)[head]):.3f}" for name in captured()]


def _changes(workspace: Workspace, head: Head) -> list[str]:
    """The changes of the loss that are known of the head, each with its error."""
    parts = []
    for name, score in computed().items():
        table, errors = scores.table(workspace, name), scores.errors(workspace, name)
        if score.scale == "change" and table is not None and errors is not None and bool(table[head].isfinite()):
            parts.append(f"{score.title.lower()} {signed(float(table[head]))} ± {float(errors[head]):.4f}")
    return parts


def _own(head: Head) -> list[str]:
    """What one's own scores say of the head."""
    known = [(own.row.title, float(own.scored.values[head])) for own in measures.own().values()]
    return [f"{title.lower()} {value:.4g}" for title, value in known if math.isfinite(value)]


def split(workspace: Workspace, head: Head) -> None:
    """What the head lost, by what could bring it back, where that is known; else how to know it."""
    names = ("by_constant", "by_weights", "gone")
    tables = [scores.table(workspace, name) for name in names]
    about = "\n\n".join(f"{SCORES[name].title}: {SCORES[name].definition}" for name in names)
    st.markdown("##### What could bring it back", help=about)
    shares = [float(table[head]) for table in tables if table is not None]
    if len(shares) < len(names):
        st.caption(
            f"Choose *{SCORES['gone'].title}* above the map to see how much of what each head lost a constant could "
            "bring back, how much surviving weights could, and how much is gone."
        )
        return
    figures = [f"{share:.0%}".replace("-", "−") for share in shares]
    controls.figure(
        head_charts.split(shares, colours(state.dark())),
        "head-split",
        f"A constant brings back {figures[0]} of what this head lost, a map {figures[1]} more; {figures[2]} is gone.",
        pd.DataFrame({"part": ["constant", "weights", "gone"], "share": shares}),
    )


def spread(workspace: Workspace, head: Head) -> None:
    """How the head's loss is spread over tokens."""
    statistics = workspace.findings.statistics
    lost = statistics.samples.lost[head].double().square().sum(-1)
    mean = float(statistics.dense_energy[head])
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
        pd.DataFrame({"text": statistics.samples.text, "position": statistics.samples.pos, "lost_energy_share": share}),
    )
    st.caption(f"The tenth of tokens that lost most carries {top:.0%} of the loss.")
