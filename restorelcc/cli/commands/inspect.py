"""The command `inspect`: what every head lost, and reasons to pick one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from ...capture.components import components
from ...capture.head_loss import METRICS, head_loss
from ...capture.one_at_a_time import capture_one_at_a_time
from ...capture.statistics import HeadStatistics, Positions, capture
from ...errors import SettingError
from ...evaluation.comparison import Share
from ...models.loading import DEMO, Loading
from ...models.memory import too_big
from ...models.pair import ModelPair, OneAtATime, skeleton_pair
from ...progress_bar import watched
from ...registry import chosen
from ...restoration.bounds import bounds
from ...restoration.injection import capture_in_order
from ...selection.own import OwnScore, own_file
from ...selection.scores import SCORES, Score, ScoreInputs, closer, computed
from ...selection.scoring import score_heads
from ...storage.folders import check_csv, write_csv
from ...text.calibration import split_held_out
from ...text.sources import SELF
from ...text.tokens import Tokens
from ..console import note, records, say, show_json, show_table
from ..opening import Text, note_pair, open_pair
from .closer import looked, looks
from .closer import tell as tell_looked

SHARES = (("recovered_share", "share_stderr"), ("nearer", "nearer_stderr"))
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
    closer: str = ""
    """Names of closer looks, with commas."""
    own: tuple[Path, ...] = ()
    """Files of scores made elsewhere; the first orders where no score is asked for."""

    def owned(self, pair: ModelPair) -> list[OwnScore]:
        """What these files say of the heads of a pair. Raises SettingError."""
        return [own_file(path, (pair.geometry.n_layers, pair.geometry.n_heads)) for path in self.own]


@dataclass(frozen=True)
class Measured:
    """What was found, as tables."""

    pair: ModelPair
    tokens: int
    """That were captured."""
    heads: pd.DataFrame
    """A row a head: every measure of loss, and the scores asked for."""
    components: pd.DataFrame
    """A row a component, the strongest first."""
    bounds: pd.DataFrame | None
    """What could come back at all, if that was asked for."""
    held_out: int
    """Tokens that the bounds are measured on."""
    looked: dict[str, pd.DataFrame]
    """What was found on a closer look, by the name of the look."""
    own: dict[str, OwnScore]
    """Scores that were given as files, by name."""

    def rows(self, names: list[str]) -> dict[str, Score]:
        """The scores of these names and those that were given: the first orders."""
        return {name: SCORES[name] for name in names} | {name: each.row for name, each in self.own.items()}


def inspect(dense: str, pruned: str, text: Text, asked: Asked, loading: Loading, as_json: bool) -> None:
    """Tables of what was lost, and scores of heads."""
    names = [name.strip() for name in asked.scores.split(",") if name.strip()]
    for name in names:
        chosen(name, computed() | closer(), "Score")
    looks(asked.closer)
    check_csv(asked.csv)
    found = _measured(*_captured(dense, pruned, text, asked, loading, as_json), names, asked)
    first = next(iter(found.rows(names).values()), SCORES["output_weighted"])
    heads = found.heads.sort_values(first.name, ascending=first.lowest_first)
    try:
        if asked.csv is not None:
            write_csv(found.heads, asked.csv)
    finally:  # What was found is told even where the disk refuses it.
        if as_json:
            _tell_json(found, heads, asked.top)
        else:
            _tell(found, heads.head(asked.top), found.rows(names), asked.top)


def _captured(
    dense: str, pruned: str, text: Text, asked: Asked, loading: Loading, as_json: bool
) -> tuple[ModelPair, Tokens, HeadStatistics]:
    """The pair, the tokens, and what every head lost on them; one model at a time where both do not fit."""
    both = asked.in_order or asked.scores or asked.bounds or asked.closer  # which models on disk can have too
    why = "" if pruned == DEMO or both else too_big(dense, pruned, loading)
    if why or asked.one_at_a_time:
        return _one_at_a_time(dense, pruned, text, asked, loading, why, as_json)
    pair, tokens = open_pair(dense, pruned, text, loading, as_json)
    asked.owned(pair)  # Refused before what takes long.
    return pair, tokens, watched((capture_in_order if asked.in_order else capture)(pair, tokens, asked.positions))


def _one_at_a_time(
    dense: str, pruned: str, text: Text, asked: Asked, loading: Loading, why: str, as_json: bool
) -> tuple[ModelPair, Tokens, HeadStatistics]:
    """The pair without its weights, the tokens, what was lost. Raises SettingError where both models are needed."""
    if asked.in_order or asked.scores or asked.bounds or asked.closer:
        raise SettingError(
            f"{why or 'One model at a time was asked for.'} --in-order, --scores, --bounds and --closer need both "
            "models at once: leave them out, or load in half precision (--dtype bfloat16)."
        )
    if why:
        note(f"{why} They are read one at a time.")
    if pruned == DEMO:  # Made from the dense one, and small.
        pruned = open_pair(dense, pruned, text, loading)[0].pruned_name
    pair = skeleton_pair(dense, pruned, loading)
    asked.owned(pair)
    models = OneAtATime(pair, loading)
    tokens = text.tokens(models.dense() if text.source == SELF else pair.dense, pair.tokenizer)
    statistics = watched(capture_one_at_a_time(pair, models.dense, models.pruned, tokens, asked.positions))
    pair = replace(pair, notes=tuple(models.remarks()))
    note_pair(pair, as_json)
    return pair, tokens, statistics


def _measured(pair: ModelPair, tokens: Tokens, statistics: HeadStatistics, names: list[str], asked: Asked) -> Measured:
    """The tables: of the capture alone, or with scores and bounds, which need both models."""
    lost, heads = components(statistics), head_loss(statistics).to_pandas()
    training, held_out = split_held_out(tokens) if names or asked.bounds or asked.closer else (tokens, tokens)
    inputs = ScoreInputs(pair, statistics, lost, training, held_out, asked.contrast)
    for name in names:
        score = watched(score_heads(name, inputs))
        heads = heads.assign(**score.columns(name))
        for remark in score.notes:
            note(f"{name}: {remark}")
    own = {each.row.name: each for each in asked.owned(pair)}
    for name, each in own.items():
        heads = heads.assign(**each.scored.columns(name))
    reach = watched(bounds(pair, lost, training, held_out, held_out)).to_pandas() if asked.bounds else None
    strongest = lost.to_pandas().sort_values("variance", ascending=False)
    found = looked(inputs, tokens, looks(asked.closer))
    return Measured(pair, statistics.count, heads, strongest, reach, held_out.count, found, own)


def _tell_json(found: Measured, heads: pd.DataFrame, top: int) -> None:
    """For programs. heads: all of them, as they are ordered."""
    tables: dict[str, Any] = {"tokens": found.tokens, "remarks": found.pair.remarks(), "heads": records(heads)}
    tables |= {"components": records(found.components.head(top))}
    if found.pair.match is not None:
        tables |= {"gone": str(found.pair.match)}
    if found.pair.notes:
        tables |= {"notes": list(found.pair.notes)}
    if found.bounds is not None:
        tables |= {"bounds": records(found.bounds)}
    tables |= {name: records(frame) for name, frame in found.looked.items()}
    show_json(tables)


def _tell(found: Measured, heads: pd.DataFrame, scores: dict[str, Score], top: int) -> None:
    """For people. heads: those to list, in order. scores: by name, the first of which orders."""
    if found.pair.match is not None:
        say(f"{found.pair.match}")
    columns = [*scores, *METRICS]
    rows = [
        [f"{row.layer}.{row.head}", *(f"{getattr(row, name):.4f}" for name in columns)] for row in heads.itertuples()
    ]
    by = "Heads that lost most, by what it changes in the residual stream"
    for score in list(scores.values())[:1]:
        by = f"Heads by {score.title.lower()}"
    show_table(f"{by} ({found.tokens} tokens)", ["layer.head", *(name.replace("_", " ") for name in columns)], rows)
    rows = [
        [f"{part.layer}.{part.head}.{part.component}", f"{part.energy:.1%}", f"{part.variance:.4f}",
         f"{part.magnitude:+.4f}"]
        for part in found.components.head(top).itertuples()
    ]  # fmt: skip
    show_table("Strongest lost components", ["layer.head.component", "of its head", "mean square", "mean (α)"], rows)
    if found.bounds is not None:
        show_table(f"What could come back at all ({found.held_out} held-out tokens)", *_reach(found.bounds), names=True)
    tell_looked(found.looked)


def _reach(frame: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of `Bounds.to_pandas`."""
    rows = []
    for row in records(frame):
        name = BOUNDS[row["what"]] if row["layer"] is None else f"heads of layer {row['layer']} dense"
        shares = [str(Share(row[name], row[error])) for name, error in SHARES]
        change = f"{row['change']:+.4f} ± {row['change_stderr']:.4f}"
        rows.append([name, f"{row['perplexity']:.3f} ± {row['stderr']:.3f}", change, *shares])
    return ["", "perplexity", "nats against pruned", "recovered", "nearer"], rows
