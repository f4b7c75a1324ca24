"""Figures of a sweep: both shares of what is undone by learning rate, and by how much text was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, log10
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from restorelcc.restoration.choices import LOSSES
from restorelcc.restoration.sweep import Enough, Grid, Point

from ..values.colours import Colours
from .common import BELOW, LINES, SYMBOLS, base, palette
from .kept import drawn_once

PANEL, EDGES = 210, 140  # pixels: a row of panels, and what is around them
SHARES = {"recovered_share": ("share_stderr", "recovered share"), "nearer": ("nearer_stderr", "nearer to dense")}
"""By column: the column of its standard error, and what it is called."""


@drawn_once
def shares(frame: pd.DataFrame, grid: Grid, colours: Colours) -> go.Figure:
    """Both shares against the learning rate: a panel for every number of components (across), loss and share (down), a
    line for every share of heads, with the most text that the grid has. Without a row for how much nearer to the dense
    model it came where that is not known.

    frame: as `restoration.sweep.to_pandas` gives it; panels not yet trained stay empty.
    """
    counts = sorted(grid.components, key=lambda count: inf if count is None else count)
    written = [Point(1.0, count, 0.1, "kl").components_written for count in counts]
    done = frame[frame["text"] == max(grid.text)].dropna(subset=["recovered_share"])
    drawn = [share for share in SHARES if share == "recovered_share" or done[share].notna().any()]
    rows = [(loss, share) for loss in grid.loss for share in drawn]
    figure = make_subplots(
        rows=len(rows),
        cols=len(written),
        shared_xaxes="all",
        shared_yaxes="all",
        horizontal_spacing=0.02,
        vertical_spacing=0.36 / (len(rows) + 1),
        subplot_titles=[_title(count, loss) for loss, _ in rows for count in written],
    )
    figure.update_layout(base(PANEL * len(rows) + EDGES).layout)
    figure.update_annotations(font={"size": 13, "color": colours.text})
    low, high = _reach(done)
    for row, (loss, what) in enumerate(rows, start=1):
        for column, count in enumerate(written, start=1):
            panel = done[(done["loss"] == loss) & (done["components"] == count)]
            for index, share in enumerate(sorted(grid.heads)):
                points = panel[panel["heads"] == share].sort_values("lr")
                figure.add_trace(_line(points, what, share, index, row == column == 1, colours), row=row, col=column)
            _levels(figure, row, column, high, colours)
        figure.update_yaxes(title=SHARES[what][1], row=row, col=1)
    figure.update_xaxes(
        type="log", tickvals=grid.lr, ticktext=[f"{rate:g}" for rate in grid.lr], fixedrange=True, range=_ends(grid.lr)
    )
    figure.update_xaxes(title="peak learning rate", row=len(rows))
    figure.update_yaxes(tickformat=".0%", range=[low, high], fixedrange=True, zeroline=False)
    title = {"text": "share of the heads", "font": {"size": 12}}
    figure.update_layout(showlegend=True, legend=BELOW | {"title": title}, margin={"t": 48, "l": 64, "b": 84})
    return figure


def _levels(figure: go.Figure, row: int, column: int, high: float, colours: Colours) -> None:
    """The pruned and the dense model's share in a panel; a level above its highest value is named at its top."""
    for name, level in (("pruned", 0.0), ("dense", 1.0)):
        inside, colour = level <= high, getattr(colours, name)
        if inside:
            figure.add_hline(y=level, row=row, col=column, line={"color": colour, "width": 1.5, "dash": "dash"})
        figure.add_annotation(
            text=name if inside else f"{name}, {level:.0%} ↑", showarrow=False, font={"color": colour, "size": 12},
            x=0.01, xref="x domain", xanchor="left", y=min(level, high), yanchor="bottom" if inside else "top",
            row=row, col=column,
        )  # fmt: skip


@drawn_once
def parallel(frame: pd.DataFrame, colours: Colours) -> go.Figure:
    """A line for every point over its settings and what it came to, coloured by how much nearer to the dense model it
    came, or where that is not known by the recovered share. frame: as `restoration.sweep.to_pandas` gives it."""
    done = frame.dropna(subset=["recovered_share"])
    figure = base(320)
    axes = [_axis(done, name, label) for name, label in AXES.items() if name in SHARES or done[name].nunique() > 1]
    judged = done["nearer"] if done["nearer"].notna().all() else done["recovered_share"]
    scale = [[0, colours.pruned], [1, colours.restored]]
    figure.add_trace(
        go.Parcoords(
            dimensions=[axis for axis in axes if axis],
            line={"color": judged, "colorscale": scale},
            labelfont={"color": colours.text},
            tickfont={"color": colours.text},
            rangefont={"color": colours.text},
        )
    )
    return figure.update_layout(margin={"l": 56, "r": 56, "t": 56, "b": 24})


AXES = {"loss": "loss", "heads": "heads", "components": "components", "lr": "rate", "text": "text",
        "trained_parameters": "parameters", "recovered_share": "recovered", "nearer": "nearer"}  # fmt: skip
"""Columns of a sweep as axes, in order."""


