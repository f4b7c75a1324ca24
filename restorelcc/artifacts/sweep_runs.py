"""Points of a sweep as runs: each is kept as any restoration is, to be listed and compared with all others."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ..models.pair import ModelPair
from ..restoration.sweep import Point, SweepResult
from .runs import Run, save_run

JUDGED_BY = "held-out windows of the text trained on, which also chose the best step and among the points of a sweep"
"""What the figures of a point are of."""


def sweep_tag(began: datetime) -> str:
    """By which the runs of one sweep are found."""
    return f"sweep of {began:%-d %b %H:%M}"


def point_name(point: Point, pruned: str) -> str:
    """What the run of a point is called. pruned: what people call the pruned model."""
    some = "" if point.text == 1 else f", {point.text:g} of the text"
    heads = f"{point.heads:.3g} of heads, {point.components_written} components"
    return f"{pruned}, {heads}, rate {point.lr:g}, {point.loss}{some}"


def keep_point(
    result: SweepResult, pair: ModelPair, pruned: str, about: dict[str, Any], facts: dict[str, Any] | None = None
) -> Run | None:
    """Keep a point as a run; None where nothing is there to keep. pruned: what people call the pruned model; about:
    what is known of every point, its calibration among it; facts: of the config alone. Raises WriteError."""
    if result.restoration is None:
        return None
    judged, text = result.judged, about["calibration"]
    share = result.point.text
    said = about | {
        "evaluation": JUDGED_BY,
        "judged_on": None,
        "calibration": text | {"windows": result.point.count(text["windows"])},
        "figures": judged.figures(),
        "held_out": {"dense": judged.dense.figures(), "pruned": judged.pruned.figures()},
    }
    name, more = point_name(result.point, pruned), (facts or {}) | ({"share": share} if share < 1 else {})
    return save_run(result.restoration, pair.geometry, name, said, pruned=pair.pruned, facts=more)
