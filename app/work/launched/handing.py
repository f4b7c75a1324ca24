"""A kept training, handed to processes of the command line (`restore --continue`) and watched through its folder.

    steps = yield from trained(job, interrupted, loading, 2)     # as a part of a job
    training = interrupted.again().training(pair)                # where they left it: measured and kept by the server

They end with the server, or go on to the end where that is killed: either way it is taken up again on the Restore page.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess  # of ourselves  # nosec B404
import sys
import tempfile
import weakref
from collections.abc import Generator, Mapping
from contextlib import suppress
from pathlib import Path

import torch

import restorelcc
from restorelcc.artifacts.findings import Recipe
from restorelcc.artifacts.unfinished import Unfinished
from restorelcc.errors import RestoreLCCError
from restorelcc.models.loading import DISK, MAP, SHARD, Loading
from restorelcc.models.pair import ModelPair
from restorelcc.progress import Progress
from restorelcc.restoration.training import Step

from ...values import permits
from ..jobs import Job

LOOK = 0.5
"""Seconds after which it is looked again how far they are."""
ERROR = "Error: "


def loadable(recipe: Recipe, pair: ModelPair) -> bool:
    """Whether another process can open the pair by its names: not one that was pruned here, in memory alone."""
    return recipe.pruned is not None or Path(pair.pruned_name).is_dir()


def trained(job: Job, interrupted: Unfinished, loading: Loading, processes: int) -> Generator[Progress, None, bool]:
    """Train it to its end, or until the job is stopped; every step as soon as it is kept is a note of the job. False
    where it was stopped before it had begun.

    Raises RestoreLCCError with the line that they ended with; what they kept until then stays.
    """
    launch = Launch(interrupted, loading, processes)
    told, steps = len(interrupted.curve), interrupted.steps
    try:
        while not launch.is_over(LOOK):
            kept = interrupted.again().history()
            job.notes += kept[told:]
            told = max(told, len(kept))
            done = kept[-1].step if kept else 0
            by = f"{processes} processes"
            yield Progress(f"step {done} of {steps}, by {by}" if kept else f"starting {by}", done, steps)
            if job.stopping:
                launch.stop(begun=bool(kept))
    finally:
        error = launch.ended()
    job.notes += interrupted.again().history()[told:]
    if error and not job.stopping:
        raise RestoreLCCError(error)
    return any(isinstance(note, Step) for note in job.notes)


class Launch:
    """The processes, which are a group of their own: Ctrl-C in the server's terminal is not theirs."""

    def __init__(
        self, interrupted: Unfinished, loading: Loading, processes: int, own: Mapping[str, str] | None = None
    ) -> None:
        """own: of their environment."""
        self._said = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - for as long
        self._stopped, self.name = False, interrupted.folder.name
        several = ["--processes", str(processes)] if processes > 1 else []
        command = [sys.executable, "-m", "restorelcc", *several, "restore", "--continue", interrupted.folder.name]
        # Each has a GPU of its own.
        spread = loading.device in ("auto", MAP, DISK, SHARD)
        kind = loading.device if spread else torch.device(loading.device).type
        command += ["--device", "auto" if kind == "cuda" else kind]
        command += [flag for flag, name in permits.FLAGS.items() if getattr(loading, name)]
        source = str(Path(str(restorelcc.__file__)).parents[1])
        paths = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH", "")]))
        self._process = subprocess.Popen(  # what is made here, no shell  # nosec B603
            command,
            env={**os.environ, "PYTHONPATH": paths, **(own or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
            start_new_session=True,
        )
        _alive.add(self)

    def is_over(self, seconds: float) -> bool:
        """Whether they have ended, or do within so many seconds."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self._process.returncode is not None

    def stop(self, begun: bool) -> None:
        """As Ctrl-C does: they measure where they stand and keep it. Where nothing has begun nothing can be kept."""
        if not self._stopped:
            self._stopped = True
            self._signal(signal.SIGINT if begun else signal.SIGTERM)

    def ended(self) -> str:
        """Nothing of them is left, whatever they do: the line that they ended with, empty where all went well."""
        if self._process.poll() is None:
            self._signal(getattr(signal, "SIGKILL", signal.SIGTERM))
        self._process.wait()
        _alive.discard(self)
        with self._said:
            self._said.seek(0)
            said = [line for line in self._said.read().splitlines() if line.strip()]
        if self._process.returncode == 0:
            return ""
        errors = [line.removeprefix(ERROR) for line in said if line.startswith(ERROR)]
        code = self._process.returncode
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        return (errors or [f"What trained it ended {how}. {' '.join(said[-1:])} What was kept stays."])[-1]

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, number)
            else:
                self._process.terminate()


def is_at_it(interrupted: Unfinished) -> bool:
    """Whether processes of this server train it, or begin to, or a job is about to measure what they left."""
    name = interrupted.folder.name
    return name in in_hand or any(launch.name == name for launch in list(_alive))


in_hand: set[str] = set()
"""Folders of trainings that a job hands to processes and takes back from them, also while none is at them."""
_alive: weakref.WeakSet[Launch] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    for launch in list(_alive):
        launch.stop(begun=True)
