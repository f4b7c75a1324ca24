"""Figures of one head's components, and of its activations in the dense and the pruned model."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from torch import Tensor

from restorelcc.capture.plane import Points, Projection

from ..values.colours import Colours
from ..values.verbatim import in_figure
from . import common
from .common import base, outline
from .kept import drawn_once


@drawn_once
def scree(energy: Tensor, picked: Collection[int], shown: int, colours: Colours) -> go.Figure:
    """Energy of every component, strongest first, and what they hold together. energy: [component], shares."""
    values = energy.double().numpy()
    index = np.arange(len(values))
    margin = {"l": 56, "r": 52, "t": 12, "b": 40}
    figure = base(270, clickmode="event+select", dragmode=False, bargap=0.18, margin=margin)
    figure.add_bar(
        x=index,
        y=values,
        customdata=index[:, None],
        marker={
            "color": [colours.restored if i in picked else colours.pruned for i in index],
            "line": {"width": [2.5 if i == shown else 0 for i in index], "color": colours.text},
        },
        selected={"marker": {"opacity": 1}},
        unselected={"marker": {"opacity": 1}},
        hovertemplate="component %{x}: %{y:.1%} of the lost energy<extra></extra>",
    )
    figure.add_scatter(
        x=index,
        y=np.cumsum(values),
        yaxis="y2",
        mode="lines",
        line={"color": colours.muted, "width": 1.5},
        hovertemplate="components 0 to %{x}: %{y:.1%}<extra></extra>",
    )
    figure.update_xaxes(title="component, strongest first", fixedrange=True)
    figure.update_layout(
        yaxis={"title": "share of lost energy", "tickformat": ".0%", "fixedrange": True, "rangemode": "tozero"},
        yaxis2={  # The page's theme colours the first axis alone.
            "title": {"text": "cumulative", "font": {"color": colours.muted}},
            "tickfont": {"color": colours.muted},
            "tickformat": ".0%",
            "overlaying": "y",
            "side": "right",
            "range": [0, 1.03],
            "dtick": 0.25,
            "showgrid": False,
            "fixedrange": True,
        },
    )
    return figure


@drawn_once
def effects(frame: pd.DataFrame, picked: Collection[int], shown: int, colours: Colours) -> go.Figure:
    """Predicted change of the loss by component, with its error, and what is measured as dots with theirs.

    frame: columns component, predicted, predicted_error, measured, measured_error; empty where not measured.
    """
    margin = {"l": 72, "r": 12, "t": 12, "b": 40}
    figure = base(250, clickmode="event+select", dragmode=False, bargap=0.18, margin=margin)
    index = frame["component"].to_numpy()
    figure.add_bar(
        x=index,
        y=frame["predicted"],
        customdata=index[:, None],
        name="predicted",
        error_y={"array": frame["predicted_error"], "thickness": 1, "width": 2, "color": colours.muted},
        marker={
            "color": [colours.restored if i in picked else colours.dense for i in index],
            "opacity": 0.75,
            "line": {"width": [2.5 if i == shown else 0 for i in index], "color": colours.text},
        },
        selected={"marker": {"opacity": 1}},
        unselected={"marker": {"opacity": 0.75}},
        hovertemplate="component %{x}: predicted %{y:.5f}<extra></extra>",
    )
    known = frame.dropna(subset=["measured"])
    figure.add_scatter(
        x=known["component"],
        y=known["measured"],
        mode="markers",
        name="measured",
        error_y={"array": known["measured_error"], "thickness": 1.2, "width": 3, "color": colours.text},
        marker={"size": 7, "color": colours.text, "symbol": "diamond"},
        hovertemplate="component %{x}: measured %{y:.5f}<extra></extra>",
    )
    figure.update_xaxes(title="component, strongest first", fixedrange=True)
    figure.update_yaxes(title="change of NLL, nats per token", fixedrange=True)
    figure.update_layout(showlegend=True, legend={"orientation": "h", "y": 1.12, "x": 0})
    return figure


@drawn_once
def alike(table: Tensor, layer: int, component: int, colours: Colours) -> go.Figure:
    """Cosines of one component, outlined, with those of the same head in every layer. table: [layer, component]."""
    values = table.double().numpy()
    figure = base(int(min(420, 22 * len(values) + 90)))
    figure.add_heatmap(
        z=values,
        colorscale=colours.diverging(),
        zmin=-1,
        zmax=1,
        xgap=1,
        ygap=1,
        colorbar={"title": {"text": "cosine", "side": "right"}, "thickness": 10},
        hovertemplate="layer %{y}, component %{x}: %{z:.2f}<extra></extra>",
    )
    outline(figure, x=component, y=layer, reach=0.5, width=2, colours=colours)
    figure.update_xaxes(title="component, strongest first", fixedrange=True, showgrid=False)
    figure.update_yaxes(title="layer", autorange="reversed", fixedrange=True, showgrid=False)
    return figure


@drawn_once
def differences(
    view: Projection, names: Sequence[str], picked: Collection[int], shown: int, colours: Colours
) -> go.Figure:
    """Sampled differences on their first two principal axes, with the directions of some components as lines.

    names: [sample], each token in its context.
    """
    figure = _plane(view)
    _cloud(figure, view.lost, names, colours.pruned, "lost")
    _mean(figure, view.lost, colours, "mean lost activation")
    _rays(figure, view, sorted({*range(min(3, len(view.directions))), *picked, shown}), picked, shown, colours)
    return figure


@drawn_once
def clouds(view: Projection, names: Sequence[str], colours: Colours) -> go.Figure:
    """What the head computes in the dense and in the pruned model, on the same axes."""
    figure = _plane(view)
    _cloud(figure, view.dense, names, colours.dense, "dense")
    _cloud(figure, view.pruned, names, colours.pruned, "pruned")
    figure.update_layout(showlegend=True, legend={"orientation": "h", "y": 1.08, "x": 0})
    return figure


def _plane(view: Projection) -> go.Figure:
    figure = base(400, dragmode="pan")
    first, second = view.explained
    figure.update_xaxes(title=f"axis 1 of the differences ({first:.0%} of variance)", zeroline=True)
    figure.update_yaxes(title=f"axis 2 ({second:.0%})", zeroline=True, scaleanchor="x")
    return figure


def _cloud(figure: go.Figure, points: Points, names: Sequence[str], colour: str, name: str) -> None:
    figure.add_trace(
        common.points(len(points))(
            x=points[:, 0],
            y=points[:, 1],
            mode="markers",
            name=name,
            text=[in_figure(name) for name in names],
            marker={"size": 6, "color": colour, "opacity": 0.55},
            hovertemplate="%{text}<br>(%{x:.2f}, %{y:.2f})<extra>" + name + "</extra>",
        )
    )


def _mean(figure: go.Figure, points: Points, colours: Colours, name: str) -> None:
    x, y = points.mean(0)
    figure.add_scatter(
        x=[x],
        y=[y],
        mode="markers",
        name=name,
        marker={"symbol": "x", "size": 11, "color": colours.text},
        hovertemplate=name + " (%{x:.2f}, %{y:.2f})<extra></extra>",
    )


def _rays(
    figure: go.Figure, view: Projection, which: Sequence[int], picked: Collection[int], shown: int, colours: Colours
) -> None:
    """Directions through the origin: a component is an axis, its sign is a convention."""
    reach = float(np.quantile(np.abs(view.lost), 0.98)) or 1.0
    for index in which:
        x, y = view.directions[index] * reach
        colour = colours.restored if index in picked else colours.muted
        figure.add_scatter(
            x=[-x, x],
            y=[-y, y],
            mode="lines+text",
            text=["", f"v{index}"],
            textposition="top center",
            textfont={"color": colour},
            line={"color": colour, "width": 3 if index == shown else 1.5},
            hovertemplate=f"component {index}; {np.hypot(*view.directions[index]):.0%} of it lies here<extra></extra>",
        )


@drawn_once
def words(
    promoted: Sequence[tuple[str, float]], suppressed: Sequence[tuple[str, float]], colours: Colours
) -> go.Figure:
    """Vocabulary that a component raises and lowers, with the change of the logit."""
    rows = [*promoted, *reversed(suppressed)]
    figure = base(19 * len(rows) + 60, bargap=0.2)
    names = [in_figure(word) for word, _ in rows]
    figure.add_bar(
        x=[value for _, value in rows],
        y=list(range(len(rows))),
        orientation="h",
        marker={"color": [colours.signed[0] if value > 0 else colours.signed[2] for _, value in rows]},
        customdata=names,
        hovertemplate="%{customdata}: %{x:+.3f}<extra></extra>",
    )
    figure.update_yaxes(
        tickvals=list(range(len(rows))), ticktext=names, autorange="reversed", fixedrange=True, tickfont={"size": 12}
    )
    figure.update_xaxes(title="change of the logit × RMS of the residual stream", fixedrange=True)
    figure.update_layout(margin={"l": 96, "r": 12, "t": 4, "b": 40})
    return figure
