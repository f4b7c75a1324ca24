"""Two maps of the same heads side by side: one scale, one head in view; where the mouse rests, both values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import pandas as pd
import streamlit as st
from torch import Tensor

from restorelcc.inspection.beside import Beside
from restorelcc.selection.scores import Measure

from ....charts.closer.still import on_one_scale
from ....charts.head_map import head_maps
from ....session import state
from ....values.colours import colours
from ....values.verbatim import in_figure, in_markdown
from ....values.words import signed
from ....widgets import controls


@dataclass(frozen=True)
class Side:
    """One of the two."""

    key: str
    """Of its chart, after `map-`."""
    name: str
    """What it is called, as it is: letter by letter."""
    table: Tensor
    """[layer, head]"""
    title: str = ""
    """As Markdown, where it is more than the name."""


def maps(measure: Measure, first: Side, second: Side) -> None:
    """Map beside map; on a phone one above the other."""
    both = Beside(first.table.double(), second.table.double())
    for column, side in zip(st.columns(2, gap="medium"), (first, second), strict=True):
        with column:
            title = side.title or in_markdown(side.name)
            st.markdown(f"**{title}**: {measure.title.lower()}, mean {float(side.table.nanmean()):.3f}")
            one(measure, side, both, (first.name, second.name), scaled=(first.table, second.table))


def one(measure: Measure, side: Side, both: Beside, names: tuple[str, str], scaled: tuple[Tensor, ...] = ()) -> None:
    """One map; a click looks at its head. scaled: tables whose colours it shares."""
    session, theme = state.session(), colours(state.dark())
    wide, narrow = head_maps(
        side.table, measure, theme, state.picks().by_head(), session.head, more=_lines(both, names)
    )
    if scaled:
        wide = on_one_scale(wide, scaled, measure, theme)
        narrow = None if narrow is None else on_one_scale(narrow, scaled, measure, theme)
    controls.figure(
        wide,
        f"map-{side.key}",
        f"Map of {measure.title.lower()} by layer and head, {side.name}; mean {float(side.table.nanmean()):.3f}.",
        frame(both, names),
        on_select=partial(_selected, f"map-{side.key}"),
        modes=("points",),
        narrow=narrow,
    )


def frame(both: Beside, names: tuple[str, str]) -> pd.DataFrame:
    """One row a head: layer, head, both values under their names, and the difference."""
    table = controls.by_head(both.first, names[0])
    return table.assign(**{names[1]: both.second.flatten().numpy(), "difference": both.difference.flatten().numpy()})


def _lines(both: Beside, names: tuple[str, str]) -> list[str]:
    """Of every head, layer by layer: both values and their difference."""
    first, second = map(in_figure, names)
    rows = zip(both.first.flatten().tolist(), both.second.flatten().tolist(), strict=True)
    return [f"{first} {a:.4g}, {second} {b:.4g}<br>difference {signed(b - a)}" for a, b in rows]


def _selected(key: str) -> None:
    points = controls.selected_points(key)
    if points:
        state.look_at((points[0][0], points[0][1]))
