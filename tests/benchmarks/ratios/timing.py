"""Two pieces of work in turns, and what one takes of the other: machines differ and are noisy, ratios less so."""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch

Work = Callable[[], object]


class Seconds(float):
    """What a piece of work returns that times itself, since not all that it does counts."""


@dataclass(frozen=True)
class Row:
    """Our work, what it is held against, and how much of that it may take."""

    name: str
    ours: Work
    theirs: Work
    target: float | None = None
    """None: nobody set one."""
    least: bool = False
    """The target is what it has to reach: how many times as fast ours is, or how much of the other's speed it keeps."""

    def measured(self, turns: int) -> "Measured":
        """In turns, after one warm-up each."""
        times: dict[str, list[float]] = {"ours": [], "theirs": []}
        for turn in range(turns + 1):
            for name, work in (("ours", self.ours), ("theirs", self.theirs)):
                took = _timed(work)
                if turn:
                    times[name].append(took)
        mine, other = (statistics.median(times[name]) for name in ("ours", "theirs"))
        parts = [a / b for a, b in zip(times["ours"], times["theirs"], strict=True)]
        ratio, low, high = (1 / each if self.least else each for each in (mine / other, min(parts), max(parts)))
        return Measured(self.name, ratio, min(low, high), max(low, high), mine, other, self.target, self.least)


@dataclass(frozen=True)
class Measured:
    """What came of a row."""

    name: str
    ratio: float
    """Of medians: ours / theirs, or, where the target is a least, theirs / ours."""
    lowest: float
    highest: float
    """Of single turns."""
    ours: float
    """Seconds, median."""
    theirs: float
    target: float | None
    least: bool

    @property
    def met(self) -> bool | None:
        """None where there is no target."""
        if self.target is None:
            return None
        return self.ratio >= self.target if self.least else self.ratio <= self.target

    def figures(self) -> dict[str, Any]:
        """As it is written in JSON."""
        return asdict(self) | {"met": self.met}

    def line(self) -> str:
        """For people."""
        verdict = "" if self.met is None else "  met" if self.met else "  MISSED"
        sign = "≥" if self.least else "≤"
        target = "" if self.target is None else f"  target {sign} {self.target:.2f}{verdict}"
        times = f"{self.ours * 1e3:,.0f} ms / {self.theirs * 1e3:,.0f} ms"
        return f"{self.ratio:7.2f}  ({self.lowest:.2f} to {self.highest:.2f})  {self.name}  ({times}){target}"


def _timed(work: Work) -> float:
    """Seconds; of work that times itself what it says."""
    _settled()
    began = time.perf_counter()
    result = work()
    _settled()
    return result if isinstance(result, Seconds) else time.perf_counter() - began


def _settled() -> None:
    """What a GPU was given is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def in_turn(rows: Iterator[Row], turns: int, only: str = "") -> Iterator[Measured]:
    """One row after the other, each made when its turn comes and let go after it. only: what a row's name has to
    contain."""
    for row in rows:
        if only in row.name:
            yield row.measured(turns)
