"""The head in view on the Components page: which one it is, its components and ticks, its tokens seen flat."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from restorelcc.workspace import Workspace

from ...charts import components as component_charts
from ...charts import heads as head_charts
from ...session import cache, measures, state
from ...values.colours import colours
from ...values.picks import Head
from ...values.verbatim import in_markdown
from ...values.words import head_name
from ...widgets import controls, feedback, head_chooser


def chosen(workspace: Workspace) -> Head:
    """The head in view: the session's, else the one that lost most by the measure in view; and ways to change it."""
    session = state.session()
    table = measures.table(workspace, session.metric)
    known = table is not None and not bool(table.isnan().any())
    metric = session.metric if known else state.Session.metric
    score, table = measures.row(metric), measures.table(workspace, metric)
    if table is None:
        raise LookupError(f"{metric} orders heads before it is computed")
    order = head_charts.ranked(table, score)
    head = session.head if session.head is not None else order[0]
    rank = order.index(head)
    with st.container(horizontal=True, vertical_alignment="bottom", key="head-chooser"):
        head_chooser.by_number(workspace, head)
        head_chooser.by_rank(order, head)
        st.markdown(
            f"<span class='muted'>number {rank + 1} of {len(order)} by {score.title.lower()}: "
            f"{float(table[head]):.3g}</span>",
            unsafe_allow_html=True,
        )
    return head


def scree(workspace: Workspace, head: Head) -> None:
    """The energy of every component of the head; a bar shows its component."""
    energy, picked = workspace.lost.energy[head], state.picks().components_of(*head)
    st.markdown(
        f"##### Components of {head_name(head)}",
        help="Eigenvectors of the mean of δz δzᵀ over tokens: the directions of RestoreLCC's SVD (Eq. 3), strongest "
        "first, not centred, because a shift of the mean is loss too.",
    )
    frame = workspace.lost.to_pandas().query(f"layer == {head[0]} and head == {head[1]}")
    controls.figure(
        component_charts.scree(energy, picked, state.session().component, colours(state.dark())),
        "scree",
        f"Bars of the lost energy of each component of {head_name(head)}; the strongest holds {float(energy[0]):.0%}.",
        frame.assign(cumulative=frame["energy"].cumsum(), picked=frame["component"].isin(picked)),
        on_select=_bar_selected,
        modes=("points",),
    )


def ticks(workspace: Workspace, head: Head) -> None:
    """The head's components to tick, which picks them; and the first few at once."""
    names, energy = state.session().names, workspace.lost.energy[head]
    picked = state.picks().components_of(*head)
    held = float(energy[picked].sum()) if picked else 0.0
    st.pills(
        f"Put back ({len(picked)} of {len(energy)}, holding {held:.0%} of the lost energy)",
        list(range(len(energy))),
        format_func=lambda i: f"{i} {in_markdown(names[*head, i])}" if (*head, i) in names else str(i),
        selection_mode="multi",
        wrap=True,
        help="Ticked components are put back with their mean magnitude α. A bar of the chart shows a component.",
        **controls.mirrored("ticks", picked, lambda chosen: _ticked(head, chosen)),
    )
    with st.container(horizontal=True, key="quick"):
        counts = {0: "None", 1: "First", 4: "First 4", 8: "First 8"}
        counts = {count: label for count, label in counts.items() if count < len(energy)} | {len(energy): "All"}
        for count, label in counts.items():
            st.button(
                label,
                key=f"quick-{count}",
                on_click=lambda count=count: state.choose(state.picks().of_head(*head, range(count))),
                disabled=picked == list(range(count)),
            )


def _ticked(head: Head, chosen: list[int]) -> None:
    new = set(chosen) - set(state.picks().components_of(*head))
    if new:
        state.session().component = max(new)
    state.choose(state.picks().of_head(*head, chosen))


def _bar_selected() -> None:
    points = controls.selected_points("scree")
    if points:
        state.session().component = points[0][0]


def plane(workspace: Workspace, head: Head) -> None:
    """Sampled tokens on the first two principal axes of their differences: the differences, or both activations."""
    st.markdown(
        f"##### Sampled tokens of {head_name(head)}, seen flat",
        help="Principal components (scikit-learn) of the differences about their mean. The head's own components are "
        "not centred, so a v need not lie along an axis.",
    )
    if not feedback.models_there(workspace, "plane", dense=False):
        return
    view = cache.projection(workspace.recipe, *head, workspace)
    names = cache.sample_contexts(workspace.recipe, workspace)
    kind = st.segmented_control(
        "Show",
        ["Differences", "Dense and pruned"],
        default="Differences",
        required=True,
        key="plane-kind",
        persist_state="session",
        label_visibility="collapsed",
    )
    look = colours(state.dark())
    if kind == "Differences":
        picked, shown = state.picks().components_of(*head), state.session().component
        chart = component_charts.differences(view, names, picked, shown, look)
        alt = f"Differences of {len(names)} tokens on two principal axes, with directions of components."
    else:
        chart = component_charts.clouds(view, names, look)
        alt = f"Dense and pruned activations of {len(names)} tokens on the principal axes of their differences."
    frame = pd.DataFrame({"token": names})
    for name in ("lost", "dense", "pruned"):
        frame[[f"{name}_1", f"{name}_2"]] = getattr(view, name)
    controls.figure(chart, "plane", alt, frame)
