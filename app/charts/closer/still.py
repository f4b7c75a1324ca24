"""Before and after: maps on one scale, and what is left of each component."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from ...values.colours import Colours
from ..common import BELOW, base


def on_one_scale(figure: go.Figure, most: float) -> go.Figure:
    """A map of a loss whose colours go from 0 to `most`."""
    return figure.update_traces(zmin=0.0, zmax=most or 1.0, selector={"type": "heatmap"})


def components(before: Sequence[float], after: Sequence[float], component: int, colours: Colours) -> go.Figure:
    """By component, mean squares of what was lost along it, before and with something put back."""
    figure = base(260, showlegend=True, legend=BELOW, barmode="group", bargap=0.2)
    for name, values, colour in (("before", before, colours.pruned), ("after", after, colours.restored)):
        figure.add_bar(
            x=list(range(len(values))),
            y=list(values),
            name=name,
            marker={"color": colour, "line": {"width": [2 * (i == component) for i in range(len(values))],
                                              "color": colours.text}},
            hovertemplate=f"component %{{x}}, {name}<br>%{{y:.4g}}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title="component", fixedrange=True)
    figure.update_yaxes(title="mean (δz·v)²", fixedrange=True, rangemode="tozero")
    return figure
