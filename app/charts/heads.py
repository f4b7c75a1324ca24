"""Figures of heads: the ranking, the profile by layer, two measures of each, one head's spread and attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from torch import Tensor

from restorelcc.inspection.beside import rank_correlation
from restorelcc.selection.scores import Measure

from ..values.colours import Colours
from ..values.picks import Head
from ..values.verbatim import in_figure
from ..values.words import head_name
from .common import base, faint, points, ticks, within_decades
from .head_map import shades
from .kept import drawn_once


@drawn_once
def ranking(
    table: Tensor,
    measure: Measure,
    colours: Colours,
    selected: Head | None,
    errors: Tensor | None = None,
    most: int = 14,
) -> go.Figure:
    """The heads to look at first by a measure, in order. errors: [layer, head] standard errors, drawn where known."""
    heads = ranked(table, measure)[:most]
    values = np.array([float(table[head]) for head in heads])
    scale, low, high = shades(table.double().numpy(), measure, colours)
    figure = base(26 * len(heads) + 56)
    figure.add_bar(
        x=values,
        y=[head_name(head) for head in heads],
        orientation="h",
        customdata=heads,
        error_x=None if errors is None else {"array": [float(errors[head]) for head in heads], "thickness": 1.2},
        marker={
            "color": values,
            "colorscale": scale,
            "cmin": low,
            "cmax": high,
            "line": {"width": [2 if head == selected else 0 for head in heads], "color": colours.text},
        },
        selected={"marker": {"opacity": 1}},
        unselected={"marker": {"opacity": 1}},
        hovertemplate="%{y}<br>%{x:.4g}<extra></extra>",
    )
    figure.update_yaxes(autorange="reversed", fixedrange=True)
    figure.update_xaxes(
        title=measure.unit, fixedrange=True, rangemode="normal" if measure.scale == "plain" else "tozero"
    )
    figure.update_layout(bargap=0.25, clickmode="event+select", dragmode=False)
    return figure


def ranked(table: Tensor, measure: Measure) -> list[Head]:
    """Heads in the order in which a measure has them looked at; without those of which nothing is known yet."""
    heads = table.shape[1]
    order = table.flatten().argsort(descending=not measure.lowest_first, stable=True).tolist()
    return [divmod(index, heads) for index in order if bool(table.flatten()[index].isfinite())]


@drawn_once
def profile(table: Tensor, measure: Measure, colours: Colours) -> go.Figure:
    """Mean over the heads of each layer, with the range from the lowest to the highest."""
    values = table.numpy()
    layers = np.arange(len(values))
    figure = base(210)
    if np.isnan(values).any():  # Layers of which something is not known yet have no mean.
        layers = layers[~np.isnan(values).any(1)]
        values = values[layers]
    low, high = values.min(1), values.max(1)
    figure.add_scatter(
        x=np.concatenate([layers, layers[::-1]]),
        y=np.concatenate([high, low[::-1]]),
        fill="toself",
        mode="lines",
        line={"width": 0},
        fillcolor=faint(colours.pruned),
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=layers,
        y=values.mean(1),
        mode="lines+markers",
        line={"color": colours.pruned, "width": 2},
        marker={"size": 6},
        customdata=np.stack([low, high], axis=1),
        hovertemplate="layer %{x}<br>mean %{y:.4g}, %{customdata[0]:.4g} to %{customdata[1]:.4g}<extra></extra>",
    )
    figure.update_xaxes(title="layer", fixedrange=True, tickvals=ticks(len(table)))
    figure.update_yaxes(
        title=measure.unit, fixedrange=True, rangemode="normal" if measure.scale == "plain" else "tozero"
    )
    return figure


@drawn_once
def split(shares: Sequence[float], colours: Colours) -> go.Figure:
    """One bar of three parts: what a constant, what weights beyond it bring back, and what is gone."""
    parts = (("a constant", colours.restored), ("weights", colours.dense), ("gone", colours.muted))
    figure = base(96)
    for (name, colour), share in zip(parts, shares, strict=True):
        figure.add_bar(
            y=[""],
            x=[share],
            name=name,
            orientation="h",
            marker_color=colour,
            text=[f"{name} {share:.0%}".replace("-", "−")],
            textposition="inside",
            insidetextanchor="middle",
            hovertemplate=f"{name}: %{{x:.1%}}<extra></extra>",
        )
    figure.update_layout(barmode="relative", showlegend=False)
    figure.update_xaxes(tickformat=".0%", fixedrange=True)
    figure.update_yaxes(visible=False, fixedrange=True)
    return figure


@drawn_once
def histogram(values: Tensor, colours: Colours, title: str) -> go.Figure:
    """How a head's loss is spread over tokens, on a logarithmic axis: it spans orders of magnitude."""
    exponents = np.log10(np.clip(values.double().numpy(), 1e-6, None))
    figure = base(230)
    figure.add_histogram(
        x=exponents,
        nbinsx=32,
        marker={"color": colours.pruned, "line": {"width": 0}},
        hovertemplate="10^%{x}<br>%{y} tokens<extra></extra>",
    )
    mean = float(np.log10(max(1e-6, float(values.mean()))))
    figure.add_vline(x=mean, line={"color": colours.text, "width": 1.5, "dash": "dot"})
    figure.add_annotation(
        x=mean, y=1, yref="paper", text="mean", showarrow=False, xanchor="left", yanchor="top", xshift=4
    )
    marks = within_decades(float(exponents.min()), float(exponents.max()))
    figure.update_xaxes(title=title, tickvals=np.log10(marks), ticktext=[f"{mark:g}" for mark in marks])
    figure.update_yaxes(title="tokens")
    figure.update_layout(bargap=0.06)
    return figure


