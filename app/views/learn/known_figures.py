"""Figures of trainings that take longer than a visit: published by the paper, or measured by us beforehand."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from math import log
from statistics import mean
from typing import Any

from restorelcc.models.loading import DEMO_FOLDER

STRATEGIES, TEACHERS = DEMO_FOLDER / "strategies.json", DEMO_FOLDER / "teachers.json"
PAPER = {
    "Wanda 50 %": (
        5.68,
        7.26,
        {"RestoreLCC": 6.93, "LoRA": 7.09, "DoRA": 7.11, "EoRA": 7.14, "LoFiT": 7.35},
    ),
    "SparseGPT 2:4": (
        5.68,
        11.04,
        {"RestoreLCC": 8.99, "DoRA": 9.16, "LoRA": 9.32, "EoRA": 9.87, "LoFiT": 10.02, "FLAP": 10.57},
    ),
}
"""(dense, pruned, {method: restored}): perplexities of LLaMA-7B on WikiText-2, as published by Feng et al."""


def published_shares(pruning: str) -> list[tuple[str, float]]:
    """Recovered shares that the published perplexities amount to."""
    dense, pruned, restored = PAPER[pruning]
    return [(name, log(pruned / value) / log(pruned / dense)) for name, value in restored.items()]


TEACHER_NAMES = {
    "injected": "mean put back, untrained",
    "injected_in_order": "the same, layer after layer",
    "ce_given": "cross-entropy, given text",
    "kl_given": "distillation, given text",
    "ce_own": "cross-entropy, model’s own text",
    "kl_own": "distillation, model’s own text",
}
STRATEGY_NAMES = {
    "together_dense": "predicted, together, to the dense model",
    "together": "predicted, together",
    "towards_dense": "predicted, alone, to the dense model",
    "predicted": "predicted, alone",
    "gradient": "gradient norm",
    "first_layers": "first layers",
    "output_weighted": "largest output-weighted loss",
    "probing": "probe accuracy",
    "random": "at random",
    "relative_error": "largest relative error",
}
Figures = dict[str, tuple[float, float]]
"""(share, 0 to 1, and its standard error) by the name of what was compared."""


@dataclass(frozen=True)
class Judged:
    """How strategies, or teachers, fared on one text."""

    tokens: int
    shares: Figures
    """Recovered shares of the lost log-likelihood."""
    nearer: Figures
    """Shares of the distance to the dense model that are gone."""


@cache
def measured_strategies() -> tuple[dict[str, Any], dict[str, Judged]]:
    """(how it was measured, what was found by each text) as `tests/benchmarks/strategies.py` wrote it, means over its
    seeds."""
    facts = json.loads(STRATEGIES.read_text(encoding="utf-8"))
    return facts, {name: _judged(found) for name, found in facts.pop("texts").items()}


@cache
def measured_teachers() -> tuple[dict[str, Any], Judged]:
    """(how it was measured, what was found) as `tests/benchmarks/teachers.py` wrote it, of one seed."""
    facts = json.loads(TEACHERS.read_text(encoding="utf-8"))
    return facts, _judged(facts)


def _judged(found: dict[str, Any]) -> Judged:
    rows = found["recovered"].items()
    shares, nearer = (
        {name: (mean(row[key]), row[f"{key}_stderr"]) for name, row in rows} for key in ("shares", "nearer")
    )
    return Judged(found["tokens"], shares, nearer)
