"""Predictions by depth: on average, and token by token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ...values.colours import Colours
from ...values.verbatim import in_figure
from ..common import BELOW, base, faint, ticks
from ..kept import drawn_once


@drawn_once
def departure(frames: Mapping[str, pd.DataFrame], colours: Colours) -> go.Figure:
    """KL to the dense model after every layer, with its standard error. frames: layer, kl, kl_error by what is in
    place, `pruned` or `restored`."""
    figure = base(300, showlegend=len(frames) > 1, legend=BELOW)
    looks = {"pruned": (colours.pruned, "solid"), "restored": (colours.restored, "dash")}
    for name, frame in frames.items():
        colour, dash = looks[name]
        low, high = frame["kl"] - frame["kl_error"], frame["kl"] + frame["kl_error"]
        figure.add_scatter(
            x=[*frame["layer"], *frame["layer"][::-1]],
            y=[*high, *low[::-1]],
            fill="toself",
            mode="lines",
            line={"width": 0},
            fillcolor=faint(colour),
            hoverinfo="skip",
            showlegend=False,
        )
        figure.add_scatter(
            x=frame["layer"],
            y=frame["kl"],
            mode="lines+markers",
            name=name if name == "pruned" else "with what is put back",
            line={"color": colour, "width": 2, "dash": dash},
            customdata=frame["kl_error"],
            hovertemplate="after layer %{x}<br>%{y:.4f} ± %{customdata:.4f} nats<extra></extra>",
        )
    figure.update_xaxes(title="after layer", fixedrange=True, tickvals=ticks(len(next(iter(frames.values())))))
    figure.update_yaxes(title="KL, nats per token", fixedrange=True, rangemode="tozero")
    return figure


@drawn_once
def departure_map(kl: Sequence[Sequence[float]], tokens: Sequence[str], colours: Colours) -> go.Figure:
    """Layer × token as cells, deepest layer on top. kl: [layer, pos] nats, of the distribution that the token is of."""
    values = np.array(kl)
    figure = base(int(min(520, max(240, 22 * len(values) + 80))))
    names = [f"{index}: '{in_figure(token)}'" for index, token in enumerate(tokens)]
    figure.add_heatmap(
        z=values,
        customdata=np.broadcast_to(np.array(names), values.shape),
        colorscale=colours.scale(),
        zmin=0.0,
        zmax=float(np.quantile(values, 0.99)) or 1.0,
        colorbar={"title": {"text": "KL, nats", "side": "right"}, "thickness": 10, "len": 0.9},
        hovertemplate="after layer %{y}<br>%{customdata}<br>%{z:.3f} nats<extra></extra>",
    )
    figure.update_xaxes(title="token", showgrid=False, zeroline=False)
    figure.update_yaxes(title="after layer", showgrid=False, zeroline=False, tickvals=ticks(len(values)))
    return figure


def departure_table(kl: Sequence[Sequence[float]], tokens: Sequence[str]) -> pd.DataFrame:
    """One row a token: position, token, and a column a layer."""
    layers = {f"layer_{layer}": row for layer, row in enumerate(kl)}
    return pd.DataFrame({"position": range(len(tokens)), "token": list(tokens), **layers})
