"""Points of a sweep, each handed to a process of the command line of its own, several at once."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from restorelcc.artifacts.sweep_runs import point_name
from restorelcc.artifacts.unfinished import PAIR, Unfinished, find_unfinished, kept, pair_facts
from restorelcc.capture.components import LostComponents
from restorelcc.errors import RestoreLCCError, WriteError
from restorelcc.evaluation.comparison import side_by_side
from restorelcc.evaluation.perplexity import TokenLoss
from restorelcc.models.loading import Loading
from restorelcc.models.pair import ModelPair
from restorelcc.progress import Progress
from restorelcc.restoration.sweep import Failure, Grid, Point, SweepResult, judged_point, or_failure, training_of
from restorelcc.text.tokens import Tokens

from .handing import LOOK, Launch, in_hand


@dataclass
class _Point:
    """One that a process trains."""

    point: Point
    left: Unfinished
    launch: Launch
    place: int
    """Of those that are at it at once."""
    began: float = field(default_factory=time.perf_counter)


def swept(
    pair: ModelPair,
    lost: LostComponents,
    score: Tensor,
    tokens: Tokens,
    held_out: Tokens,
    grid: Grid,
    about: dict[str, Any],
    loading: Loading,
    processes: int,
) -> Iterator[Progress | SweepResult | Failure]:
    """As `restoration.sweep.sweep`, with results in the order in which they end. about: what every point's run says.
    Left early, the processes end, and nothing stays of what they were at."""
    dense, pruned = yield from side_by_side(pair.dense, held_out, [(pair.pruned, nullcontext)])
    given, waiting, under_way = (pair, lost, score, tokens, held_out, grid), grid.points(), list[_Point]()
    count = len(waiting)
    try:
        while waiting or under_way:
            while waiting and len(under_way) < processes:
                point = waiting.pop(0)
                place = min(set(range(processes)) - {each.place for each in under_way})
                begun = _started(point, given, about, loading, place, processes)
                started = yield from or_failure(begun, point)
                if isinstance(started, Failure):
                    yield started
                else:
                    under_way.append(started)
            over = next((each for each in under_way if each.launch.is_over(LOOK / len(under_way))), None)
            if over is not None:
                under_way.remove(over)
                yield (yield from or_failure(_result(over, pair, dense, pruned), over.point))
            done = count - len(waiting) - len(under_way)
            yield Progress(f"{done} of {count} points, {len(under_way)} processes at the next", done, count)
    finally:
        for each in under_way:
            each.launch.ended()
            _discard(each.left)


def _started(
    point: Point,
    given: tuple[ModelPair, LostComponents, Tensor, Tokens, Tokens, Grid],
    about: dict[str, Any],
    loading: Loading,
    place: int,
    processes: int,
) -> Generator[Progress, None, _Point]:
    """A point, kept and handed to a process."""
    trainer = yield from training_of(point, *given)
    pair = trainer.pair
    with kept(trainer, point_name(point, pair.pruned_name), about, {PAIR: pair_facts(pair, loading)}) as keeper:
        if keeper.fault:
            raise WriteError(keeper.fault)
        in_hand.add(keeper.folder.name)  # While this holds it, so that nobody takes it for one that was interrupted.
    left = find_unfinished(keeper.folder.name)
    try:
        return _Point(point, left, Launch(left, loading, 1, _share(loading, place, processes)), place)
    except BaseException:
        _discard(left)
        raise


def _share(loading: Loading, place: int, processes: int) -> dict[str, str]:
    """Of the machine, as its environment says: a GPU, where there are several one of them, and a share of the cores."""
    cores = max(1, (os.cpu_count() or 1) // processes)
    share = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(cores)}
    if loading.resolved_device().startswith("cuda"):
        visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(torch.cuda.device_count())))
        share["CUDA_VISIBLE_DEVICES"] = visible.split(",")[place % len(visible.split(","))]
    return share


def _result(
    over: _Point, pair: ModelPair, dense: TokenLoss, pruned: TokenLoss
) -> Generator[Progress, None, SweepResult]:
    """What a process left, measured here. Raises RestoreLCCError with what it ended with."""
    try:
        error = over.launch.ended()
        if error:
            raise RestoreLCCError(error)
        training = over.left.again().training(pair)
        yield Progress(f"measuring what came of {over.left.name}", 0, 1)
        return replace(judged_point(over.point, training, dense, pruned), seconds=time.perf_counter() - over.began)
    finally:
        _discard(over.left)


def _discard(left: Unfinished) -> None:
    """A point is no training that anybody goes on with."""
    with suppress(RestoreLCCError):
        left.discard()
    in_hand.discard(left.folder.name)
