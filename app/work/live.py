"""Perplexity of the picks, within a second: one thread a device measures what was asked last. No screen in here.

A thread of its own (see `idle_thread`), because Streamlit runs every rerun in a new one, and so that two people who ask
at once each get the number that they would get alone. One measurement fills a device: rows of several people in one
batch would take as long as one after the other. What helps many people is to compute less for each, so a pass begins
where an earlier one had the same picks in all layers below (`Prefix.after`), and, on processors, to compute several at
once on one core each, where cores do not wait for each other after every product.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Hashable
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from restorelcc.artifacts.findings import Recipe
from restorelcc.compensation.constants import injected
from restorelcc.compensation.interface import compensated
from restorelcc.cores import single_threaded
from restorelcc.evaluation.comparison import Comparison, Share, Within, compare, side_by_side
from restorelcc.evaluation.perplexity import Perplexity, TokenLoss
from restorelcc.progress import Progress, finish
from restorelcc.workspace import Workspace

from ..values.picks import Picks
from .idle_thread import BriefThread

if TYPE_CHECKING:
    from transformers import PreTrainedModel

T = TypeVar("T")
KEPT = 256  # measurements, a few hundred bytes each
ROUND = 1.0  # seconds for which measurements are begun on a core each, before the thread takes what else waits


class Superseded(Exception):
    """Who asked has asked for something else meanwhile."""


class Measured(Comparison):
    """One pair on one text, with some picks put back; nearer is not known without the dense model in memory."""

    @property
    def picked(self) -> Perplexity:
        """With the picks."""
        return self.restored

    @property
    def share(self) -> float:
        """Of the lost log-likelihood recovered; NaN where nothing was lost."""
        return self.recovered.value

    @property
    def share_error(self) -> float:
        """Standard error of the share, from that of the gain."""
        return self.recovered.stderr


def compared(dense: TokenLoss, pruned: TokenLoss, picked: TokenLoss) -> Measured:
    """Three measurements of the same tokens, put together."""
    return Measured(**vars(compare(dense, pruned, picked)))


def unpicked(workspace: Workspace) -> Measured:
    """With nothing put back, on the live set: that is the pruned model, and known without any model. It is no nearer to
    the dense one than it is."""
    findings = workspace.findings
    known = compared(findings.live_dense, findings.live_pruned, findings.live_pruned)
    return replace(known, nearer=Share(0.0, 0.0))


Key = tuple[Recipe, Picks, bool]


@dataclass(frozen=True)
class Waiting:
    """A measurement that was asked for and has not begun."""

    workspace: Workspace
    picks: Picks
    answer: Future[Measured]

    @property
    def key(self) -> Key:
        """What is measured."""
        return self.workspace.recipe, self.picks, False


class Lane:
    """The live measurements: a lane beside the queue of jobs, on which nothing takes longer than people wait for.

    Measures picks for everybody on a thread for each device, in the order in which they were asked for, and remembers
    the results. An asker, such as a browser tab, wants one thing at a time: what it asked before is given up unless
    others want it too.
    """

    def __init__(self, cores: int = 1) -> None:
        """cores: of the processor, for as many measurements at once. Their last digits may differ from those of one
        that has all cores, since sums are in another order."""
        self._cores = cores
        self._lock = threading.Lock()
        self._threads: dict[str, BriefThread] = {}
        self._kept: OrderedDict[Key, Measured] = OrderedDict()
        self._asked: dict[Key, Future[Measured]] = {}
        self._queues: dict[str, deque[Waiting]] = {}
        self._wanted: dict[str, Key] = {}
        self._plain: OrderedDict[Recipe, TokenLoss] = OrderedDict()

    def known(self, workspace: Workspace, picks: Picks, full: bool = False) -> Measured | None:
        """What is measured already."""
        if len(picks) == 0 and not full:
            return unpicked(workspace)
        with self._lock:
            return self._kept.get((workspace.recipe, picks, full))

    def ask(self, workspace: Workspace, picks: Picks, asker: str) -> Future[Measured]:
        """Measure on the live set. `result()` raises Superseded if the same asker asks for other picks before, and what
        the engine raises, such as LoadError; models that are not in memory are loaded."""
        key = (workspace.recipe, picks, False)
        known = self.known(workspace, picks)
        with self._lock:
            self._wanted.pop(asker, None)
            if known is not None:
                done: Future[Measured] = Future()
                done.set_result(known)
                return done
            self._wanted[asker] = key
            if key not in self._asked:
                self._asked[key] = Future()
                self._queue(workspace).append(Waiting(workspace, picks, self._asked[key]))
                self._thread(workspace).submit(self._round, workspace)
            return self._asked[key]

    def ahead(self, workspace: Workspace, picks: Picks) -> int:
        """How many measurements are to be begun before this one; 0 for one that is under way, or that nobody wants."""
        with self._lock:
            queued = [waiting.key for waiting in self._queue(workspace)]
        key = (workspace.recipe, picks, False)
        return queued.index(key) if key in queued else 0

    @property
    def busy(self) -> bool:
        """Somebody waits for a measurement."""
        return bool(self._asked)

    def run(self, workspace: Workspace, call: Callable[[], T]) -> T:
        """Run something short on the thread of the workspace's device, and wait for it. Returns and raises what it
        does."""
        with self._lock:
            future = self._thread(workspace).submit(call)
        return future.result()

    def measure_fully(self, workspace: Workspace, picks: Picks) -> Generator[Progress, None, Measured]:
        """On the whole evaluation text, in the thread of the caller: for a job."""
        pair, tokens = (yield from workspace.loading()), workspace.findings.evaluation
        back = injected(workspace.lost, picks.weights())
        with_picks: tuple[PreTrainedModel, Within] = (pair.pruned, partial(compensated, pair.pruned, back))
        with self._lock:
            plain = self._plain.get(workspace.recipe)
        # The dense model computes anew: its logits are what a distance is to, and too many to be kept.
        others = [with_picks]
        if plain is None:
            others.append((pair.pruned, nullcontext))
        dense, picked, *pruned = yield from side_by_side(pair.dense, tokens, others)
        plain = pruned[0] if plain is None else plain
        measured = compared(dense, plain, picked)
        with self._lock:
            _put(self._plain, workspace.recipe, plain, 4)
            _put(self._kept, (workspace.recipe, picks, True), measured, KEPT)
        return measured

    def _thread(self, workspace: Workspace) -> BriefThread:
        device = workspace.recipe.loading.resolved_device()
        if device not in self._threads:
            self._threads[device] = BriefThread(f"live-{device}")
        return self._threads[device]

    def _queue(self, workspace: Workspace) -> deque[Waiting]:
        """What waits for the workspace's device. The lock is held."""
        return self._queues.setdefault(workspace.recipe.loading.resolved_device(), deque())

    def _round(self, workspace: Workspace) -> None:
        """Measure what has waited longest for the workspace's device; on a processor several at once, where several
        wait. There is a round for everything that is asked for; what comes to it measured is left out."""
        device = workspace.recipe.loading.resolved_device()
        queue = self._queues[device]
        together = min(len(queue), self._cores) if device == "cpu" else 1
        if together <= 1:
            self._next(queue)
            return
        end = time.monotonic() + ROUND

        def until_the_end(_: int) -> None:
            while self._next(queue) and time.monotonic() < end:
                pass

        with single_threaded(together) as cores:
            list(cores.map(until_the_end, range(together)))

    def _next(self, queue: deque[Waiting]) -> bool:
        """Measure what has waited longest; False where nothing waits."""
        try:
            waiting = queue.popleft()
        except IndexError:
            return False
        try:
            measured = self._measure(waiting)
        except BaseException as error:  # Whoever waits for it gets it.
            waiting.answer.set_exception(error)
        else:
            waiting.answer.set_result(measured)
        return True

    def _measure(self, waiting: Waiting) -> Measured:
        workspace, picks, key = waiting.workspace, waiting.picks, waiting.key

        def give_up_if_unwanted(_: Progress) -> None:
            with self._lock:
                if key not in self._wanted.values():
                    # Under one lock: who asks for it from now on must not be handed what is given up here.
                    del self._asked[key]
                    raise Superseded

        try:
            live, findings = workspace.live(), workspace.findings
            prefix = live.prefix
            back = injected(workspace.lost, picks.weights())
            work = prefix.after(picks.by_layer(), within=lambda: compensated(prefix.model, back))
            measured = compared(findings.live_dense, live.pruned, finish(work, give_up_if_unwanted))
            with self._lock:
                _put(self._kept, key, measured, KEPT)
                self._answered(key)
            return measured
        except Superseded:
            raise
        except BaseException:
            with self._lock:
                self._answered(key)
            raise

    def _answered(self, key: Key) -> None:
        """Forget who waits for it. The lock is held."""
        del self._asked[key]
        self._wanted = {asker: wanted for asker, wanted in self._wanted.items() if wanted != key}


def _put(kept: OrderedDict[Any, Any], key: Hashable, value: object, most: int) -> None:
    kept[key] = value
    while len(kept) > most:
        kept.popitem(last=False)


lane = Lane(torch.get_num_threads())
"""All live measurements of this server: every session asks this one."""
