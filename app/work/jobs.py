"""Long work in the background: a queue a device, one job at a time, an owner who alone may cancel. No screen in here.

    job = jobs.submit("Restoring", owner, "cpu", work)     # work(job) is a generator that yields Progress
    job.state, job.progress, job.left                      # read by whoever draws
    jobs.cancel(job, owner)

Work is stopped at its next yield. Work that has something to save when stopped looks at `job.stopping` itself.
"""

from __future__ import annotations

import itertools
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Hashable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import torch

from restorelcc.errors import RestoreLCCError
from restorelcc.progress import Progress

log = logging.getLogger(__name__)

HISTORY = 40  # finished jobs that are remembered
CORES = torch.get_num_threads()


class State(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


Work = Callable[["Job"], Generator[Progress, None, Any]]


@dataclass(eq=False)
class Job:
    """One piece of work. Written by its worker, read by everybody."""

    title: str
    owner: str
    device: str
    work: Work
    key: Hashable = None
    """Two jobs of one key are the same work."""
    keeps_on_cancel: bool = False
    """The work watches `stopping` and returns what it has, instead of being closed."""
    id: str = field(default_factory=lambda: secrets.token_hex(4))
    state: State = State.QUEUED
    progress: Progress | None = None
    result: Any = None
    error: str = ""
    refusal: type[RestoreLCCError] | None = None
    """What kind of error it is, where the engine refused something. Not the error, which holds on to what it was of."""
    notes: list[Any] = field(default_factory=list)
    """What the work shows on its way, such as training steps."""
    queued: float = field(default_factory=time.monotonic)
    started: float | None = None
    ended: float | None = None
    beside: str = ""
    """Its queue, where that is not the device's usual one."""
    _stop: threading.Event = field(default_factory=threading.Event)
    _over: threading.Event = field(default_factory=threading.Event)

    @property
    def queue(self) -> str:
        """Jobs of one queue run one after the other."""
        return f"{self.device} {self.beside}".rstrip()

    @property
    def stopping(self) -> bool:
        """Somebody asked it to stop."""
        return self._stop.is_set()

    @property
    def finished(self) -> bool:
        """It will not change any more."""
        return self.state in (State.DONE, State.CANCELLED, State.FAILED)

    @property
    def fraction(self) -> float:
        """Share of the stage it is in that is done, 0 to 1."""
        progress = self.progress
        return progress.done / progress.total if progress and progress.total else 0.0

    @property
    def age(self) -> float:
        """Seconds since it was asked for."""
        return time.monotonic() - self.queued

    @property
    def seconds(self) -> float:
        """Since it began to run."""
        return 0.0 if self.started is None else (self.ended or time.monotonic()) - self.started

    def wait(self, seconds: float | None = None) -> bool:
        """Until it is finished, at most so long; False if it is not by then."""
        return self._over.wait(seconds)


class Jobs:
    """Queues of jobs, one a device and purpose, each with a worker thread as long as there is something in it."""

    def __init__(self, history: int = HISTORY) -> None:
        self._lock = threading.Lock()
        self._queues: dict[str, deque[Job]] = {}
        self._running: dict[str, Job] = {}
        self._finished: deque[Job] = deque(maxlen=history)

    def submit(
        self,
        title: str,
        owner: str,
        device: str,
        work: Work,
        key: Hashable = None,
        keeps_on_cancel: bool = False,
        beside: str = "",
    ) -> Job:
        """Put work into the device's queue; work of the same key that is waiting or running is joined, not repeated.

        Work without an owner, which the server began by itself, belongs to the first who joins it. beside: the name of
        a second queue of the device, for what somebody waits for and should not wait behind minutes of training.
        """
        with self._lock:
            if key is not None:
                for other in self._alive():
                    if other.key == key and not other.stopping:
                        other.owner = other.owner or owner
                        return other
            job = Job(title, owner, device, work, key, keeps_on_cancel, beside=beside)
            queue = job.queue
            if queue not in self._queues:
                self._queues[queue] = deque()
                threading.Thread(target=self._serve, args=(queue,), name=f"jobs-{queue}", daemon=True).start()
            self._queues[queue].append(job)
            return job

    def get(self, job_id: str) -> Job | None:
        """By id, as long as it is remembered."""
        with self._lock:
            return next((job for job in (*self._alive(), *self._finished) if job.id == job_id), None)

    def find(self, key: Hashable) -> Job | None:
        """The newest job of a key, alive or remembered."""
        with self._lock:
            return next((job for job in reversed((*self._finished, *self._alive())) if job.key == key), None)

    def ahead(self, job: Job) -> list[Job]:
        """The jobs that come first: the one that runs, then those queued earlier."""
        with self._lock:
            queue = list(self._queues.get(job.queue, deque()))
            if job not in queue:
                return []
            return [*filter(None, [self._running.get(job.queue)]), *queue[: queue.index(job)]]

    def waiting_before(self, job: Job) -> int:
        """How many jobs come first: running ones and those queued earlier."""
        return len(self.ahead(job))

    def listed(self) -> list[Job]:
        """Running, then queued, then finished ones, newest first."""
        with self._lock:
            return [*self._alive(), *reversed(self._finished)]

    def cancel(self, job: Job, owner: str) -> bool:
        """Ask it to stop. False, and nothing happens, if somebody else owns it."""
        if job.owner != owner:
            return False
        with self._lock:
            job._stop.set()
            queue = self._queues.get(job.queue, deque())
            if job in queue:
                queue.remove(job)
                self._end(job, State.CANCELLED)
        return True

    def _alive(self) -> list[Job]:
        return [*self._running.values(), *itertools.chain.from_iterable(self._queues.values())]

    def _serve(self, queue: str) -> None:
        # A thread that begins while others turn to one core each may be given one core too, for good.
        torch.set_num_threads(CORES)
        while True:
            with self._lock:
                if not self._queues[queue]:
                    del self._queues[queue]  # The thread ends, so that its pool of workers does (see `idle_thread`).
                    return
                job = self._queues[queue].popleft()
                self._running[queue] = job
                job.state, job.started = State.RUNNING, time.monotonic()
            state = self._run(job)
            with self._lock:
                del self._running[queue]
                self._end(job, state)

    def _run(self, job: Job) -> State:
        try:
            work = job.work(job)
            while True:
                try:
                    job.progress = next(work)
                except StopIteration as end:
                    job.result = end.value
                    return State.DONE
                if job.stopping and not job.keeps_on_cancel:
                    work.close()
                    return State.CANCELLED
        except RestoreLCCError as error:
            job.error, job.refusal = str(error), type(error)
        except torch.OutOfMemoryError:
            job.error = (
                f"The memory of {job.device} is full. Use a smaller batch or window, half precision, or another device."
            )
        except BaseException as error:  # A worker must outlive whatever its work does.
            log.exception("job %s failed", job.title)
            job.error = f"This should not have happened ({type(error).__name__}: {error}). The server's log has more."
        return State.FAILED

    def _end(self, job: Job, state: State) -> None:
        job.ended, job.state = time.monotonic(), state
        job.work = _nothing  # What it closed over, models perhaps, may be freed.
        self._finished.append(job)
        job._over.set()


def _nothing(job: Job) -> Generator[Progress, None, None]:
    yield from ()


jobs = Jobs()
"""All long work of this server. Streamlit imports a module once, so every session sees this one."""
