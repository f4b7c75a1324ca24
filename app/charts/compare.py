"""Figures of runs side by side, and of one text that three models read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from restorelcc.artifacts.runs import Run

from ..values.colours import Colours
from ..values.run_facts import measures_distance, number, setting
from ..values.verbatim import in_figure, shortened, visible
from .common import BELOW, LINES, SYMBOLS, base, logarithmic, palette
from .kept import drawn_once

VIEWS = {
    "perplexity": ("Perplexity", "perplexity of the held-out text"),
    "share": ("Recovered and nearer", "recovered share"),
    "loss": ("Training loss", "training loss, nats per token"),
}
NEARER = "nearer to the dense model"
SMOOTH = 20  # training losses; single batches differ by more than what training wins
LONGEST = 60  # letters of a run's name; a legend has room for no more


@dataclass(frozen=True)
class Look:
    """How a run's line is drawn."""

    colour: str
    dash: str


def looks(runs: Sequence[Run], colours: Colours) -> dict[str, Look]:
    """How each run's line is drawn, by its folder's name; the same as long as the same runs are compared."""
    chosen = palette(colours)
    return {
        run.folder.name: Look(chosen[index % len(chosen)], LINES[(index + index // len(chosen)) % len(LINES)])
        for index, run in enumerate(runs)
    }


def lines(run: Run, metrics: pd.DataFrame) -> dict[str, float]:
    """Perplexity of the dense and the pruned model on the text of the curve, where it is known.

    The final figures are of that text if the restored one is what the curve shows at the best step; runs may be
    measured on another text at the end.
    """
    levels = {side: number(run, "held_out", side, "perplexity") for side in ("dense", "pruned")}
    best = metrics.loc[metrics["step"] == number(run, "best_step"), "perplexity"].dropna()
    restored = number(run, "figures", "restored", "perplexity")
    if len(best) and restored is not None and math.isclose(float(best.iloc[0]), restored, rel_tol=1e-3):
        levels = {side: levels[side] or number(run, "figures", side, "perplexity") for side in levels}
    first = metrics.loc[metrics["step"] == 0, "perplexity"].dropna()
    if levels["pruned"] is None and len(first) and setting(run, "start") == "zero":
        levels["pruned"] = float(first.iloc[0])  # Nothing was put back yet.
    return {side: value for side, value in levels.items() if value is not None}


def nearer_by_step(run: Run, metrics: pd.DataFrame) -> pd.Series:
    """1 − KL(dense ‖ restored) / KL(dense ‖ pruned) of the held-out text by step, where that KL is what was minimised
    and training began at the pruned model; NaN elsewhere."""
    unknown = pd.Series(np.nan, index=metrics.index)
    if "held_out_loss" not in metrics or not measures_distance(setting(run, "loss"), setting(run, "start")):
        return unknown
    far = pd.to_numeric(metrics["held_out_loss"], errors="coerce")
    first = far[metrics["step"] == 0].dropna()
    return 1 - far / float(first.iloc[0]) if len(first) and float(first.iloc[0]) > 0 else unknown


def curve_table(runs: Sequence[Run], metrics: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One row a run and step: run, folder, step, perplexity, stderr, share (recovered), nearer, loss (batch), smooth
    (mean of batches)."""
    parts = []
    for run in runs:
        steps = metrics.get(run.folder.name)
        if steps is None or "step" not in steps or "perplexity" not in steps:
            continue
        ends = lines(run, steps)
        part = pd.DataFrame({"run": visible(run.name), "folder": run.folder.name, "step": steps["step"]})
        for name in ("perplexity", "stderr", "loss"):
            part[name] = pd.to_numeric(steps[name], errors="coerce") if name in steps else np.nan
        part["share"] = np.nan
        if len(ends) == 2 and ends["pruned"] > ends["dense"]:
            part["share"] = np.log(ends["pruned"] / part["perplexity"]) / math.log(ends["pruned"] / ends["dense"])
        part["nearer"] = nearer_by_step(run, steps)
        part["smooth"] = part["loss"].rolling(SMOOTH, min_periods=1).mean()
        parts.append(part)
    columns = ["run", "folder", "step", "perplexity", "stderr", "loss", "share", "nearer", "smooth"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def curves(
    runs: Sequence[Run], view: str, frame: pd.DataFrame, ends: Mapping[str, Mapping[str, float]], colours: Colours
) -> go.Figure:
    """Learning curves over one another. frame: as `curve_table` gives it; ends: as `lines` does, by folder name."""
    if view == "share":
        return _shares(runs, frame, colours)
    figure = base(380)
    _runs(figure, runs, frame, "smooth" if view == "loss" else view, colours)
    for side, value in (_common(ends) if view == "perplexity" else {}).items():
        _level(figure, side, value, colours)
    figure.update_xaxes(title="step", rangemode="tozero")
    figure.update_yaxes(title=VIEWS[view][1])
    figure.update_layout(showlegend=True, legend=BELOW)
    return figure


def _shares(runs: Sequence[Run], frame: pd.DataFrame, colours: Colours) -> go.Figure:
    """Both shares of what pruning did that is undone, one below the other: neither says enough alone."""
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.06)
    figure.update_layout(base(560).layout)
    for row, (column, title) in enumerate((("share", VIEWS["share"][1]), ("nearer", NEARER)), start=1):
        _runs(figure, runs, frame, column, colours, row=row, col=1, showlegend=row == 1)
        for side, value in (("pruned", 0.0), ("dense", 1.0)):
            _level(figure, side, value, colours, row)
        figure.update_yaxes(title=title, tickformat=".0%", row=row, col=1)
    figure.update_xaxes(rangemode="tozero")
    figure.update_xaxes(title="step", row=2, col=1)
    return figure.update_layout(showlegend=True, legend=BELOW)


def _runs(
    figure: go.Figure, runs: Sequence[Run], frame: pd.DataFrame, column: str, colours: Colours, **place: Any
) -> None:
    """A line a run by step. place: its panel, and whether the legend names it."""
    drawn, share = looks(runs, colours), column in ("share", "nearer")
    for run in runs:
        part = frame[frame["folder"] == run.folder.name].dropna(subset=[column])
        look = drawn[run.folder.name]
        figure.add_scatter(
            x=part["step"],
            y=part[column],
            name=in_figure(shortened(run.name, LONGEST)),
            legendgroup=run.folder.name,
            mode="lines" if column == "smooth" else "lines+markers",
            line={"color": look.colour, "dash": look.dash, "width": 2},
            marker={"size": 5, "color": look.colour},
            hovertemplate=f"%{{fullData.name}}<br>step %{{x}}: {'%{y:.1%}' if share else '%{y:.4f}'}<extra></extra>",
            **place,
        )


def _common(ends: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Levels that all runs share: of several pairs or texts, no one line would be true."""
    common = {}
    for side in ("dense", "pruned"):
        values = [levels[side] for levels in ends.values() if side in levels]
        if values and max(values) - min(values) < 1e-3 * min(values):
            common[side] = values[0]
    return common


def _level(figure: go.Figure, side: str, value: float, colours: Colours, row: int = 1) -> None:
    """A line at a model's level. row: of the panel."""
    axis = "y" if row == 1 else f"y{row}"
    line = {"color": getattr(colours, side), "width": 1.5, "dash": "dot"}
    figure.add_shape(type="line", x0=0, x1=1, xref="paper", y0=value, y1=value, yref=axis, line=line)
    figure.add_annotation(
        x=1, xref="paper", y=value, yref=axis, text=side, showarrow=False, xanchor="right", yanchor="bottom",
        font={"color": getattr(colours, side), "size": 12},
    )  # fmt: skip


def against_size(runs: Sequence[Run], frame: pd.DataFrame, colours: Colours) -> go.Figure:
    """Perplexity with its standard error against trained parameters. frame: as `run_facts.table` gives it of `runs`."""
    figure, drawn = base(380), looks(runs, colours)
    for index, (run, row) in enumerate(zip(runs, frame.to_dict(orient="records"), strict=True)):
        if pd.isna(row["trained"]) or pd.isna(row["perplexity"]):
            continue
        error = None if pd.isna(row["stderr"]) else {"array": [row["stderr"]], "thickness": 1.2, "width": 4}
        figure.add_scatter(
            x=[row["trained"]],
            y=[row["perplexity"]],
            error_y=error,
            name=in_figure(shortened(run.name, LONGEST)),
            mode="markers",
            marker={"size": 11, "color": drawn[run.folder.name].colour, "symbol": SYMBOLS[index % len(SYMBOLS)]},
            hovertemplate="%{fullData.name}<br>%{x:,} trained parameters<br>perplexity %{y:.3f}<extra></extra>",
        )
    ends = {
        run.folder.name: {
            side: value
            for side in ("dense", "pruned")
            if (value := number(run, "figures", side, "perplexity")) is not None
        }
        for run in runs
    }
    for side, value in _common(ends).items():
        _level(figure, side, value, colours)
    figure.update_xaxes(title="trained parameters, logarithmic", type="log", **logarithmic(frame["trained"]))
    figure.update_yaxes(title="perplexity, ± one standard error")
    figure.update_layout(showlegend=True, legend=BELOW)
    return figure


@drawn_once
def cumulated(frame: pd.DataFrame, colours: Colours) -> go.Figure:
    """NLL against pruned, summed up along a text. frame: columns position, dense, pruned, restored; nats."""
    figure = base(260)
    for side in ("dense", "restored"):
        figure.add_scatter(
            x=frame["position"],
            y=(frame[side] - frame["pruned"]).cumsum(),
            name=side,
            mode="lines",
            line={"color": getattr(colours, side), "width": 2, "dash": "solid" if side == "restored" else "dash"},
            customdata=[in_figure(token) for token in frame["token"]],
            hovertemplate=side + " − pruned, up to token %{x} (%{customdata}): %{y:.2f} nats<extra></extra>",
        )
    _level(figure, "pruned", 0.0, colours)
    figure.update_xaxes(title="token")
    figure.update_yaxes(title="NLL − NLL of pruned, summed, nats")
    figure.update_layout(showlegend=True, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0})
    return figure
