"""Two states of the same heads side by side: maps on one scale, and what each component lost in both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from torch import Tensor

from restorelcc.selection.scores import Measure

from ...values.colours import Colours
from ...values.verbatim import in_figure
from ..common import BELOW, base, palette
from ..head_map import shades
from ..kept import drawn_once

BEFORE_AND_AFTER = ("before", "after")


def on_one_scale(figure: go.Figure, tables: Sequence[Tensor], measure: Measure, colours: Colours) -> go.Figure:
    """A copy of a map whose colours are those of all these tables together; each [layer, head]."""
    _, low, high = shades(np.stack([table.double().numpy() for table in tables]), measure, colours)
    return go.Figure(figure).update_traces(zmin=low, zmax=high, selector={"type": "heatmap"})


@drawn_once
def components(
    before: Sequence[float],
    after: Sequence[float],
    component: int,
    colours: Colours,
    names: tuple[str, str] = BEFORE_AND_AFTER,
) -> go.Figure:
    """By component, mean squares of what was lost along it: before and with something put back, or of two pairs.
    component: the one in view."""
    figure = base(260, showlegend=True, legend=BELOW, barmode="group", bargap=0.2)
    second = colours.restored if names == BEFORE_AND_AFTER else palette(colours)[1]
    sides = zip(map(in_figure, names), (before, after), (colours.pruned, second), strict=True)
    for name, values, colour in sides:
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
