"""`python -m restorelcc inspect`: what every head lost, and reasons to pick one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from ..artifacts.folders import check_csv, write_csv
from ..capture.components import components
from ..capture.head_loss import METRICS, head_loss
from ..capture.one_at_a_time import capture_one_at_a_time
from ..capture.statistics import HeadStatistics, Positions, capture
from ..errors import SettingError
from ..models.loading import DEMO, Loading
from ..models.memory import too_big
from ..models.pair import ModelPair, OneAtATime, skeleton_pair
from ..progress_bar import watched
from ..registry import chosen
from ..restoration.bounds import bounds
from ..restoration.injection import capture_in_order
from ..selection.scores import SCORES, ScoreInputs, computed
from ..selection.scoring import score_heads
from ..text.calibration import split_held_out
from ..text.sources import SELF
from ..text.tokens import Tokens
from .console import note, records, say, show_json, show_table
from .opening import Text, note_pair, open_pair

BOUNDS = {
    "pruned": "pruned",
    "constants": "constant in every head",
    "heads": "all heads dense",
    "mlps": "all MLPs dense",
    "dense": "dense",
}


@dataclass(frozen=True)
class Asked:
    """What is to be measured and listed."""

    positions: Positions
    top: int
    """Heads and components to list."""
    csv: Path | None
    """Where the whole table goes."""
    in_order: bool
    """Each layer measured with the mean losses of those below put back."""
    scores: str
    """Names with commas; the first orders."""
    contrast: str
    """Source of the items that probing asks."""
    one_at_a_time: bool = False
    """Never both models in memory; so it is anyhow where they do not fit."""
    bounds: bool = False
    """What could come back at all, too."""


def _one_at_a_time(
    dense: str, pruned: str, words: Text, asked: Asked, loading: Loading, why: str, as_json: bool
) -> tuple[ModelPair, Tokens, HeadStatistics]:
    """The pair without its weights, the tokens, what was found. Raises SettingError where both models are needed."""
    if asked.in_order or asked.scores or asked.bounds:
        raise SettingError(
            f"{why or 'One model at a time was asked for.'} --in-order, --scores and --bounds need both models at "
            "once: leave them out, or load in half precision (--dtype bfloat16)."
        )
    if why:
        note(f"{why} They are read one at a time.")
    if pruned == DEMO:  # Made from the dense one, and small.
        pruned = open_pair(dense, pruned, words, loading)[0].pruned_name
    pair = skeleton_pair(dense, pruned, loading)
    models = OneAtATime(pair, loading)
    tokens = words.tokens(models.dense() if words.source == SELF else pair.dense, pair.tokenizer)
    statistics = watched(capture_one_at_a_time(pair, models.dense, models.pruned, tokens, asked.positions))
    pair = replace(pair, notes=tuple(models.remarks()))
    note_pair(pair, as_json)
    return pair, tokens, statistics


def inspect(dense: str, pruned: str, words: Text, asked: Asked, loading: Loading, as_json: bool) -> None:
    """Tables of what was lost, and scores of heads."""
    names = [name.strip() for name in asked.scores.split(",") if name.strip()]
    for name in names:
        chosen(name, computed(), "Score")
    check_csv(asked.csv)
    why = "" if pruned == DEMO else too_big(dense, pruned, loading)
    if why or asked.one_at_a_time:
        pair, tokens, statistics = _one_at_a_time(dense, pruned, words, asked, loading, why, as_json)
    else:
        pair, tokens = open_pair(dense, pruned, words, loading, as_json)
        statistics = watched((capture_in_order if asked.in_order else capture)(pair, tokens, asked.positions))
    lost = components(statistics)
    heads = head_loss(statistics).to_pandas()
    training, held_out = split_held_out(tokens) if names or asked.bounds else (tokens, tokens)
    inputs = ScoreInputs(pair, statistics, lost, training, held_out, asked.contrast)
    for name in names:
        heads = heads.assign(**watched(score_heads(name, inputs)).columns(name))
    for remark in getattr(inputs.results.get("probing"), "notes", ()):
        note(f"{asked.contrast}: {remark}")
    reach = None if not asked.bounds else watched(bounds(pair, lost, training, held_out, held_out)).to_pandas()
    first = names[0] if names else "output_weighted"
    heads = heads.sort_values(first, ascending=SCORES[first].lowest_first)
    parts = lost.to_pandas().sort_values("variance", ascending=False).head(asked.top)
    try:
        if asked.csv is not None:
            write_csv(heads.sort_values(["layer", "head"]), asked.csv)
    finally:  # What was found is told even where the disk refuses it.
        _tell(pair, statistics, heads, parts, reach, names, asked.top, held_out.count, as_json)


def _tell(
    pair: ModelPair,
    statistics: HeadStatistics,
    heads: pd.DataFrame,
    parts: pd.DataFrame,
    reach: pd.DataFrame | None,
    names: list[str],
    top: int,
    held_out: int,
    as_json: bool,
) -> None:
    """heads: as they are ordered. held_out: tokens that `reach`, what could come back at all, was measured on."""
    if as_json:
        gone: dict[str, Any] = {"remarks": pair.remarks()}
        gone |= {} if pair.match is None else {"gone": str(pair.match)}
        gone |= {"notes": list(pair.notes)} if pair.notes else {}
        more = gone if reach is None else gone | {"bounds": records(reach)}
        show_json({"tokens": statistics.count, "heads": records(heads), "components": records(parts)} | more)
        return
    if pair.match is not None:
        say(f"{pair.match}")
    shown = [*names, *METRICS]
    rows = [
        [f"{row.layer}.{row.head}", *(f"{getattr(row, name):.4f}" for name in shown)]
        for row in heads.head(top).itertuples()
    ]
    by = (
        f"Heads by {SCORES[names[0]].title.lower()}"
        if names
        else "Heads that lost most, by what it changes in the residual stream"
    )
    show_table(f"{by} ({statistics.count} tokens)", ["layer.head", *(name.replace("_", " ") for name in shown)], rows)
    rows = [
        [f"{row.layer}.{row.head}.{row.component}", f"{row.energy:.1%}", f"{row.variance:.4f}", f"{row.magnitude:+.4f}"]
        for row in parts.itertuples()
    ]
    show_table("Strongest lost components", ["layer.head.component", "of its head", "mean square", "mean (α)"], rows)
    if reach is not None:
        show_table(f"What could come back at all ({held_out} held-out tokens)", *_reach(reach))


def _reach(frame: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of `Bounds.to_pandas`."""
    rows = []
    for row in records(frame):
        name = BOUNDS[row["what"]] if row["layer"] is None else f"heads of layer {row['layer']} dense"
        share = "" if pd.isna(row["recovered_share"]) else f"{row['recovered_share']:.1%} ± {row['share_stderr']:.1%}"
        change = f"{row['change']:+.4f} ± {row['change_stderr']:.4f}"
        rows.append([name, f"{row['perplexity']:.3f} ± {row['stderr']:.3f}", change, share])
    return ["", "perplexity", "nats against pruned", "recovered"], rows
