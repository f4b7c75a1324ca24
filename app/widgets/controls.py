"""Widgets that mirror the session: set from it before they are drawn, written to it when they change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, Literal

import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from torch import Tensor

from restorelcc.registry import definitions
from restorelcc.selection.scores import Score, captured, closer, computed

from ..session import measures, state

NARROW = "-narrow"
"""Ends the key of a chart that a phone shows instead of another."""
SELECTED_IN = "selected-in"
"""Where the session keeps the key of the chart that something was selected in last."""
CONFIG: dict[str, Any] = {"displaylogo": False, "modeBarButtonsToRemove": ["lasso2d", "autoScale2d"]}


def mirrored(key: str, value: Any, write: Callable[[Any], None]) -> dict[str, Any]:
    """Arguments that make a widget show `value` and hand what is chosen to `write`."""
    st.session_state[key] = value

    def changed() -> None:
        write(st.session_state[key])

    return {"key": key, "on_change": changed}


def figure(
    chart: go.Figure,
    key: str,
    alt: str,
    table: pd.DataFrame,
    on_select: Callable[[], None] | None = None,
    modes: Sequence[Literal["points", "box"]] = ("points", "box"),
    config: dict[str, Any] | None = None,
    narrow: go.Figure | None = None,
) -> None:
    """A chart, with the table behind it, its CSV, and the choice of picture format.

    alt: what the chart shows, in words, for those who cannot see it. narrow: the same in another shape, which a phone
    shows instead.
    """
    session = state.session()
    settings = (
        CONFIG | {"toImageButtonOptions": {"format": session.format, "filename": key, "scale": 2}} | (config or {})
    )
    shapes = [("", key, chart)] if narrow is None else [("desk", key, chart), ("phone", key + NARROW, narrow)]
    for screen, name, shape in shapes:
        with st.container(key=f"{screen}-{key}") if screen else nullcontext():
            if on_select is None:
                st.plotly_chart(shape, key=name, alt=alt, config=settings)
            else:
                chosen = partial(_selected, name, on_select)
                st.plotly_chart(shape, key=name, alt=alt, config=settings, on_select=chosen, selection_mode=modes)
    with st.popover("Data", icon=":material/table:", type="tertiary", key=f"data-{key}"):
        st.dataframe(table, hide_index=True, key=f"table-{key}")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            st.download_button(
                "CSV",
                data=lambda: table.to_csv(index=False),
                file_name=f"{key}.csv",
                mime="text/csv",
                key=f"csv-{key}",
                icon=":material/download:",
                on_click="ignore",
            )
            st.segmented_control(
                "The chart's camera saves",
                ["png", "svg"],
                format_func=str.upper,
                required=True,
                **mirrored(f"format-{key}", session.format, lambda value: setattr(session, "format", value)),
            )


def _selected(name: str, on_select: Callable[[], None]) -> None:
    st.session_state[SELECTED_IN] = name
    on_select()


def metric(beside: Callable[[], None] = lambda: None) -> str:
    """Which measure of heads is in view: of what they lost, a score, or one of one's own. beside: draws what stands
    with them."""
    session = state.session()

    def choose(name: str | None) -> None:
        session.metric = name or session.metric  # Pressed once more, the measure in view stays in view.

    def switch(key: str, label: str, rows: dict[str, Score], about: str) -> None:
        st.segmented_control(
            label,
            list(rows),
            format_func=lambda name: rows[name].title,
            wrap=True,
            width="content",
            help=about,
            **mirrored(key, session.metric if session.metric in rows else None, choose),
        )

    def one_of_many(key: str, label: str, rows: dict[str, Score], about: str, placeholder: str) -> None:
        st.selectbox(
            label,
            list(rows),
            index=None,
            format_func=lambda name: rows[name].title,
            placeholder=placeholder,
            width=320,
            help=f"{about}\n\n{definitions(rows)}",
            **mirrored(key, session.metric if session.metric in rows else None, choose),
        )

    with st.container(horizontal=True, gap="medium", key="measures"):
        lost = captured()
        about = "How much is missing. That is not what is worth restoring."
        switch("metric", "What was lost", lost, f"{about}\n\n{definitions(lost)}")
        about = "Reasons to pick a head, each with what it costs to compute."
        one_of_many("score", "Which to restore", computed(), about, "Predicted, measured, probed …")
        about = "What attention does in the dense model, and how pruning changed it."
        one_of_many("closer", "What heads do", closer(), about, "Previous token, induction …")
        beside()
        own = {name: each.row for name, each in measures.own().items()}
        if own:
            switch("own", "Own", own, "Given as files, in this session alone.")
    return session.metric


def selected_points(key: str) -> list[tuple[int, ...]]:
    """`customdata` of the points that are selected in the chart of this key, such as (layer, head)."""
    narrow = st.session_state.get(SELECTED_IN) == key + NARROW
    chosen = st.session_state.get(key + NARROW if narrow else key)
    points = chosen["selection"]["points"] if chosen else []
    custom = [point["customdata"] for point in points if "customdata" in point]
    # Arrays travel packed, and what is picked from them comes back as {"0": …, "1": …}.
    return [tuple(int(v) for v in (data.values() if isinstance(data, dict) else data)) for data in custom]


def by_head(table: Tensor, name: str) -> pd.DataFrame:
    """One row a head: layer, head, and the value of `table` [layer, head] under `name`."""
    layers, heads = table.shape
    index = [(layer, head) for layer in range(layers) for head in range(heads)]
    return pd.DataFrame(index, columns=["layer", "head"]).assign(**{name: table.flatten().numpy()})
