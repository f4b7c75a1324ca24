"""Figures of trainings that take longer than a visit: published by the paper, or measured by us beforehand."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from math import log
from statistics import mean, stdev
from typing import Any

from restorelcc.models.loading import DEMO_FOLDER

STRATEGIES, TEACHERS = DEMO_FOLDER / "strategies.json", DEMO_FOLDER / "teachers.json"
WEIGHTS, CLOSED_FORM = DEMO_FOLDER / "weights.jsonl", DEMO_FOLDER / "closed_form.json"
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
WEIGHT_NAMES = {
    "constants": "a constant per head",
    "output": "output projections",
    "all": "whole layers",
}
FIT_NAMES = {
    "masked": "zeros kept",
    "free": "zeros filled",
    "masked, in order": "zeros kept, layer after layer",
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
    by_seed: dict[str, dict[str, list[float]]]
    """`shares` and `nearer` of every seed, by what was compared."""

    def paired(self, kind: str, first: str, second: str) -> tuple[float, float]:
        """First minus second, and its standard error over seeds, of which each drew the same for both."""
        values = self.by_seed
        differences = [a - b for a, b in zip(values[first][kind], values[second][kind], strict=True)]
        return mean(differences), stdev(differences) / len(differences) ** 0.5


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
    return Judged(found["tokens"], shares, nearer, dict(rows))


@cache
def measured_weights(pair: str = "demo wanda 0.6") -> dict[str, dict[str, Any]]:
    """What `tests/benchmarks/weights.py` wrote of a pair, by what was trained: (mean over seeds, standard error) of
    `nearer there`, `share there` and the same `elsewhere`; values, tokens and seeds.

    The error is that of one run over windows, or over seeds where that is larger.
    """
    lines = map(json.loads, WEIGHTS.read_text(encoding="utf-8").splitlines())
    rows = [row for row in lines if row["pair"] == pair]
    return {name: _over_seeds([row for row in rows if row["trained"] == name]) for name in WEIGHT_NAMES}


def _over_seeds(rows: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"seeds": len(rows), "values": rows[0]["values"], "tokens": rows[0]["tokens"]}
    for key in ("share there", "nearer there", "share elsewhere", "nearer elsewhere"):
        values = [row[key][0] for row in rows]
        over = stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
        found[key] = mean(values), max(over, mean(row[key][1] for row in rows))
    return found


@cache
def measured_fits() -> dict[str, Any]:
    """What `tests/benchmarks/closed_form.py` wrote."""
    found: dict[str, Any] = json.loads(CLOSED_FORM.read_text(encoding="utf-8"))
    return found
