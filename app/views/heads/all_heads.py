"""All heads by the measure in view: the map, the ranking, the profile by layer."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from torch import Tensor

from restorelcc.selection.picks import of_heads
from restorelcc.selection.scores import captured
from restorelcc.workspace import Workspace

from ...charts import heads as head_charts
from ...charts.head_map import head_maps
from ...charts.sentences import of_map
from ...session import measures, state
from ...values.colours import colours
from ...values.words import head_name
from ...widgets import controls

MOUSE = {"look": "Click looks", "box": "Box picks"}
MOUSE_HELP = {
    "look": "Click a cell to look at its head.",
    "box": "Drag a box to add all components of the heads in it to the picks.",
}


def loss_map(workspace: Workspace, metric: str) -> None:
    """Layer × head; a click looks at a head, a box picks heads."""
    session, score, table = state.session(), measures.row(metric), _table(workspace, metric)
    picked = state.picks().by_head()
    with st.container(horizontal=True, vertical_alignment="center", key="map-title"):
        st.markdown(f"##### {score.title} of every head", help=score.definition, width="stretch")
        st.segmented_control(
            "The mouse",
            list(MOUSE),
            format_func=lambda name: MOUSE[name],
            required=True,
            label_visibility="collapsed",
            **controls.mirrored("mouse", session.mouse, lambda value: setattr(session, "mouse", value)),
        )
    first = head_charts.ranked(table, score)[0]
    chart, narrow = head_maps(table, score, colours(state.dark()), picked, session.head, session.mouse == "box")
    controls.figure(
        chart,
        "head-map",
        f"Map of {score.title.lower()} by layer and head; {'the lowest' if score.lowest_first else 'the most'} is "
        f"{float(table[first]):.3g}, at {head_name(first)}.",
        _frame(workspace, metric),
        narrow=narrow,
        on_select=lambda: _map_selected(workspace),
    )
    st.markdown(of_map(table, score))
    st.caption(
        f"{MOUSE_HELP[session.mouse]} A green dot marks heads with picks. By keyboard: *Layer* and *Head* in the panel "
        "of a head, with ↑ and ↓ from cell to cell."
    )


def there(workspace: Workspace, metric: str) -> bool:
    """Whether the measure in view is known of any head."""
    return measures.table(workspace, metric) is not None


def _table(workspace: Workspace, metric: str) -> Tensor:
    """[layer, head] values of a measure that is there."""
    table = measures.table(workspace, metric)
    if table is None:
        raise LookupError(f"{metric} is drawn before it is computed")
    return table


def _frame(workspace: Workspace, metric: str) -> pd.DataFrame:
    """All measures of loss, and the score in view with its errors."""
    frame = workspace.loss.to_pandas()
    if metric in captured():
        return frame
    errors = measures.errors(workspace, metric)
    columns = {metric: _table(workspace, metric)} | ({} if errors is None else {f"{metric}_error": errors})
    return frame.assign(**{name: values.flatten().numpy() for name, values in columns.items()})


def _map_selected(workspace: Workspace) -> None:
    heads = [(point[0], point[1]) for point in controls.selected_points("head-map")]
    if len(heads) == 1:
        state.look_at(heads[0])
    elif heads:
        state.pick_heads(workspace, heads)


def ranking(workspace: Workspace, metric: str) -> None:
    """The heads to look at first by the measure in view."""
    score, table, errors = measures.row(metric), _table(workspace, metric), measures.errors(workspace, metric)
    frame = _frame(workspace, metric)
    columns = ["layer", "head", metric, *([f"{metric}_error"] if f"{metric}_error" in frame else [])]
    st.markdown(f"##### {score.ranked}")
    controls.figure(
        head_charts.ranking(table, score, colours(state.dark()), state.session().head, errors),
        "head-ranking",
        f"Bars of the heads that come first by {score.title.lower()}, in order.",
        frame[columns].sort_values(metric, ascending=score.lowest_first),
        on_select=_bar_selected,
        modes=("points",),
    )


def way_in(workspace: Workspace, metric: str) -> None:
    """For those who use no mouse: the first head by the measure in view, from which its number leads to every other."""
    first = head_charts.ranked(_table(workspace, metric), measures.row(metric))[0]
    st.button(
        f"Look at {head_name(first)}, the first",
        key="look-at-first",
        icon=":material/visibility:",
        on_click=state.look_at,
        args=(first,),
    )


def first_to_picks(workspace: Workspace, metric: str) -> None:
    """The first so many heads by the measure in view, to the picks at once."""
    order, present = head_charts.ranked(_table(workspace, metric), measures.row(metric)), workspace.lost.present
    heads = [head for head in order if bool(present[head])]
    if not heads:
        return
    with st.container(horizontal=True, vertical_alignment="bottom", key="first-heads"):
        count = int(
            st.number_input(
                "How many", 1, len(heads), min(8, len(heads)), key="first-count", persist_state="session", width=110
            )
        )
        wanted = of_heads(workspace.lost.shape, heads[:count]).picks
        st.button(
            f"Add the first {count} to picks" if count > 1 else "Add the first to picks",
            key="pick-first",
            icon=":material/add:",
            disabled=wanted <= state.picks().selection.picks,
            on_click=state.pick_heads,
            args=(workspace, heads[:count]),
            help="All components of the heads that come first by the measure in view, on top of what is picked.",
        )


def _bar_selected() -> None:
    points = controls.selected_points("head-ranking")
    if points:
        state.look_at((points[0][0], points[0][1]))


def profile(workspace: Workspace, metric: str) -> None:
    """The measure in view by layer: its mean and its range over heads."""
    score = measures.row(metric)
    st.markdown("##### By layer: mean, and range over heads")
    controls.figure(
        head_charts.profile(_table(workspace, metric), score, colours(state.dark())),
        "layer-profile",
        f"Mean {score.title.lower()} of the heads of each layer, with the range from the lowest to the highest.",
        _frame(workspace, metric).groupby("layer")[metric].agg(["mean", "min", "max"]).reset_index(),
    )
