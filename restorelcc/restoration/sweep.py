"""Many restorations of one pair, one after the other, to see what does best: heads × components × learning rate × loss,
and how much text suffices.

grid = Grid(heads=(0.25, 1.0), components=(4, None), lr=(0.1, 0.2), loss=("kl",), text=(0.25, 1.0))
for step in sweep(pair, components, score, tokens, held_out, grid):
    ...                            # Progress on the way; a SweepResult or a Failure as each point ends
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TypeVar

import pandas as pd
import torch
from torch import Tensor

from ..capture.components import LostComponents
from ..compensation.interface import compensated
from ..errors import RestoreLCCError, SettingError
from ..evaluation.comparison import Comparison, compare, side_by_side
from ..evaluation.perplexity import TokenLoss, paired_difference
from ..hf.failures import RAN_OUT, out_of_memory
from ..models.memory import let_go
from ..models.pair import ModelPair
from ..processes import apart, from_each, process, processes
from ..progress import Progress, finish, retold
from ..selection.picks import Selection, check_share, share_of_heads
from ..text.tokens import Tokens
from .settings import Settings
from .training import Restoration, Stepped, Training, directions, prepared

T = TypeVar("T")
ALL = "all"
"""How all components of a head are written."""


def share_of(windows: int, share: float) -> int:
    """How many windows a share of so many is. Raises SettingError for what is none."""
    if not 0 < share <= 1:
        raise SettingError(f"A share of {share} of the text cannot be trained on: give more than 0, up to 1.")
    return max(1, round(windows * share))


def some_of(tokens: Tokens, share: float) -> Tokens:
    """A share of the windows, evenly spread. Raises SettingError."""
    count = share_of(len(tokens), share)
    return tokens if count == len(tokens) else tokens[torch.linspace(0, len(tokens) - 1, count).round().long()]


@dataclass(frozen=True)
class Point:
    """What one restoration of a sweep has of its own."""

    heads: float
    """Share of the heads that the pruned model has, above 0 up to 1; those of highest score."""
    components: int | None
    """Strongest components of each of them; None: all."""
    lr: float
    loss: str
    text: float = 1.0
    """Share of the windows to train on, above 0 up to 1, evenly spread. The steps stay, so a smaller share is seen more
    often: what differs is how much there is to learn from, not how long."""

    def windows(self, tokens: Tokens) -> Tokens:
        """Those it trains on."""
        return some_of(tokens, self.text)

    def count(self, windows: int) -> int:
        """How many of so many windows it trains on."""
        return share_of(windows, self.text)

    def selection(self, lost: LostComponents, score: Tensor) -> Selection:
        """What it trains; score: [layer, head], higher comes first. Raises SettingError."""
        return share_of_heads(lost, score, self.heads, self.components)

    @property
    def components_written(self) -> str:
        """Such as '4', or 'all'."""
        return ALL if self.components is None else str(self.components)


@dataclass(frozen=True)
class Grid:
    """Every combination of what is listed. Raises SettingError for a list that is empty or repeats, and nonsense."""

    heads: tuple[float, ...]
    components: tuple[int | None, ...]
    lr: tuple[float, ...]
    loss: tuple[str, ...]
    settings: Settings = field(default_factory=Settings)
    """All else, the steps among it: shared by every point."""
    text: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        names = {"heads": "shares of heads", "components": "numbers of components", "lr": "rates", "loss": "losses"}
        names |= {"text": "shares of the text"}
        for name, words in names.items():
            values = getattr(self, name)
            if not values:
                raise SettingError(f"The sweep has no {words} to try: give at least one.")
            if len(set(values)) < len(values):
                raise SettingError(f"Of the {words} to try one is given twice, which would train the same twice.")
        for share in self.heads:
            check_share(share)
        for share in self.text:
            share_of(1, share)
        for count in self.components:
            if count is not None and count < 1:
                raise SettingError(f"{count} components a head leave nothing to train: give 1 or more, or '{ALL}'.")
        for point in self.points():
            self.settings_of(point)  # A rate or a loss that makes no sense is known before anything is trained.

    @classmethod
    def read(
        cls,
        heads: Iterable[str],
        components: Iterable[str],
        lr: Iterable[str],
        loss: Iterable[str],
        settings: Settings | None = None,
        text: Iterable[str] = ("1",),
    ) -> Grid:
        """From values as people type them, components as numbers or 'all'. Raises SettingError."""
        return cls(
            tuple(_number(float, share, "a share of heads", "a number") for share in heads),
            tuple(None if count.strip() == ALL
                  else _number(int, count, "components a head", f"a whole number or '{ALL}'") for count in components),
            tuple(_number(float, rate, "a learning rate", "a number") for rate in lr),
            tuple(loss),  # Settings refuse what is none
            settings or Settings(),
            tuple(_number(float, share, "a share of the text", "a number") for share in text),
        )  # fmt: skip

    def points(self) -> list[Point]:
        """In the order in which they are trained: rates next to each other, losses far apart."""
        wanted = product(self.loss, self.components, self.heads, self.text, self.lr)
        return [Point(heads, components, lr, loss, text) for loss, components, heads, text, lr in wanted]

    def settings_of(self, point: Point) -> Settings:
        """How a point is trained."""
        return replace(self.settings, lr=point.lr, loss=point.loss)


def _number(read: Callable[[str], T], typed: str, what: str, wanted: str) -> T:
    """What was typed, read as `wanted`. Raises SettingError that says what it was to be."""
    try:
        return read(typed)
    except ValueError:
        raise SettingError(f"'{typed.strip()}' cannot be read as {what}: give {wanted}.") from None


@dataclass(frozen=True)
class SweepResult:
    """What one point came to. All figures are of the held-out windows, which also chose the best step."""

    point: Point
    picked_heads: int
    picked_components: int
    trained_parameters: int
    held_out_loss: float
    """What the point minimised, at its best step, nats per token. Points of different losses do not compare by it."""
    judged: Comparison
    """Of the held-out windows: the dense, the pruned and the restored model."""
    best_step: int
    tokens: int
    """Tokens of the windows it trained on, each counted once."""
    restored: TokenLoss
    """Of the held-out windows, so that two points can be compared token by token."""
    seconds: float
    """Training and measuring."""
    restoration: Restoration | None = field(default=None, repr=False, compare=False)
    """What was trained, to be kept by whoever wants to; those that were kept let go of it."""


@dataclass(frozen=True)
class Failure:
    """A point that could not be trained, and why."""

    point: Point
    error: str


def sweep(
    pair: ModelPair, lost: LostComponents, score: Tensor, tokens: Tokens, held_out: Tokens, grid: Grid
) -> Iterator[Progress | SweepResult | Failure]:
    """Train every point of the grid; stop by leaving the loop: what was yielded stays.

    score: [layer, head], the order in which shares take heads, highest first. What one point is refused for is its
    Failure, memory that runs out too, and the others go on. Raises SettingError for a score of another shape.
    """
    if score.shape != lost.shape[:2]:
        raise SettingError(f"A score of shape {tuple(score.shape)} does not order heads of shape {lost.shape[:2]}.")
    dense, pruned = yield from side_by_side(pair.dense, held_out, [(pair.pruned, nullcontext)])
    count = len(grid.points())
    for first in range(0, count, processes()):
        index, outcome = first + process(), None
        if index < count:
            with apart():  # A point each, where several processes are at it.
                work = _restored(pair, lost, score, tokens, held_out, grid, index, dense, pruned)
                outcome = yield from or_failure(work, grid.points()[index])
        for each in from_each(outcome):
            if each is not None:
                yield each


def or_failure(work: Generator[Progress, None, T], point: Point) -> Generator[Progress, None, T | Failure]:
    """What is done for one point of a grid, or why there is nothing of it: what it is refused for, or memory that ran
    out."""
    try:
        return (yield from work)
    except Exception as error:
        if not (isinstance(error, RestoreLCCError) or out_of_memory(error)):
            raise
        reason = str(error) if isinstance(error, RestoreLCCError) else RAN_OUT
    let_go()  # The next may be smaller, and nothing of this one should stand in its way.
    return Failure(point, reason)


def _restored(
    pair: ModelPair,
    lost: LostComponents,
    score: Tensor,
    tokens: Tokens,
    held_out: Tokens,
    grid: Grid,
    index: int,
    dense: TokenLoss,
    pruned: TokenLoss,
) -> Generator[Progress, None, SweepResult]:
    """One point of the grid, trained and judged. Raises whatever `Training` does."""
    began, count = time.perf_counter(), len(grid.points())
    point = grid.points()[index]
    before = training_of(point, pair, lost, score, tokens, held_out, grid)
    number = f"point {index + 1} of {count}"
    training = yield from retold(before, lambda step: Progress(f"{number}, {step.what}", index, count))
    steps = training.settings.steps
    for step in training.steps():
        what = f"{number}, step {step.step} of {steps}"
        done = Stepped(step, training.settings, point)
        yield Progress(what, index * steps + step.step, count * steps, detail=done)
    return replace(judged_point(point, training, dense, pruned), seconds=time.perf_counter() - began)


def training_of(
    point: Point, pair: ModelPair, lost: LostComponents, score: Tensor, tokens: Tokens, held_out: Tokens, grid: Grid
) -> Generator[Progress, None, Training]:
    """The training of one point, before its first step; all else as `sweep` has it. Raises what `Training` does."""
    selection, windows, settings = point.selection(lost, score), point.windows(tokens), grid.settings_of(point)
    along = yield from directions(pair, lost, windows, settings)
    return (yield from prepared(pair, along, selection, windows, held_out, settings))


def judged_point(point: Point, training: Training, dense: TokenLoss, pruned: TokenLoss) -> SweepResult:
    """The best of a training on its held-out windows, beside what both models lose there; its time is left open."""
    model, restoration = training.pair.pruned, training.result()
    best = next(step for step in restoration.history if step.step == restoration.best_step)
    put_back = [(model, lambda: compensated(model, restoration.compensation))]
    _, restored = finish(side_by_side(training.pair.dense, training.held_out, put_back))
    return SweepResult(
        point=point,
        picked_heads=len(training.selection.heads),
        picked_components=len(training.selection),
        trained_parameters=restoration.trained_parameters,
        held_out_loss=math.nan if best.held_out_loss is None else best.held_out_loss,
        judged=compare(dense, pruned, restored),
        best_step=restoration.best_step,
        tokens=int(training.tokens.real.sum()),
        restored=restored,
        seconds=0.0,
        restoration=restoration,
    )


def best_first(results: Iterable[SweepResult | Failure]) -> dict[str, list[SweepResult]]:
    """What was trained by lowest held-out loss, for each loss of its own: nats of one loss are not those of another."""
    ranked: dict[str, list[SweepResult]] = {}
    for result in results:
        if isinstance(result, SweepResult):
            ranked.setdefault(result.point.loss, []).append(result)
    return {loss: sorted(group, key=_place) for loss, group in ranked.items()}


def _place(result: SweepResult) -> tuple[bool, float]:
    """By which results are sorted: the lowest loss first, what has none last."""
    return math.isnan(result.held_out_loss), result.held_out_loss


def to_pandas(results: Sequence[SweepResult | Failure]) -> pd.DataFrame:
    """One row a point, as `best_first` orders them and what failed last: loss, heads (share), components ('all' or a
    number, as text), lr, text (share), and the figures of `SweepResult`; `error` says why a point failed."""
    ordered: list[SweepResult | Failure] = [result for group in best_first(results).values() for result in group]
    ordered += [result for result in results if isinstance(result, Failure)]
    return pd.DataFrame([_row(result) for result in ordered], columns=COLUMNS)


COLUMNS = [
    "loss", "heads", "components", "lr", "text", "tokens", "picked_heads", "picked_components", "trained_parameters",
    "held_out_loss", "perplexity", "stderr", "recovered_share", "share_stderr", "nearer", "nearer_stderr", "gain",
    "gain_stderr", "best_step", "seconds", "error",
]  # fmt: skip


def _row(result: SweepResult | Failure) -> dict[str, object]:
    """What `COLUMNS` name, as far as a failure has it."""
    point = result.point
    row: dict[str, object] = {
        "loss": point.loss,
        "heads": point.heads,
        "components": point.components_written,
        "lr": point.lr,
        "text": point.text,
    }
    if isinstance(result, Failure):
        return row | {"error": result.error}
    counts = ("tokens", "picked_heads", "picked_components", "trained_parameters", "best_step", "seconds")
    judged = result.judged
    return row | {
        **{name: getattr(result, name) for name in (*counts, "held_out_loss")},
        "perplexity": judged.restored.value,
        "stderr": judged.restored.stderr,
        "recovered_share": judged.recovered.value,
        "share_stderr": judged.recovered.stderr,
        "nearer": judged.nearer.value,
        "nearer_stderr": judged.nearer.stderr,
        "gain": judged.gain.nats,
        "gain_stderr": judged.gain.stderr,
        "error": "",
    }


# --- how much text suffices -------------------------------------------------------------------------------------


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
    """See `Enough.least`; the results by rising number of tokens."""
    most = ordered[-1].restored
    return next(result for result in ordered if paired_difference(result.restored, most).z <= 2)
