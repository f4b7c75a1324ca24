"""What all figures share: an empty one with our margins, ticks, line styles, colours. No screen in here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from ..values.colours import LIGHT, Colours
from ..values.words import count

# All runs are restorations, so the first is in the restored green; the others stay clear of dense's blue and pruned's
# orange, and differ in dash as well, for those who cannot tell the colours apart.
LINES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
OTHERS_LIGHT = ("#7a4bb0", "#8a6a00", "#b5347c", "#4f5b66", "#8c4a2f")
OTHERS_DARK = ("#b795ee", "#d8ba45", "#f082bb", "#aab4be", "#d3a084")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star")
# At the foot of the figure: below the axis title however narrow the screen and many the lines.
BELOW = {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0}


def base(height: int, **layout: object) -> go.Figure:
    """An empty figure with our margins; its colours come from the page's theme."""
    figure = go.Figure()
    figure.update_layout(
        height=height,
        margin={"l": 48, "r": 12, "t": 12, "b": 40},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        showlegend=False,
        hoverlabel={"align": "left"},
    )
    return figure.update_layout(**layout)


MANY = 3_000
"""Points in a figure from which on the browser takes seconds to draw them one by one."""


def points(count: int) -> Callable[..., Any]:
    """The kind of trace that draws so many points: past `MANY` the graphics card does."""
    kind: Callable[..., Any] = go.Scattergl if count > MANY else go.Scatter
    return kind


def outline(figure: go.Figure, x: float, y: float, reach: float, width: float, colours: Colours) -> None:
    """A frame around the cell of a map at (x, y). reach: from its middle to each side, in cells."""
    line = {"width": width, "color": colours.text}
    figure.add_shape(type="rect", x0=x - reach, x1=x + reach, y0=y - reach, y1=y + reach, line=line)


def ticks(count: int) -> list[int]:
    """At most about eight places on an axis of `count` layers or heads."""
    return list(range(0, count, max(1, count // 8)))


def faint(colour: str, alpha: float = 0.18) -> str:
    """A colour, mostly transparent, as CSS and Plotly read it."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def palette(colours: Colours) -> tuple[str, ...]:
    """Colours of lines that are told apart in one figure; the first is the restored model's."""
    return (colours.restored, *(OTHERS_LIGHT if colours is LIGHT else OTHERS_DARK))


def logarithmic(values: Iterable[float]) -> dict[str, Any]:
    """Range and ticks of a logarithmic axis."""
    exponents = [math.log10(value) for value in values if not pd.isna(value) and value > 0]
    if not exponents:
        return {}
    low, high = min(exponents) - 0.25, max(exponents) + 0.25
    ticks = within_decades(low, high)
    return {"range": [low, high], "tickvals": ticks, "ticktext": [count(tick) for tick in ticks]}


def within_decades(low: float, high: float) -> list[float]:
    """Ticks of a logarithmic axis between two powers of ten: 1, 2 and 5 of each, or 1 alone where there are many."""
    decades = range(math.floor(low), math.ceil(high))
    return [step * 10.0**decade for decade in decades for step in ((1, 2, 5) if high - low < 2 else (1,))]
