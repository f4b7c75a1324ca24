"""What methods, and a person's runs, undo of pruning, against what they cost."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ...values.colours import Colours
from ...values.verbatim import in_figure, shortened
from ..common import BELOW, base, logarithmic, palette
from ..kept import drawn_once

COSTS = {"trained": "numbers trained or solved for", "seconds": "seconds"}
"""By column: the title of its axis."""
GROUPS = {
    ("ours", True): "ours, zeros kept",
    ("others", True): "others, zeros kept",
    ("ours", False): "ours, zeros filled",
    ("others", False): "others, zeros filled",
    ("run", True): "your runs",
}
"""By (whose, whether every zero is left once all is in the weights): what the legend says."""
HEIGHT, PANEL, NARROW = 430, 560, 270  # pixels; widths are about those of a panel at a desk and on a phone
LETTER, LINE = 6.4, 14  # pixels of a name's letters
SIDES = {
    "middle right": (0.5, 0), "middle left": (-0.5, 0), "top center": (0, 1), "bottom center": (0, -1),
    "top right": (0.5, 1), "bottom right": (0.5, -1), "top left": (-0.5, 1), "bottom left": (-0.5, -1),
}  # fmt: skip
"""Where a name may stand: its middle, from its point, in its own widths and in lines."""
LONGEST = 40  # letters of a run's name


@drawn_once
def against_cost(frame: pd.DataFrame, title: str, colours: Colours, narrow: bool = False) -> go.Figure:
    """A share with its standard error against both of `COSTS`, on logarithmic axes; the mark's shape says whether every
    zero is kept.

    frame: columns name, whose (of `GROUPS`), share, error (NaN where not known), trained, seconds, kept (bool). narrow:
    one panel below the other, for a phone.
    """
    across = (2, 1) if narrow else (1, 2)
    figure = make_subplots(*across, shared_yaxes="all", horizontal_spacing=0.03, vertical_spacing=0.14)
    figure.update_layout(base(HEIGHT * (2 if narrow else 1)).layout)
    low, high = _reach(frame)
    width = NARROW if narrow else PANEL
    for index, (cost, axis) in enumerate(COSTS.items(), start=1):
        place = {"row": index if narrow else 1, "col": 1 if narrow else index}
        drawn = frame[frame[cost] > 0].reset_index(drop=True)
        ends = logarithmic(drawn[cost])
        sides = _sides(drawn, cost, ends.get("range", [0, 1]), (low, high), width)
        for (whose, kept), legend in GROUPS.items():
            some = drawn.index[(drawn["whose"] == whose) & (drawn["kept"] == kept)]
            if len(some):
                trace = _points(drawn.loc[some], cost, [sides[each] for each in some], whose, kept, legend, colours)
                figure.add_trace(trace.update(showlegend=index == 1), **place)
        figure.update_xaxes(title=f"{axis}, logarithmic", type="log", fixedrange=True, **ends, **place)
        _levels(figure, high, colours, **place)
        if narrow or index == 1:
            figure.update_yaxes(title=title, **place)
    figure.update_yaxes(tickformat=".0%", range=[low, high], fixedrange=True, zeroline=False)
    return figure.update_layout(showlegend=True, legend=BELOW, margin={"l": 60, "b": 96})


def _points(
    some: pd.DataFrame, cost: str, sides: Sequence[str], whose: str, kept: bool, legend: str, colours: Colours
) -> go.Scatter:
    """Of one of `GROUPS`. Names of runs show under the mouse: there may be many."""
    colour = palette(colours)[1] if whose == "others" else colours.restored
    names = [in_figure(shortened(name, LONGEST)) for name in some["name"]]
    return go.Scatter(
        x=some[cost],
        y=some["share"],
        error_y={"array": some["error"], "thickness": 1.2, "width": 4, "color": colour},
        name=legend,
        legendgroup=legend,
        mode="markers" if whose == "run" else "markers+text",
        text=[f"\u00a0{name}\u00a0" for name in names],  # Off the mark, on whichever side.
        textposition=list(sides),
        textfont={"color": colours.text, "size": 11},
        cliponaxis=False,
        marker={
            "size": 13 if whose == "run" else 10,
            "color": colour,
            "symbol": "star" if whose == "run" else "circle" if kept else "diamond-open",
            "line": {"width": 2, "color": colours.paper if kept else colour},
        },
        customdata=some[["error", "trained", "seconds"]].to_numpy(),
        hovertemplate="%{text}<br>%{y:.1%} ± %{customdata[0]:.1%}<br>%{customdata[1]:,} numbers, "
        "%{customdata[2]:.0f} s<extra>" + legend + "</extra>",
    )


def _reach(frame: pd.DataFrame) -> tuple[float, float]:
    """(lowest, highest) share on the axis: 0, every point with its error, and the dense 1 where that is near."""
    errors = frame["error"].fillna(0.0)
    low, high = (edge(0.0, *(frame["share"] + side * errors)) for edge, side in ((min, -1), (max, 1)))
    high = max(high, 1.0) if high > 0.75 else high
    room = 0.08 * (high - low) or 0.1
    return low - room, high + room


def _levels(figure: go.Figure, high: float, colours: Colours, row: int, col: int) -> None:
    """The pruned and the dense model's share; a level above the highest value is named at the top."""
    for name, level in (("pruned", 0.0), ("dense", 1.0)):
        inside, colour = level <= high, getattr(colours, name)
        if inside:
            figure.add_hline(y=level, row=row, col=col, line={"color": colour, "width": 1.5, "dash": "dash"})
        figure.add_annotation(
            text=name if inside else f"{name}, {level:.0%} ↑", showarrow=False, font={"color": colour, "size": 12},
            x=0.01, xref="x domain", xanchor="left", y=min(level, high), yanchor="bottom" if inside else "top",
            row=row, col=col,
        )  # fmt: skip


def _sides(
    drawn: pd.DataFrame, cost: str, ends: Sequence[float], reach: tuple[float, float], width: float
) -> list[str]:
    """On which side of its point each name stands, so that they cover each other, points and error bars least: one
    after the other, lowest share first. Pixels are about right, which is enough."""
    height = HEIGHT - 110
    x = [(math.log10(value) - ends[0]) / (ends[1] - ends[0]) * width for value in drawn[cost]]
    y = [(value - reach[0]) / (reach[1] - reach[0]) * height for value in drawn["share"]]
    points = [(a - 7, b - 7, a + 7, b + 7) for a, b in zip(x, y, strict=True)]
    taken: list[tuple[float, float, float, float]] = []
    sides = ["middle right"] * len(drawn)
    for index in sorted(range(len(drawn)), key=lambda each: y[each]):
        if drawn["whose"][index] == "run":
            continue
        wide, tried = LETTER * len(drawn["name"][index]), []
        for side, (across, up) in SIDES.items():
            a = x[index] + across * (wide + 18)
            b = y[index] + up * LINE
            box = (a - wide / 2, b - LINE / 2, a + wide / 2, b + LINE / 2)
            others = [*taken, *points[:index], *points[index + 1 :]]
            beyond = max(0.0, -box[0]) + max(0.0, box[2] - width)
            cut = 3 * LINE * beyond  # A name that is cut reads worse than two that touch.
            tried.append((cut + sum(_common(box, other) for other in others), side, box))
        _, sides[index], box = min(tried, key=lambda each: each[0])
        taken.append(box)
    return sides


def _common(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Area of what two boxes (left, bottom, right, top) cover both."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
