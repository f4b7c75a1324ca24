"""Both shares of what pruning did that is undone, side by side: recovered, and nearer to the dense model."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd
import plotly.graph_objects as go

from ...values.colours import Colours
from ...values.words import percent
from ..common import BELOW, base
from ..kept import drawn_once

SHARES = {"recovered_share": ("recovered", "share_stderr"), "nearer": ("nearer to dense", "nearer_stderr")}
"""By column: (name in the legend, column of the standard error)."""


@drawn_once
def bars(frame: pd.DataFrame, colours: Colours, marked: Collection[str] = ()) -> go.Figure:
    """Two bars a row, in the order given; `marked` ones stand out. frame: columns name, and those of `SHARES`."""
    figure = base(46 * len(frame) + 96, margin={"l": 10, "r": 44, "t": 8, "b": 72}, bargap=0.3, bargroupgap=0.05)
    colour = [colours.restored if name in marked else colours.muted for name in frame["name"]]
    for column, (label, error) in SHARES.items():
        figure.add_bar(
            x=frame[column],
            y=frame["name"],
            orientation="h",
            name=label,
            marker={"color": colour, "pattern": {"shape": "/" if column == "nearer" else ""}},
            error_x={"array": frame[error], "thickness": 1.2, "color": colours.text},
            customdata=frame[error],
            hovertemplate="%{y}<br>" + label + " %{x:.1%} ± %{customdata:.1%}<extra></extra>",
            offsetgroup=column,
            legendgroup=column,
        )
        # Beside the bars rather than in them: a short bar has no room, and lines of error would lie on the figures.
        figure.add_scatter(
            x=(frame[column] + frame[error].fillna(0.0)).clip(lower=0.0),
            y=frame["name"],
            mode="text",
            orientation="h",
            text=[f" {percent(value)}" if value == value else " unknown" for value in frame[column]],
            textposition="middle right",
            cliponaxis=False,
            hoverinfo="skip",
            showlegend=False,
            offsetgroup=column,
        )
    figure.update_layout(
        scattermode="group",
        scattergap=0.3,
        showlegend=True,
        legend=BELOW,
    )
    figure.update_yaxes(autorange="reversed", fixedrange=True, automargin=True)
    figure.update_xaxes(title="share undone", tickformat=".0%", tickangle=0, fixedrange=True, nticks=4)
    return figure
