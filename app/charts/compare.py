"""Runs side by side, as tables and Plotly figures. No screen in here."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from restorelcc.artifacts.findings import Recipe
from restorelcc.artifacts.runs import Run
from restorelcc.demo.pair import DEFAULT
from restorelcc.errors import RestoreLCCError
from restorelcc.models.loading import DEMO
from restorelcc.pruning.layerwise import Pruning
from restorelcc.restoration.training import Settings
from restorelcc.workspace import pruned_name

from ..values import recipes
from ..values.colours import LIGHT, Colours
from ..values.words import count
from .common import base

# All runs are restorations, so the first is in the restored green; the others stay clear of dense's blue and pruned's
# orange, and differ in dash as well, for those who cannot tell the colours apart.
LINES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
OTHERS_LIGHT = ("#7a4bb0", "#8a6a00", "#b5347c", "#4f5b66", "#8c4a2f")
OTHERS_DARK = ("#b795ee", "#d8ba45", "#f082bb", "#aab4be", "#d3a084")
VIEWS = {
    "perplexity": ("Perplexity", "perplexity of the held-out text"),
    "share": ("Recovered share", "recovered share of the lost log-likelihood"),
    "loss": ("Training loss", "training loss, nats per token"),
}
# At the foot of the figure: below the axis title however narrow the screen and many the lines.
BELOW = {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0}
SMOOTH = 20  # training losses; single batches differ by more than what training wins
HYPERPARAMETERS = tuple(field.name for field in fields(Settings) if field.name != "teacher_bytes")
"""Settings that change the result; where logits are kept does not."""


@dataclass(frozen=True)
class Look:
    """How a run's line is drawn."""

    colour: str
    dash: str


