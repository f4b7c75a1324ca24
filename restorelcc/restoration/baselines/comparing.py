"""Methods against each other on one pair: the same text, steps and seeds, the same figures of each."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from ...errors import RestoreLCCError
from ...evaluation.comparison import Comparison, compare, side_by_side
from ...evaluation.perplexity import TokenLoss
from ...models.memory import Peak, let_go
from ...progress import Progress, retold
from ...pruning.sparsity import zeros_kept
from ...registry import chosen
from ...text.tokens import Tokens
from ..training import Stepped
from .methods import METHODS, Method
from .rival import Rival, Task


@dataclass(frozen=True)
class Outcome:
    """One method with one seed."""

    method: str
    seed: int
    there: Comparison
    """On text of the kind that was trained on, and that nothing was trained on."""
    elsewhere: Comparison | None
    """On text of another kind."""
    trained: int
    """How many numbers were trained or solved for."""
    tokens: int
    """Tokens trained on, repeats counted."""
    seconds: float
    """Of the method alone, measuring left out."""
    peak_bytes: int | None
    """Memory that it took above what was held before; None where the system does not say."""
    zeros: int
    """Of the pruned model, in the matrices of its decoder layers."""
    kept_zeros: int
    """How many of them are zeros still once all is in the weights."""
    beside: int
    """Multiplications a token beyond the pruned model's, where nothing is merged."""

    @property
    def free(self) -> bool:
        """Whether a forward pass costs what the pruned model's does: every zero is there still, and nothing beside."""
        return self.kept_zeros == self.zeros

    def figures(self) -> dict[str, Any]:
        """As it is written in JSON."""
        return {
            "method": self.method,
            "seed": self.seed,
            **self.there.figures(),
            "elsewhere": None if self.elsewhere is None else self.elsewhere.figures(),
            "trained_parameters": self.trained,
            "tokens": self.tokens,
            "seconds": round(self.seconds, 2),
            "peak_bytes": self.peak_bytes,
            "zeros": self.zeros,
            "kept_zeros": self.kept_zeros,
            "multiplications_beside": self.beside,
            "free_at_inference": self.free,
        }


@dataclass(frozen=True)
class Failure:
    """A method that cannot repair this pair, and why."""

    method: str
    seed: int
    reason: str

    def figures(self) -> dict[str, Any]:
        """As it is written in JSON."""
        return {"method": self.method, "seed": self.seed, "error": self.reason}


def trainings(methods: Sequence[str], seeds: int) -> int:
    """How many results there are to be: those that are solved for are the same with every seed."""
    return sum(seeds if METHODS[name].trains else 1 for name in methods)


def compared(
    task: Task, methods: Sequence[str], seeds: int, texts: Mapping[str, Tokens]
) -> Generator[Progress | Outcome | Failure, None, None]:
    """Every method with every seed, those that are solved for once. texts: `there`, and `elsewhere` where there is one.

    Yields progress while it works, and what came of a method as soon as it is known. Raises SettingError for a method
    that is not known.
    """
    rows = [chosen(name, METHODS, "Method") for name in methods]
    before = {}
    for name, tokens in texts.items():
        before[name] = yield from side_by_side(task.pair.dense, tokens, [(task.pair.pruned, nullcontext)])
    for seed in range(seeds):
        for method in rows:
            if not seed or method.trains:
                let_go()  # What the one before freed would be used again, and not be seen as memory of this one.
                try:
                    yield (yield from _of(method, replace(task, seed=seed), texts, before))
                except RestoreLCCError as error:
                    yield Failure(method.name, seed, str(error))


def _of(
    method: Method, task: Task, texts: Mapping[str, Tokens], before: Mapping[str, Sequence[TokenLoss]]
) -> Generator[Progress, None, Outcome]:
    began = time.perf_counter()
    with Peak() as peak:
        rival = yield from _called(method, task)
    seconds = time.perf_counter() - began
    found = {}
    for name, tokens in texts.items():
        _, after = yield from side_by_side(task.pair.dense, tokens, [(rival.model, rival.within)])
        dense, pruned = before[name]
        found[name] = compare(dense, pruned, after)
    zeros, kept = zeros_kept(task.pair.pruned, rival.model if rival.merged is None else rival.merged())
    return Outcome(
        method=method.name,
        seed=task.seed,
        there=found["there"],
        elsewhere=found.get("elsewhere"),
        trained=rival.trained,
        tokens=rival.tokens,
        seconds=seconds,
        peak_bytes=peak.bytes,
        zeros=zeros,
        kept_zeros=kept,
        beside=rival.beside,
    )


def _called(method: Method, task: Task) -> Generator[Progress, None, Rival]:
    """The method's work, its steps told with its name; those of a training are of this method and seed."""

    def named(step: Progress) -> Progress:
        done = step.detail
        if isinstance(done, Stepped):
            done = replace(done, of=(method.name, task.seed))
        return replace(step, what=f"{method.title}: {step.what}", detail=done)

    return (yield from retold(method.run(task), named))
