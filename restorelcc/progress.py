"""Long work is a generator: it yields `Progress` and returns its result.

The caller draws, logs and stops; closing the generator stops the work where it is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

T = TypeVar("T")
LOOK = 0.5  # seconds after which who waits for another's work yields again, so that waiting can be stopped too


@dataclass(frozen=True)
class Progress:
    """Where a piece of long work stands."""

    what: str
    """What is being done now, for people."""
    done: int
    """Units finished."""
    total: int
    """Units in all."""
    detail: object = field(default=None, compare=False, repr=False, kw_only=True)
    """What was just done, for whoever knows this kind of work."""


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


def retold(work: Generator[Progress, None, T], tell: Callable[[Progress], Progress]) -> Generator[Progress, None, T]:
    """The work, each of its steps told as `tell` makes of it: as a part of something larger."""
    while True:
        try:
            step = next(work)
        except StopIteration as end:
            result: T = end.value
            return result
        yield tell(step)


def duration(seconds: float) -> str:
    """A time for people, to two units: 42 s, 3 min 05 s, 5 h 44 min, 2 d 03 h."""
    whole = round(seconds)
    if whole < 90:
        return f"{whole} s"
    if whole < 3_600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / 3_600)
    return f"{hours // 24} d {hours % 24:02d} h"


class Standing(StrEnum):
    """How far something is that is made once."""

    ABSENT = "absent"
    MAKING = "making"
    READY = "ready"
    FAILED = "failed"


@dataclass(eq=False)
class _Attempt:
    """Somebody makes it."""

    progress: Progress | None = None
    over: bool = False
    error: Exception | None = None


class Once(Generic[T]):
    """The result of long work that many may ask for, in threads of their own: made once, when it is first asked for.

        models = Once(load)                     # load() is a generator of Progress that returns the models
        models.value                            # None: they are not there yet
        finish(models.made())                   # there they are; the next who asks has them at once

    Whoever asks first makes it, in their thread. Others who ask meanwhile wait, and see how far it is. If it fails, all
    of them get the error, and who asks later tries again. If it is given up, by closing the generator, one of those who
    wait begins anew. A thread that leaves its own attempt standing half-way and asks again waits for itself.
    """

    def __init__(self, work: Callable[[], Generator[Progress, None, T]], value: T | None = None) -> None:
        """value: what the work would give, where that is at hand already."""
        self._work, self._value = work, value
        # Re-entrant: a generator that is thrown away is closed in whatever thread the garbage is collected.
        self._changed = threading.Condition(threading.RLock())
        self._attempt: _Attempt | None = None
        self._error: Exception | None = None

    @property
    def value(self) -> T | None:
        """The result, if it is there; asking for it makes nothing and waits for nothing."""
        return self._value

    @property
    def error(self) -> Exception | None:
        """Why the last attempt failed, until another begins."""
        return self._error

    @property
    def standing(self) -> Standing:
        """How far it is."""
        with self._changed:
            if self._value is not None:
                return Standing.READY
            if self._attempt is not None:
                return Standing.MAKING
            return Standing.ABSENT if self._error is None else Standing.FAILED

    def forget(self) -> None:
        """Let go of the result: who asks next makes it anew."""
        with self._changed:
            self._value = None

    def made(self) -> Generator[Progress, None, T]:
        """Make it, or wait for whoever does; returns it, or raises what went wrong."""
        while True:
            with self._changed:
                if self._value is not None:
                    return self._value
                theirs = self._attempt
                if theirs is None:
                    mine = self._attempt = _Attempt()
                    self._error = None
            if theirs is None:
                return (yield from self._make(mine))
            yield from self._watch(theirs)

    def _make(self, attempt: _Attempt) -> Generator[Progress, None, T]:
        try:
            with closing(self._work()) as work:
                while True:
                    try:
                        step = next(work)
                    except StopIteration as end:
                        value: T = end.value
                        self._value = value
                        return value
                    with self._changed:
                        attempt.progress = step
                        self._changed.notify_all()
                    yield step
        except Exception as error:
            attempt.error = self._error = error
            raise
        finally:
            with self._changed:
                self._attempt, attempt.over = None, True
                self._changed.notify_all()

    def _watch(self, attempt: _Attempt) -> Generator[Progress, None, None]:
        """Until somebody else's attempt is over; raises why it failed."""
        shown: Progress | None = None

        def news() -> bool:
            return attempt.over or attempt.progress is not shown

        while True:
            with self._changed:
                self._changed.wait_for(news, LOOK)
                shown = attempt.progress
            if attempt.over:
                if attempt.error is not None:
                    raise attempt.error
                return
            yield shown or Progress("starting", 0, 1)
