"""The map of all heads by layer, whole on one screen however many there are; also drawn by other pages than Heads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from torch import Tensor

from restorelcc.selection.scores import Measure

from ..values.colours import Colours
from ..values.picks import Head
from .common import base, outline, points, ticks
from .kept import drawn_once

AROUND = 70
"""Pixels of a map's height that are not its cells."""
DESK, PHONE = (640, 510), (270, 600)
"""(width of the cells as it usually is, most height of all) in pixels, of a column at a desk and of a phone."""


def lies_across(shape: tuple[int, int]) -> bool:
    """Whether layers are drawn from left to right at a desk, which is wider than high. shape: (layers, heads)."""
    return shape[0] > shape[1]


def turns_on_a_phone(shape: tuple[int, int]) -> bool:
    """Whether cells are so much larger with layers from top to bottom on a phone that it gets a map of its own."""
    return shape[0] > 1.25 * shape[1]


@drawn_once
def head_map(
    table: Tensor,
    measure: Measure,
    colours: Colours,
    picked: dict[Head, int] | None = None,
    selected: Head | None = None,
    height: int | None = None,
    box: bool = False,
    narrow: bool = False,
    more: Sequence[str] = (),
) -> go.Figure:
    """Layer × head as cells that fill the figure; selecting gives points with (layer, head) as customdata.

    table: [layer, head], NaN where nothing is known yet. picked: components picked of each head, drawn as a dot.
    box: the mouse draws a box; Plotly then takes no clicks on cells, so the two are apart. narrow: for a phone. more: a
    line each that is said of the heads beside their value, layer by layer; none where it is empty.
    """
    values = table.detach().double().numpy()
    across = lies_across(values.shape) and not (narrow and turns_on_a_phone(values.shape))
    rows, columns = values.shape[::-1] if across else values.shape
    width, most = PHONE if narrow else DESK
    wide = width / columns
    height = height or int(min(most, max(280, rows * min(46.0, max(18.0, 1.6 * wide)) + AROUND)))
    size = max(3.0, min(22.0, wide - 1, (height - AROUND) / rows - 1))
    figure = base(height, dragmode="select" if box else False, clickmode="event+select", hoverdistance=40)
    _cells(figure, values.T if across else values, measure, colours, size, narrow)
    _points_to_select(figure, values, measure, colours, across, size, more)
    if picked:
        _dots(figure, list(picked), colours, across, size)
    if selected is not None:
        x, y = selected if across else selected[::-1]
        outline(figure, x=x, y=y, reach=0.48, width=3 if size > 9 else 2, colours=colours)
    _axes(figure, (rows, columns), across, narrow)
    return figure


def head_maps(
    table: Tensor,
    measure: Measure,
    colours: Colours,
    picked: dict[Head, int] | None = None,
    selected: Head | None = None,
    box: bool = False,
    more: Sequence[str] = (),
) -> tuple[go.Figure, go.Figure | None]:
    """`head_map` for a desk, and for a phone where it lies otherwise there."""

    def drawn(narrow: bool) -> go.Figure:
        return head_map(table, measure, colours, picked, selected, box=box, narrow=narrow, more=more)

    layers, heads = table.shape
    return drawn(False), drawn(True) if turns_on_a_phone((layers, heads)) else None


def _axes(figure: go.Figure, shape: tuple[int, int], across: bool, narrow: bool) -> None:
    """shape: (rows, columns) of cells as they are drawn."""
    rows, columns = shape
    down, along = ("head", "layer") if across else ("layer", "head")
    axis = {"zeroline": False, "showgrid": False, "fixedrange": True}
    figure.update_xaxes(title=along, range=[-0.5, columns - 0.5], tickvals=ticks(columns), **axis)
    figure.update_yaxes(title=down, range=[rows - 0.5, -0.5], tickvals=ticks(rows), **axis)
    if narrow:
        figure.update_layout(margin={"l": 38, "r": 6, "t": 46, "b": 36})


def _cells(
    figure: go.Figure, values: np.ndarray, measure: Measure, colours: Colours, size: float, narrow: bool
) -> None:
    """values: [row, column] as drawn. size: of a cell's shorter side, in pixels."""
    scale, low, high = shades(values, measure, colours)
    bar = {"title": {"text": measure.unit, "side": "right"}, "thickness": 10, "len": 0.9, "x": 1.01}
    if narrow:  # Beside the map it would take a fifth of the width.
        bar = {"title": {"text": measure.unit, "side": "top"}, "thickness": 8, "len": 1, "orientation": "h"}
        bar |= {"x": 0.5, "y": 1.0, "yanchor": "bottom", "nticks": 4, "ypad": 2}
    gap = 2 if size > 12 else 1 if size > 6 else 0
    figure.add_heatmap(
        z=values, xgap=gap, ygap=gap, colorscale=scale, zmin=low, zmax=high, colorbar=bar, hoverinfo="skip"
    )


def _points_to_select(
    figure: go.Figure,
    values: np.ndarray,
    measure: Measure,
    colours: Colours,
    across: bool,
    size: float,
    more: Sequence[str] = (),
) -> None:
    """An invisible point in every cell is what the mouse meets: heat maps report no selection."""
    layer, head = (index.ravel() for index in np.indices(values.shape))
    says = ["not known" if np.isnan(value) else f"{value:.4g}" for value in values.ravel()]
    if more:
        says = [f"{value}<br>{line}" for value, line in zip(says, more, strict=True)]
    figure.add_trace(
        points(values.size)(
            x=layer if across else head,
            y=head if across else layer,
            mode="markers",
            customdata=np.stack([layer, head], axis=1),
            text=says,
            # No larger than a cell: of points that overlap the mouse meets the first, whichever is nearer.
            marker={"symbol": "square", "size": size, "color": colours.text, "opacity": 0},
            selected={"marker": {"opacity": 0}},
            unselected={"marker": {"opacity": 0}},
            hovertemplate="layer %{customdata[0]}, head %{customdata[1]}<br>"
            + measure.title
            + " %{text}<extra></extra>",
        )
    )


def _dots(figure: go.Figure, heads: Sequence[Head], colours: Colours, across: bool, size: float) -> None:
    """Mark heads of which something is picked."""
    places = heads if across else [(head, layer) for layer, head in heads]
    dot = {"symbol": "circle", "size": max(4.0, min(9.0, 0.6 * size)), "color": colours.restored}
    line = {"width": 1.5 if size > 12 else 0.5, "color": colours.paper}
    figure.add_trace(
        points(len(heads))(
            x=[x for x, _ in places],
            y=[y for _, y in places],
            mode="markers",
            marker=dot | {"line": line},
            hoverinfo="skip",
        )
    )


def shades(values: np.ndarray, measure: Measure, colours: Colours) -> tuple[list[list[object]], float, float]:
    """(colour scale, its lowest and its highest value) that fit what a measure is."""
    known = values[np.isfinite(values)]
    most = float(np.abs(known).max(initial=0.0)) or 1.0
    if measure.scale == "change":
        return colours.diverging(), -most, most
    if measure.scale == "plain" and len(known):
        return colours.plain(), float(known.min()), float(known.max())
    return colours.scale(), 0.0, most
