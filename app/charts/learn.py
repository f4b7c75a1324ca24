"""Figures of the Learn page, step by step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from torch import Tensor

from restorelcc.selection.scores import Measure

from ..values.colours import Colours
from ..values.words import percent
from ..work.lessons import Plane
from ..work.live import Measured
from .common import base
from .head_map import head_map
from .kept import drawn_once

LEGEND = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "title": None}
RECOVERED = "recovered share"  # of the lost log-likelihood
TOP = {"l": 52, "r": 12, "t": 34, "b": 44}


@drawn_once
def damage_map(table: Tensor, measure: Measure, colours: Colours) -> go.Figure:
    """Layer × head on a scale that stays, so that one sparsity can be compared with the next. table: [layer, head]
    share, 0 to 1."""
    figure = head_map(table, measure, colours, height=360)
    figure.update_traces(zmin=0.0, zmax=1.0, selector={"type": "heatmap"})
    return figure


@drawn_once
def arrows(points: Plane, colours: Colours, most: int = 60) -> go.Figure:
    """δz of single tokens as lines from where the pruned model is to where the dense one was, and their mean."""
    dense, pruned = points.dense[:most].numpy(), points.pruned[:most].numpy()
    figure = base(460, margin=TOP, showlegend=True, legend=LEGEND)
    _token_lines(figure, dense, pruned, colours)
    _mean_arrow(figure, points.middles[0].tolist(), points.middles[1].tolist(), colours)
    middle, reach = _first_view(np.concatenate([dense, pruned]))
    figure.update_xaxes(title="along component 1", range=[middle[0] - reach, middle[0] + reach], constrain="domain")
    figure.update_yaxes(
        title="along component 2",
        range=[middle[1] - reach, middle[1] + reach],
        scaleanchor="x",
        constrain="domain",
    )
    return figure


def _token_lines(figure: go.Figure, dense: np.ndarray, pruned: np.ndarray, colours: Colours) -> None:
    """dense, pruned: [token, 2] activations."""
    gap = np.full(len(dense), np.nan)
    figure.add_scatter(
        x=np.stack([pruned[:, 0], dense[:, 0], gap], 1).ravel(),
        y=np.stack([pruned[:, 1], dense[:, 1], gap], 1).ravel(),
        mode="lines",
        line={"color": colours.muted, "width": 1},
        opacity=0.6,
        hoverinfo="skip",
        name="δz of one token",
    )
    for name, cloud, colour in (("dense", dense, colours.dense), ("pruned", pruned, colours.pruned)):
        figure.add_scatter(
            x=cloud[:, 0],
            y=cloud[:, 1],
            mode="markers",
            marker={"size": 6, "color": colour},
            name=name,
            hovertemplate=f"{name}<br>%{{x:.3f}}, %{{y:.3f}}<extra></extra>",
        )


def _mean_arrow(figure: go.Figure, dense: Sequence[float], pruned: Sequence[float], colours: Colours) -> None:
    figure.add_scatter(
        x=[pruned[0], dense[0]],
        y=[pruned[1], dense[1]],
        mode="lines+markers",
        line={"color": colours.restored, "width": 4},
        marker={"symbol": "arrow", "angleref": "previous", "size": [0, 22], "color": colours.restored},
        name="their mean",
        hovertemplate="mean<br>%{x:.3f}, %{y:.3f}<extra></extra>",
    )


def _first_view(points: np.ndarray) -> tuple[np.ndarray, float]:
    """(middle, half its width) of a square that leaves out the farthest: one far token would press all others
    together. It is drawn, outside of the view. points: [token, 2]."""
    low, high = np.quantile(points, 0.03, axis=0), np.quantile(points, 0.97, axis=0)
    return (low + high) / 2, 0.62 * float((high - low).max())


@drawn_once
def energy(shares: Tensor, count: int, colours: Colours) -> go.Figure:
    """Energy of one head's components, with the first `count` marked, and what they hold together. shares:
    [component]."""
    values = shares.double().numpy()
    numbers = np.arange(1, len(values) + 1)
    figure = base(330, margin=TOP, bargap=0.15)
    figure.add_bar(
        x=numbers,
        y=values,
        marker={"color": [colours.restored if n <= count else colours.pruned for n in numbers]},
        hovertemplate="component %{x}<br>%{y:.1%}<extra></extra>",
        name="each",
    )
    figure.add_scatter(
        x=numbers,
        y=np.cumsum(values),
        mode="lines",
        line={"color": colours.text, "width": 2},
        hovertemplate="components 1 to %{x}<br>%{y:.1%}<extra></extra>",
        name="together",
    )
    held = float(values[:count].sum())
    figure.add_scatter(
        x=[count],
        y=[held],
        mode="markers+text",
        marker={"size": 10, "color": colours.restored, "line": {"width": 2, "color": colours.paper}},
        text=[f"{held:.0%}"],
        textposition="bottom right" if count < 0.8 * len(values) else "bottom left",
        hoverinfo="skip",
    )
    figure.update_xaxes(title="component, strongest first", fixedrange=True)
    figure.update_yaxes(title="share of lost energy", tickformat=".0%", range=[0, 1.04], fixedrange=True)
    return figure


@drawn_once
def injections(points: Sequence[tuple[int, Measured]], colours: Colours, count: int, most: int) -> go.Figure:
    """Change of the NLL with components 1 … k put back untrained, as far as measured; lines for dense and pruned.

    points: (k, measured), ascending. Error bars are one standard error, paired.
    """
    figure = base(340, margin=TOP)
    lost = points[0][1].lost.nats
    for level, name, colour in ((0.0, "pruned", colours.pruned), (-lost, "dense", colours.dense)):
        figure.add_hline(
            y=level,
            line={"color": colour, "width": 2},
            annotation={"text": name, "font": {"color": colour}},
            annotation_position="top right",
        )
    figure.add_scatter(
        x=[k for k, _ in points],
        y=[measured.gain.nats for _, measured in points],
        error_y={"array": [measured.gain.stderr for _, measured in points], "thickness": 1.5, "width": 4},
        mode="lines+markers",
        line={"color": colours.restored, "width": 1, "dash": "dot"},
        marker={
            "size": [12 if k == count else 7 for k, _ in points],
            "color": colours.restored,
            "line": {"width": [2 if k == count else 0 for k, _ in points], "color": colours.text},
        },
        customdata=[[measured.picked.value, measured.gain.stderr] for _, measured in points],
        hovertemplate="components 1 to %{x}<br>%{y:+.4f} ± %{customdata[1]:.4f} nats"
        "<br>perplexity %{customdata[0]:.2f}<extra></extra>",
    )
    figure.update_xaxes(title="components put back in each head", range=[-1, most + 1], fixedrange=True)
    figure.update_yaxes(title="nats per token against pruned", fixedrange=True)
    return figure


@drawn_once
def lessons(
    curves: Sequence[tuple[str, Sequence[int], Sequence[float]]], dense: float, pruned: float, colours: Colours
) -> go.Figure:
    """Held-out perplexity by training step. curves: (name, steps, perplexities), solid first, then dashed."""
    figure = base(300, margin=TOP)
    for level, name, colour in ((pruned, "pruned", colours.pruned), (dense, "dense", colours.dense)):
        figure.add_hline(
            y=level,
            line={"color": colour, "width": 2},
            annotation={"text": name, "font": {"color": colour}},
            annotation_position="top left" if name == "pruned" else "bottom left",
        )
    for (name, steps, values), dash in zip(curves, ("solid", "dash"), strict=False):
        figure.add_scatter(
            x=list(steps),
            y=list(values),
            mode="lines+markers",
            name=name,
            line={"color": colours.restored, "width": 2, "dash": dash},
            hovertemplate=f"{name}<br>step %{{x}}<br>perplexity %{{y:.2f}}<extra></extra>",
        )
    figure.update_layout(showlegend=len(curves) > 0, legend=LEGEND)
    figure.update_xaxes(title="training step", fixedrange=True)
    figure.update_yaxes(title="held-out perplexity", fixedrange=True)
    return figure


@drawn_once
def shares(
    rows: Sequence[tuple[str, float]],
    colours: Colours,
    marked: Sequence[str] = (),
    errors: Sequence[float] | None = None,
    title: str = RECOVERED,
) -> go.Figure:
    """Shares as bars, in the order given; `marked` ones stand out. rows: (name, share 0 to 1); errors: the standard
    error of each; title: shares of what, short enough for a phone."""
    names, values = [name for name, _ in rows], [share for _, share in rows]
    figure = base(30 * len(rows) + 64, margin={"l": 10, "r": 30, "t": 8, "b": 44}, bargap=0.3)
    figure.add_bar(
        x=values,
        y=names,
        orientation="h",
        marker={"color": [colours.restored if name in marked else colours.muted for name in names]},
        error_x=None if errors is None else {"array": list(errors), "thickness": 1.2, "color": colours.text},
        hovertemplate="%{y}<br>%{x:.1%}<extra></extra>",
    )
    # Beside the bars rather than in them: a short bar has no room, and lines of error would lie on the figures.
    figure.add_scatter(
        x=[max(0.0, value + error) for value, error in zip(values, errors or [0.0] * len(rows), strict=True)],
        y=names,
        mode="text",
        text=[f" {percent(value)}" for value in values],
        textposition="middle right",
        cliponaxis=False,
        hoverinfo="skip",
    )
    figure.update_yaxes(autorange="reversed", fixedrange=True, automargin=True)
    figure.update_xaxes(title=title, tickformat=".0%", tickangle=0, fixedrange=True, nticks=4)
    return figure


@drawn_once
def agreement(plain: Tensor, hooked: Tensor, folded: Tensor, colours: Colours, most: int = 512) -> go.Figure:
    """Next-token logits against those of the hooked model: folded ones lie on the diagonal. [vocabulary] each; `most`
    evenly spaced tokens are drawn."""
    step = max(1, len(hooked) // most)
    x, without, within = (part[::step].double().numpy() for part in (hooked, plain, folded))
    low, high = float(min(x.min(), without.min())), float(max(x.max(), without.max()))
    figure = base(380, margin=TOP)
    figure.add_scatter(
        x=[low, high], y=[low, high], mode="lines", line={"color": colours.grid, "width": 2}, showlegend=False
    )
    for name, values, colour in (("nothing put back", without, colours.pruned), ("bias", within, colours.restored)):
        figure.add_scatter(
            x=x,
            y=values,
            mode="markers",
            name=name,
            marker={"size": 5, "color": colour, "opacity": 0.75},
            hovertemplate=f"{name}<br>%{{y:.3f}}, hook %{{x:.3f}}<extra></extra>",
        )
    figure.update_layout(showlegend=True, legend=LEGEND)
    figure.update_xaxes(title="logit, c added to the activation by a hook")
    figure.update_yaxes(title="logit, otherwise")
    return figure
