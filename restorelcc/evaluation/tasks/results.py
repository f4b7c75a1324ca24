"""What came out of asking: accuracies with their standard errors, differences between models on the same questions, and
whether any of it is more than chance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..comparison import NOISE

PAIRS = (("pruned", "dense"), ("restored", "pruned"), ("restored", "dense"))
"""Which models are held against each other, where both were asked: (model, against)."""


@dataclass(frozen=True)
class Accuracy:
    """Share of questions answered right, 0 to 1."""

    value: float
    stderr: float
    """s / √n with s² = Σ (x − x̄)² / (n − 1), as lm-eval has it; infinite for one question."""
    within_chance: bool
    """Not further from what guessing gives than `NOISE` standard errors of guessing, √(Σ p(1 − p)) / n."""


@dataclass(frozen=True)
class PairedDifference:
    """Share answered right by one model minus that by another, on the same questions."""

    value: float
    stderr: float
    """Of the mean of differences by question, each −1, 0 or 1: what both find hard cancels out."""
    gained: int
    """Questions that the one answers right and the other does not."""
    lost: int
    """The reverse."""
    p: float
    """McNemar's exact test: how probable so uneven a split of gained and lost is, were either as likely; 1 where the
    two never differ."""


@dataclass(frozen=True)
class TaskResult:
    """One task, asked of several models."""

    task: str
    """Its name, or that of its file."""
    metric: str
    """The figure that is told first (see `known.METRICS`)."""
    right: Mapping[str, Mapping[str, Tensor]]
    """By model and metric, [question] float64: 1 where it is answered right, 0 where not."""
    guessed: Tensor
    """[question] float64: probability of guessing it right, 1 / number of choices."""

    @property
    def questions(self) -> int:
        """How many were asked."""
        return len(self.guessed)

    @property
    def chance(self) -> float:
        """What guessing gives on average."""
        return float(self.guessed.mean())

    def accuracy(self, model: str, metric: str = "") -> Accuracy:
        """Of one model; metric: the one told first, by default."""
        right = self.right[model][metric or self.metric]
        guessing = math.sqrt(float((self.guessed * (1 - self.guessed)).sum())) / self.questions
        value, error = _mean(right)
        return Accuracy(value, error, abs(value - self.chance) <= NOISE * guessing)

    def difference(self, model: str, against: str) -> PairedDifference:
        """Of two models, by the metric told first."""
        from scipy.stats import binomtest  # a second to import, and only here

        steps = self.right[model][self.metric] - self.right[against][self.metric]
        gained, lost = int((steps > 0).sum()), int((steps < 0).sum())
        p = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
        return PairedDifference(*_mean(steps), gained, lost, p)

    def compared(self) -> list[tuple[str, str]]:
        """The `PAIRS` of which both were asked."""
        return [pair for pair in PAIRS if set(pair) <= set(self.right)]

    def figures(self) -> dict[str, Any]:
        """As it is written in JSON."""
        models: dict[str, dict[str, float | bool | None]] = {}
        for model, metrics in self.right.items():
            row = models[model] = {}
            for metric in metrics:
                found = self.accuracy(model, metric)
                row |= {metric: found.value, f"{metric}_stderr": _finite(found.stderr)}
            row["within_chance"] = self.accuracy(model).within_chance
        paired = []
        for model, against in self.compared():
            step = self.difference(model, against)
            parts = {"difference": step.value, "stderr": _finite(step.stderr), "p": step.p}
            paired.append({"model": model, "against": against, **parts, "gained": step.gained, "lost": step.lost})
        return {
            "task": self.task,
            "metric": self.metric,
            "questions": self.questions,
            "chance": self.chance,
            "models": models,
            "paired": paired,
        }


def _mean(values: Tensor) -> tuple[float, float]:
    """(mean, its standard error)."""
    count = len(values)
    return float(values.mean()), float(values.std() / math.sqrt(count)) if count > 1 else math.inf


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
