"""How much text suffices: of restorations that differ in the amount they were trained on, and in nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..evaluation.perplexity import paired_difference
from .sweep import Failure, Point, SweepResult


@dataclass(frozen=True)
class Enough:
    """One setting, trained on several amounts of text."""

    results: tuple[SweepResult, ...]
    """By rising number of tokens, two or more."""
    least: SweepResult
    """The one of fewest tokens that is no worse than the one of most by more than two standard errors of their paired
    difference on the held-out windows. The fewer those are, the less they can tell apart."""

    def __str__(self) -> str:
        most = self.results[-1]
        if self.least is most:
            return f"All {most.tokens:,} tokens are needed: fewer do worse, by more than noise."
        change = paired_difference(most.restored, self.least.restored)
        return (
            f"{self.least.tokens:,} tokens suffice: with {most.tokens:,} the loss changes by {change.nats:+.4f} ± "
            f"{change.stderr:.4f} nats per token, within two standard errors."
        )


def enough(results: Iterable[SweepResult | Failure]) -> list[Enough]:
    """One for every setting that was trained on more than one amount of text, in the order of the results."""
    alike: dict[Point, list[SweepResult]] = {}
    for result in results:
        if isinstance(result, SweepResult):
            alike.setdefault(replace(result.point, text=1.0), []).append(result)
    ordered = [sorted(group, key=lambda result: result.tokens) for group in alike.values()]
    return [Enough(tuple(group), _least(group)) for group in ordered if len(group) > 1]


def _least(ordered: list[SweepResult]) -> SweepResult:
    most = ordered[-1].restored
    return next(one for one in ordered if paired_difference(one.restored, most).z <= 2)
