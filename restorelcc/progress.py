"""Long work is a generator: it yields `Progress` and returns its result.

The caller draws, logs and stops; closing the generator stops the work where it is.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """Where a piece of long work stands."""

    what: str
    """What is being done now, for people."""
    done: int
    """Units finished."""
    total: int
    """Units in all."""


def finish(work: Generator[Progress, None, T], report: Callable[[Progress], None] | None = None) -> T:
    """Run `work` to its end, hand every step to `report`, and give back its result."""
    while True:
        try:
            step = next(work)
        except StopIteration as end:
            result: T = end.value
            return result
        if report is not None:
            report(step)
