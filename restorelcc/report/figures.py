"""Figures of a report: numbers go in, what Plotly's JavaScript reads comes out. Names in them are escaped here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from torch import Tensor

from ..selection.scores import Measure
from .page import Figure, in_figure

LINES = ("restored", "dense", "pruned", "#7a4bb0", "#8a6a00", "#b5347c", "#808b96")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
SCALES = {"loss": "loss", "change": "signed", "plain": "plain"}


def head_map(values: Tensor, measure: Measure) -> Figure:
    """Every head by a measure [layer, head]; layers across where there are more of them than heads."""
    layers, heads = values.shape
    across = layers > heads
    cells = _numbers(values.T if across else values)
    trace: dict[str, Any] = {"type": "heatmap", "z": cells, "colorscale": SCALES[measure.scale], "xgap": 1, "ygap": 1}
    trace |= {"zmid": 0} if measure.scale == "change" else {}
    trace |= {"colorbar": {"title": {"text": measure.unit, "side": "right"}, "thickness": 12}}
    layer, head = ("x", "y") if across else ("y", "x")
    trace["hovertemplate"] = f"L%{{{layer}}} H%{{{head}}}<br>%{{z:.4g}}<extra></extra>"
    axes: Figure = {f"{layer}axis": {"title": {"text": "layer"}}, f"{head}axis": {"title": {"text": "head"}}}
    axes["yaxis"] |= {"autorange": "reversed"}
    rows = heads if across else layers
    return _drawn([trace], min(620, 120 + 26 * rows), **axes)


def scatter(x: Tensor, y: Tensor, across: Measure, up: Measure) -> Figure:
    """Every head by two measures [layer, head]."""
    heads = x.shape[1]
    names = [f"L{place // heads} H{place % heads}" for place in range(x.numel())]
    kind = "scattergl" if len(names) > 3_000 else "scatter"
    trace: Figure = {
        "type": kind,
        "mode": "markers",
        "x": _row(x),
        "y": _row(y),
        "text": names,
        "marker": {"color": "pruned"},
    }
    trace["hovertemplate"] = "%{text}<br>%{x:.4g}, %{y:.4g}<extra></extra>"
    titles = [f"{measure.title} ({measure.unit})" for measure in (across, up)]
    return _drawn([trace], 420, xaxis={"title": {"text": titles[0]}}, yaxis={"title": {"text": titles[1]}})


def bars(values: Sequence[float], title: str, unit: str) -> Figure:
    """One bar a component, by number."""
    trace: Figure = {"type": "bar", "x": list(range(len(values))), "y": [_or_none(value) for value in values]}
    trace |= {"marker": {"color": "pruned"}, "hovertemplate": "v%{x}<br>%{y:.4g}<extra></extra>"}
    return _drawn([trace], 300, xaxis={"title": {"text": title}}, yaxis={"title": {"text": unit}})


def curves(runs: Mapping[str, pd.DataFrame]) -> Figure:
    """Held-out perplexity by step, with its standard error."""
    traces = []
    for index, (name, steps) in enumerate(runs.items()):
        judged = steps[steps["perplexity"].notna()]
        colour, dash = LINES[index % len(LINES)], DASHES[index % len(DASHES)]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": in_figure(name),
                "x": judged["step"].tolist(),
                "y": judged["perplexity"].tolist(),
                "error_y": {"type": "data", "array": [_or_none(error) for error in judged["stderr"]], "thickness": 1},
                "line": {"color": colour, "dash": dash},
                "marker": {"color": colour},
            }
        )
    axes = {"xaxis": {"title": {"text": "step"}}, "yaxis": {"title": {"text": "held-out perplexity"}}}
    return _drawn(traces, 380, showlegend=len(traces) > 1, legend={"orientation": "h", "y": -0.25}, **axes)


def shares(names: Sequence[str], columns: Mapping[str, Sequence[tuple[float | None, float | None]]]) -> Figure:
    """Bars of (share, standard error) a run, for each of several shares, such as recovered and nearer."""
    traces = [
        {
            "type": "bar",
            "name": in_figure(column),
            "x": [in_figure(name) for name in names],
            "y": [_or_none(share) for share, _ in values],
            "error_y": {"type": "data", "array": [_or_none(error) for _, error in values], "thickness": 1},
            "marker": {"color": colour},
        }
        for (column, values), colour in zip(columns.items(), ("restored", "dense"), strict=False)
    ]
    axes = {"xaxis": {"type": "category"}, "yaxis": {"title": {"text": "share"}, "tickformat": ".0%"}}
    return _drawn(traces, 380, showlegend=True, legend={"orientation": "h", "y": 1.15}, barmode="group", **axes)


def _drawn(traces: list[dict[str, Any]], height: int, **layout: Any) -> Figure:
    margin = {"l": 60, "r": 12, "t": 12, "b": 48}
    return {"data": traces, "layout": {"height": height, "margin": margin, "showlegend": False} | layout}


def _numbers(values: Tensor) -> list[list[float | None]]:
    return [_row(row) for row in values]


def _row(values: Tensor) -> list[float | None]:
    return [_or_none(value) for value in values.flatten().tolist()]


def _or_none(value: float | None) -> float | None:
    """JSON has no NaN. Six digits are more than anybody sees."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