def looks(runs: Sequence[Run], colours: Colours) -> dict[str, Look]:
    """By folder name; the same run keeps its look as long as the same runs are compared."""
    palette = (colours.restored, *(OTHERS_LIGHT if colours is LIGHT else OTHERS_DARK))
    return {
        run.folder.name: Look(palette[index % len(palette)], LINES[(index + index // len(palette)) % len(LINES)])
        for index, run in enumerate(runs)
    }


# --- what is known of a run: runs of the command line, of older versions and of others know less ----------------


def known(run: Run, *path: str) -> Any:
    """config[path[0]][path[1]]…, or None where that is not there."""
    found: Any = run.config
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def number(run: Run, *path: str) -> float | None:
    """The same for numbers; None for anything that is not a finite one."""
    found = known(run, *path)
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        return None
    return found


def short(name: object) -> str | None:
    """A model's name for people: of a folder, its last part."""
    if not isinstance(name, str) or not name:
        return None
    return PurePath(name).name if PurePath(name).is_absolute() else name


def plain(text: str) -> str:
    """Text of a user's, with nothing in it taken for Markdown."""
    return re.sub(r"([\\`*_{}\[\]<>()#|~$:])", r"\\\1", text)


def pair_names(run: Run) -> tuple[str | None, str | None]:
    """What people call the dense and the pruned model."""
    recipe = recipe_of(run)
    if recipe is not None and recipe.pruned is None:
        return short(recipe.dense), pruned_name(recipe)
    return short(known(run, "dense")), short(known(run, "pruned"))


def setting(run: Run, name: str) -> Any:
    """A hyperparameter, plus what was trained on; None where it is not known."""
    if name == "calibration":
        return short(known(run, "calibration", "source"))
    if name == "windows":
        return known(run, "calibration", "windows")
    if name == "heads":
        picks = known(run, "selection", "picks")
        return len(picks) if isinstance(picks, Mapping) else None
    return known(run, "settings", name)


SETTINGS = ("heads", "calibration", "windows", *HYPERPARAMETERS)
NAMES = {
    "evaluate_every": "evaluated every",
    "learned": "learned b",
    "warm_up": "warm-up",
    "cool_down": "cool-down",
    "windows": "training windows",
}


def written(value: object) -> str:
    """A setting in words."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def differing(runs: Sequence[Run]) -> tuple[list[str], list[str]]:
    """(settings that differ, settings that are the same), both in SETTINGS' order, among runs that say."""
    differ, same = [], []
    for name in SETTINGS:
        values = {written(value) for run in runs if (value := setting(run, name)) is not None}
        if len(values) > 1:
            differ.append(name)
        elif values:
            same.append(name)
    return differ, same


def table(runs: Sequence[Run], columns: Sequence[str], parameters: Mapping[str, int]) -> pd.DataFrame:
    """One row a run: its name, what it came to, and the settings named by `columns`; None where unknown.

    parameters: of dense models by name, where they are known.
    """
    rows = []
    for run in runs:
        trained = number(run, "trained_parameters")
        size = parameters.get(str(known(run, "dense"))) or number(run, "parameters")
        row: dict[str, Any] = {"run": run.name, **{name: setting(run, name) for name in columns}}
        row |= {
            "recovered": number(run, "figures", "recovered_share"),
            "recovered_stderr": number(run, "figures", "share_stderr"),
            "perplexity": number(run, "figures", "restored", "perplexity"),
            "stderr": number(run, "figures", "restored", "stderr"),
            "gain": number(run, "figures", "gain", "nats"),
            "gain_stderr": number(run, "figures", "gain", "stderr"),
            "trained": trained,
            "share": trained / size if trained is not None and size else None,
            "pair": " → ".join(part or "–" for part in pair_names(run)) if any(pair_names(run)) else None,
            "made": run.created,
        }
        rows.append(row)
    frame = pd.DataFrame(rows)
    for name in columns:
        # Numbers stay numbers, so that they sort as such; mixed or worded settings sort as text.
        if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in frame[name].dropna()):
            frame[name] = [None if value is None else written(value) for value in (row[name] for row in rows)]
    return frame


def recipe_of(run: Run) -> Recipe | None:
    """How the run's pair is opened; None if it does not say. Runs of the command line name their models only."""
    kept = run.config.get("recipe")
    dense, pruned = run.config.get("dense"), run.config.get("pruned")
    with suppress(RestoreLCCError):
        if isinstance(kept, dict):
            return recipes.recipe_read({str(name): str(value) for name, value in kept.items()})
        if isinstance(dense, str) and isinstance(pruned, str):
            partner = re.fullmatch(r"demo-([a-z]+)(-owl)?-([\d.]+)(of\d+)?-[0-9a-f]{16}", Path(pruned).name)
            if dense == DEMO and (partner is not None or pruned == DEMO):  # Of the embedded model, in the user's cache.
                return Recipe(pruning=_partner(partner))
            return Recipe(dense=dense, pruned=pruned)
    return None


def _partner(found: re.Match[str] | None) -> Pruning:
    if found is None:
        return DEFAULT
    if found[4]:
        return Pruning(found[1], pattern=f"{found[3]}:{found[4].removeprefix('of')}")
    return Pruning(found[1], float(found[3]), allocation="owl" if found[2] else "uniform")


# --- curves -----------------------------------------------------------------------------------------------------


def lines(run: Run, metrics: pd.DataFrame) -> dict[str, float]:
    """Perplexity of the dense and the pruned model on the text of the curve, where it is known.

    The final figures are of that text if the restored one is what the curve shows at the best step; runs may be
    measured on another text at the end.
    """
    found = {side: number(run, "held_out", side, "perplexity") for side in ("dense", "pruned")}
    best = metrics.loc[metrics["step"] == number(run, "best_step"), "perplexity"].dropna()
    restored = number(run, "figures", "restored", "perplexity")
    if len(best) and restored is not None and math.isclose(float(best.iloc[0]), restored, rel_tol=1e-3):
        found = {side: found[side] or number(run, "figures", side, "perplexity") for side in found}
    first = metrics.loc[metrics["step"] == 0, "perplexity"].dropna()
    if found["pruned"] is None and len(first) and setting(run, "start") == "zero":
        found["pruned"] = float(first.iloc[0])  # Nothing was put back yet.
    return {side: value for side, value in found.items() if value is not None}


def curve_table(runs: Sequence[Run], metrics: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One row a run and step: run, folder, step, perplexity, stderr, share, loss (batch), smooth (mean of batches)."""
    parts = []
    for run in runs:
        steps = metrics.get(run.folder.name)
        if steps is None or "step" not in steps or "perplexity" not in steps:
            continue
        ends = lines(run, steps)
        part = pd.DataFrame({"run": run.name, "folder": run.folder.name, "step": steps["step"]})
        for name in ("perplexity", "stderr", "loss"):
            part[name] = pd.to_numeric(steps[name], errors="coerce") if name in steps else np.nan
        part["share"] = np.nan
        if len(ends) == 2 and ends["pruned"] > ends["dense"]:
            part["share"] = np.log(ends["pruned"] / part["perplexity"]) / math.log(ends["pruned"] / ends["dense"])
        part["smooth"] = part["loss"].rolling(SMOOTH, min_periods=1).mean()
        parts.append(part)
    columns = ["run", "folder", "step", "perplexity", "stderr", "loss", "share", "smooth"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def curves(
    runs: Sequence[Run], view: str, frame: pd.DataFrame, ends: Mapping[str, Mapping[str, float]], colours: Colours
) -> go.Figure:
    """Learning curves over one another. frame: of `curve_table`; ends: of `lines`, by folder name."""
    column, figure = "smooth" if view == "loss" else view, base(380)
    drawn = looks(runs, colours)
    for run in runs:
        part = frame[frame["folder"] == run.folder.name].dropna(subset=[column])
        look = drawn[run.folder.name]
        figure.add_scatter(
            x=part["step"],
            y=part[column],
            name=run.name,
            mode="lines" if view == "loss" else "lines+markers",
            line={"color": look.colour, "dash": look.dash, "width": 2},
            marker={"size": 5, "color": look.colour},
            hovertemplate="%{fullData.name}<br>step %{x}: "
            + ("%{y:.1%}" if view == "share" else "%{y:.4f}")
            + "<extra></extra>",
        )
    levels = {"pruned": 0.0, "dense": 1.0} if view == "share" else _common(ends) if view == "perplexity" else {}
    for side, value in levels.items():
        _level(figure, side, value, colours)
    figure.update_xaxes(title="step", rangemode="tozero")
    figure.update_yaxes(title=VIEWS[view][1], tickformat=".0%" if view == "share" else None)
    figure.update_layout(showlegend=True, legend=BELOW)
    return figure


def _common(ends: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Levels that all runs share: of several pairs or texts, no one line would be true."""
    found = {}
    for side in ("dense", "pruned"):
        values = [each[side] for each in ends.values() if side in each]
        if values and max(values) - min(values) < 1e-3 * min(values):
            found[side] = values[0]
    return found


def _level(figure: go.Figure, side: str, value: float, colours: Colours) -> None:
    figure.add_hline(y=value, line={"color": getattr(colours, side), "width": 1.5, "dash": "dot"})
    figure.add_annotation(
        x=1, xref="paper", y=value, text=side, showarrow=False, xanchor="right", yanchor="bottom",
        font={"color": getattr(colours, side), "size": 12},
    )  # fmt: skip


# --- perplexity against size ------------------------------------------------------------------------------------


def against_size(runs: Sequence[Run], frame: pd.DataFrame, colours: Colours) -> go.Figure:
    """Perplexity with its standard error against trained parameters. frame: of `table`, rows as `runs`."""
    figure, drawn = base(380), looks(runs, colours)
    for run, row in zip(runs, frame.to_dict(orient="records"), strict=True):
        if pd.isna(row["trained"]) or pd.isna(row["perplexity"]):
            continue
        look = drawn[run.folder.name]
        error = None if pd.isna(row["stderr"]) else {"array": [row["stderr"]], "thickness": 1.2, "width": 4}
        figure.add_scatter(
            x=[row["trained"]],
            y=[row["perplexity"]],
            error_y=error,
            name=run.name,
            mode="markers",
            marker={"size": 11, "color": look.colour, "symbol": _symbol(drawn, run)},
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
    figure.update_xaxes(title="trained parameters, logarithmic", type="log")
    if trained := [math.log10(value) for value in frame["trained"] if not pd.isna(value) and value > 0]:
        low, high = min(trained) - 0.25, max(trained) + 0.25
        decades = range(math.floor(low), math.ceil(high))
        ticks = [step * 10**decade for decade in decades for step in ((1, 2, 5) if high - low < 2 else (1,))]
        figure.update_xaxes(range=[low, high], tickvals=ticks, ticktext=[count(tick) for tick in ticks])
    figure.update_yaxes(title="perplexity, ± one standard error")
    figure.update_layout(showlegend=True, legend=BELOW)
    return figure


def _symbol(drawn: Mapping[str, Look], run: Run) -> str:
    symbols = ("circle", "square", "diamond", "triangle-up", "cross", "star")
    return symbols[list(drawn).index(run.folder.name) % len(symbols)]


# --- one text ---------------------------------------------------------------------------------------------------


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
            customdata=frame["token"],
            hovertemplate=side + " − pruned, up to token %{x} (%{customdata}): %{y:.2f} nats<extra></extra>",
        )
    _level(figure, "pruned", 0.0, colours)
    figure.update_xaxes(title="token")
    figure.update_yaxes(title="NLL − NLL of pruned, summed, nats")
    figure.update_layout(showlegend=True, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0})
    return figure