def _axis(done: pd.DataFrame, name: str, label: str) -> dict[str, Any]:
    """One axis: numbers by size, rates by their logarithm, names and shares tried in their order; empty where there is
    nothing on it."""
    column = done[name]
    if name in SHARES:
        return {"label": label, "values": column, "tickformat": ".0%"} if column.notna().all() else {}
    if name == "trained_parameters":
        return {"label": label, "values": column, "tickformat": ",.2s"}
    places = sorted(column.unique(), key=lambda value: float(value) if _is_number(value) else inf)
    return {
        "label": label,
        "values": [places.index(value) for value in column],
        "tickvals": list(range(len(places))),
        "ticktext": [f"{value:g}" if isinstance(value, float) else str(value) for value in places],
    }


def _is_number(value: object) -> bool:
    return str(value).replace(".", "", 1).replace("e-", "", 1).isdigit()


@drawn_once
def amounts(curves: Sequence[Enough], names: Sequence[str], colours: Colours) -> go.Figure:
    """Both shares against the tokens trained on, a line each a setting; a ring marks where they suffice."""
    figure = base(340)
    lines = [
        (index, curve, f"{name}, {LOSSES[curve.least.point.loss].short}", nearer)
        for index, (curve, name) in enumerate(zip(curves, names, strict=True))
        for nearer in (False, True)
    ]
    for index, curve, name, nearer in lines:
        colour = palette(colours)[index % len(palette(colours))]
        shares = [result.judged.nearer if nearer else result.judged.recovered for result in curve.results]
        if nearer and not any(share.known for share in shares):
            continue
        what = SHARES["nearer" if nearer else "recovered_share"][1]
        figure.add_scatter(
            x=[result.tokens for result in curve.results],
            y=[share.value for share in shares],
            error_y={"array": [share.stderr for share in shares], "thickness": 1, "width": 3},
            name=f"{name}: nearer" if nearer else name,
            mode="lines+markers",
            line={"color": colour, "width": 1 if nearer else 2, "dash": "dot" if nearer else LINES[index % len(LINES)]},
            marker={
                "size": [14 if result is curve.least else 8 for result in curve.results],
                "color": colour,
                "symbol": ["circle-open" if result is curve.least else "circle" for result in curve.results],
                "line": {"width": 2},
            },
            customdata=[
                [share.stderr, result.judged.restored.value]
                for share, result in zip(shares, curve.results, strict=True)
            ],
            hovertemplate="%{x:,} tokens<br>" + what + " %{y:.1%} ± %{customdata[0]:.1%}"
            "<br>perplexity %{customdata[1]:.3f}<extra></extra>",
        )
    places = sorted({result.tokens for curve in curves for result in curve.results})
    figure.update_xaxes(
        title="tokens trained on", type="log", tickvals=places, ticktext=[f"{tokens:,}" for tokens in places],
        fixedrange=True,
    )  # fmt: skip
    figure.update_yaxes(title="share undone", tickformat=".0%", fixedrange=True, zeroline=True)
    return figure.update_layout(showlegend=True, legend=BELOW, margin={"l": 64, "b": 84})


def percent(share: float) -> str:
    """25%, 12.5%."""
    return f"{100 * share:.3g}%"


def number(components: str) -> str:
    """1 component, 4 components, all components."""
    return "1 component" if components == "1" else f"{components} components"


def _title(count: str, loss: str) -> str:
    return f"{number(count)}<br>{LOSSES[loss].short}"  # two lines, for phones


def _line(points: pd.DataFrame, what: str, share: float, index: int, named: bool, colours: Colours) -> go.Scatter:
    """One of `SHARES` by rate, of a share of the heads."""
    error, name = SHARES[what]
    colour = palette(colours)[index % len(palette(colours))]
    return go.Scatter(
        x=points["lr"],
        y=points[what],
        name=percent(share),
        legendgroup=f"{share}",
        showlegend=named,
        mode="lines+markers",
        line={"color": colour, "width": 2, "dash": LINES[index % len(LINES)]},
        marker={"size": 8, "color": colour, "symbol": SYMBOLS[index % len(SYMBOLS)]},
        error_y={"array": points[error], "thickness": 1, "width": 3},
        customdata=points[[error, "perplexity", "trained_parameters"]].to_numpy(),
        hovertemplate="%{fullData.name} of the heads, rate %{x:g}<br>" + name + " %{y:.1%} ± %{customdata[0]:.1%}"
        "<br>perplexity %{customdata[1]:.3f}, %{customdata[2]:,} parameters<extra></extra>",
    )


def _reach(done: pd.DataFrame) -> tuple[float, float]:
    """(lowest, highest) share on the axis: 0, every point with its error, and the dense 1 where that is near."""
    if done.empty:
        return -0.1, 1.1
    ends = [done[share] + side * done[error] for share, (error, _) in SHARES.items() for side in (-1, 1)]
    low, high = (edge(0.0, *(end for part in ends for end in part.dropna())) for edge in (min, max))
    high = max(high, 1.0) if high > 0.5 else high
    room = 0.1 * (high - low) or 0.1
    return low - room, high + room


def _ends(rates: Sequence[float]) -> list[float]:
    """(lowest, highest) log10 on a logarithmic axis of rates, with some room."""
    low, high = log10(min(rates)), log10(max(rates))
    room = max(0.12 * (high - low), 0.1)
    return [low - room, high + room]
