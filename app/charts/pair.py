"""The figure of the Pair page: where the zeros are."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from ..values.colours import Colours
from ..values.verbatim import in_figure
from .common import base, ticks
from .kept import drawn_once


@drawn_once
def sparsity_map(frame: pd.DataFrame, colours: Colours) -> go.Figure:
    """Share of zeros by layer and matrix; frame as `SparsityReport.to_pandas` gives it."""
    table = frame.pivot(index="layer", columns="matrix", values="sparsity")[list(dict.fromkeys(frame["matrix"]))]
    patterns = frame.pivot(index="layer", columns="matrix", values="pattern")[table.columns]
    figure = base(int(min(760, 34 * len(table) + 110)))
    figure.add_heatmap(
        z=table.to_numpy(),
        x=[in_figure(name.rpartition(".")[2]) for name in table.columns],
        y=list(table.index),
        customdata=patterns.to_numpy(),
        xgap=2,
        ygap=2,
        colorscale=colours.scale(),
        zmin=0.0,
        zmax=1.0,
        colorbar={"title": {"text": "share of zeros", "side": "right"}, "thickness": 10, "tickformat": ".0%"},
        hovertemplate="layer %{y}, %{x}<br>%{z:.2%} zero %{customdata}<extra></extra>",
    )
    figure.update_xaxes(title="weight matrix", fixedrange=True, showgrid=False)
    figure.update_yaxes(
        title="layer", autorange="reversed", fixedrange=True, showgrid=False, tickvals=ticks(len(table))
    )
    return figure
