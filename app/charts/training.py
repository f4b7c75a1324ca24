"""Figures of a restoration, under way or done: loss and perplexity by step, and what was trained."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from torch import Tensor

from ..values.colours import Colours
from .common import base, points
from .kept import drawn_once


@drawn_once
def losses(metrics: pd.DataFrame, colours: Colours) -> go.Figure:
    """What is minimised, by step: of the batch, and of the held-out texts."""
    figure = base(250, showlegend=True, legend={"orientation": "h", "y": 1.12, "x": 0})
    figure.add_scatter(
        x=metrics["step"],
        y=metrics["loss"],
        name="training batch",
        mode="lines",
        line={"color": colours.muted, "width": 1},
        hovertemplate="step %{x}: %{y:.4f} nats<extra>batch</extra>",
    )
    held_out = metrics.dropna(subset=["held_out_loss"])
    figure.add_scatter(
        x=held_out["step"],
        y=held_out["held_out_loss"],
        name="held out",
        mode="lines+markers",
        line={"color": colours.restored, "width": 2},
        marker={"size": 5},
        hovertemplate="step %{x}: %{y:.4f} nats<extra>held out</extra>",
    )
    figure.update_xaxes(title="step", fixedrange=True)
    figure.update_yaxes(title="loss, nats per token", fixedrange=True)
    return figure


@drawn_once
def perplexities(metrics: pd.DataFrame, dense: float | None, colours: Colours) -> go.Figure:
    """Held-out perplexity by step between the pruned and the dense model's."""
    measured = metrics.dropna(subset=["perplexity"])
    figure = base(250)
    figure.add_scatter(
        x=measured["step"],
        y=measured["perplexity"],
        mode="lines+markers",
        line={"color": colours.restored, "width": 2},
        marker={"size": 5},
        hovertemplate="step %{x}: %{y:.3f}<extra>restored</extra>",
    )
    levels = [("pruned", float(measured["perplexity"].iloc[0]), colours.pruned)] if len(measured) else []
    if dense is not None:
        levels.append(("dense", dense, colours.dense))
    for name, value, colour in levels:
        figure.add_hline(
            y=value,
            line={"color": colour, "width": 1.5, "dash": "dash"},
            annotation={"text": f"{name} {value:.2f}", "font": {"color": colour}, "yshift": 8},
            annotation_position="top right",
        )
    values = [*measured["perplexity"], *(value for _, value, _ in levels)]
    if values:
        room = 0.12 * (max(values) - min(values)) or 0.1
        figure.update_yaxes(range=[min(values) - room, max(values) + 1.6 * room])
    figure.update_xaxes(title="step", fixedrange=True)
    figure.update_yaxes(title="held-out perplexity", fixedrange=True)
    return figure


@drawn_once
def beta_against_alpha(alpha: Tensor, beta: Tensor, picked: Tensor, colours: Colours) -> go.Figure:
    """Each trained magnitude against the mean lost activation. alpha, beta: [layer, head, component]; picked: bool."""
    places = picked.nonzero().numpy()
    x, y = alpha[picked].double().numpy(), beta[picked].double().numpy()
    figure = base(330)
    figure.add_trace(
        points(len(x))(
            x=x,
            y=y,
            mode="markers",
            customdata=places,
            marker={"size": 5, "color": colours.restored, "opacity": 0.6},
            hovertemplate="L%{customdata[0]} H%{customdata[1]}, component %{customdata[2]}<br>α %{x:.3f}, β %{y:.3f}"
            "<extra></extra>",
        )
    )
    reach = float(np.abs(x).max(initial=1e-6))
    figure.add_scatter(
        x=[-reach, reach],
        y=[-reach, reach],
        mode="lines",
        line={"color": colours.muted, "dash": "dot"},
        hoverinfo="skip",
    )
    figure.update_xaxes(title="α, mean lost activation (activation units)")
    figure.update_yaxes(title="β, trained (activation units)")
    return figure