@drawn_once
def attention(
    weights: Tensor, tokens: Sequence[str], colours: Colours, signed: bool = False, height: int = 340
) -> go.Figure:
    """One head's attention over a passage. weights: [query, key]; signed: a difference, centred on 0."""
    values = weights.double().numpy()
    if not signed:  # What a causal model cannot see is not zero attention: it is not there.
        values = np.where(np.tril(np.ones_like(values)) > 0, values, np.nan)
    names = [f"{index}: '{in_figure(token)}'" for index, token in enumerate(tokens)]
    most = float(np.nanmax(np.abs(values))) or 1.0
    figure = base(height)
    figure.add_heatmap(
        z=values,
        customdata=np.array([[f"{query} → {key}" for key in names] for query in names]),
        colorscale=colours.diverging() if signed else [[0, colours.loss[0]], [1, colours.dense]],
        zmin=-most if signed else 0.0,
        zmax=most if signed else 1.0,
        colorbar={"thickness": 8, "len": 0.9},
        hovertemplate="%{customdata}<br>%{z:.3f}<extra></extra>",
    )
    figure.update_xaxes(title="key token", showgrid=False, constrain="domain", zeroline=False)
    figure.update_yaxes(
        title="query token", autorange="reversed", showgrid=False, scaleanchor="x", constrain="domain", zeroline=False
    )
    return figure


@dataclass(frozen=True)
class Axis:
    """A measure on an axis, or as colour."""

    measure: Measure
    table: Tensor
    """[layer, head], NaN where it is not known."""
    log: bool = False
    """Values of 0 and less have no place on it."""

    @property
    def values(self) -> np.ndarray:
        """[layer * head]"""
        return self.table.detach().double().flatten().numpy()


@drawn_once
def head_scatter(
    x: Axis,
    y: Axis,
    colour: Axis,
    colours: Colours,
    picked: Sequence[Head] = (),
    selected: Head | None = None,
    box: bool = False,
) -> go.Figure:
    """Selecting gives points with (layer, head) as customdata. What either measure would have looked at first lies to
    the right, and at the top."""
    layers, heads = x.table.shape
    figure = base(430, dragmode="select" if box else False, clickmode="event+select", hoverdistance=20)
    figure.update_layout(margin={"l": 60, "r": 12, "t": 12, "b": 44})
    size = 9 if layers * heads <= 600 else 7 if layers * heads <= 2_000 else 5
    _rings(figure, x, y, picked, size + 5, colours.restored)
    if selected is not None:
        _rings(figure, x, y, [selected], size + 9, colours.text)
    _heads(figure, x, y, colour, colours, size)
    for axis, update in ((x, figure.update_xaxes), (y, figure.update_yaxes)):
        update(
            title=f"{axis.measure.title} ({axis.measure.unit})",
            type="log" if axis.log else "linear",
            autorange="reversed" if axis.measure.lowest_first else True,
            zeroline=axis.measure.scale == "change",
            fixedrange=True,
        )
    return figure


def _heads(figure: go.Figure, x: Axis, y: Axis, colour: Axis, colours: Colours, size: int) -> None:
    layer, head = (index.ravel() for index in np.indices(x.table.shape))
    scale, low, high = shades(colour.values, colour.measure, colours)
    bar = {"title": {"text": colour.measure.title, "side": "right"}, "thickness": 10, "len": 0.9, "x": 1.01}
    places = zip(layer.tolist(), head.tolist(), colour.values, strict=True)
    says = [f"{head_name((i, j))}<br>{colour.measure.title} {value:.4g}" for i, j, value in places]
    figure.add_trace(
        points(layer.size)(
            x=x.values,
            y=y.values,
            mode="markers",
            customdata=np.stack([layer, head], axis=1),
            text=says,
            marker={
                "size": size,
                "color": colour.values,
                "colorscale": scale,
                "cmin": low,
                "cmax": high,
                "colorbar": bar,
                "line": {"width": 0.5, "color": colours.muted},
            },
            selected={"marker": {"opacity": 1}},
            unselected={"marker": {"opacity": 1}},
            hovertemplate=f"%{{text}}<br>{x.measure.title} %{{x:.4g}}<br>{y.measure.title} %{{y:.4g}}<extra></extra>",
        )
    )


def _rings(figure: go.Figure, x: Axis, y: Axis, heads: Sequence[Head], size: int, colour: str) -> None:
    """Around some heads."""
    figure.add_trace(
        points(len(heads))(
            x=[float(x.table[head]) for head in heads],
            y=[float(y.table[head]) for head in heads],
            mode="markers",
            marker={"size": size, "symbol": "circle-open", "color": colour, "line": {"width": 2}},
            hoverinfo="skip",
        )
    )


def agreement(x: Axis, y: Axis) -> tuple[float, int]:
    """(Spearman's rank correlation of which heads come first, how many heads it is of); NaN where there is none."""
    first, second = (axis.measure.order(axis.table.detach().double()) for axis in (x, y))
    return rank_correlation(first, second), int((first.isfinite() & second.isfinite()).sum())
