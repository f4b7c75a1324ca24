"""Several processes at one task, as `accelerate launch` starts them: each does its turns, all know what came of them.

    parts = [read(batch) for batch in turns(batches)]      # this process's share
    parts = from_all(parts)                                 # everybody's, in the order of the batches

Alone, which is what a process is that nobody launched beside others, both hand back what they are given. Every process
runs the same command and comes to the same result; what is written is by the first (see `by_the_first`).
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

if TYPE_CHECKING:
    from torch import Tensor

P = ParamSpec("P")
T = TypeVar("T")
_apart = threading.local()


def launched() -> bool:
    """Whether this process was started beside others."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def processes() -> int:
    """How many are at it."""
    return int(_state().num_processes) if launched() and not getattr(_apart, "so", False) else 1


def process() -> int:
    """Which of them this is; 0 for the first, and for one alone."""
    return int(_state().process_index) if processes() > 1 else 0


def own_device() -> str | None:
    """The device that is this process's; None for one alone."""
    if not launched():
        return None
    device = _state().device
    return "cpu" if device.type == "cpu" else str(device)  # Accelerate numbers processors, which safetensors refuse.


def turns(items: Iterable[T]) -> list[T]:
    """Those of them that are this process's."""
    return list(items)[process() :: processes()]


def from_all(parts: Sequence[T]) -> list[T]:
    """What every process made of its `turns`, in the order of the items. All have to ask."""
    if processes() == 1:
        return list(parts)
    shares = list(from_each(list(parts)))
    return [share[at] for at in range(len(shares[0])) for share in shares if at < len(share)]


def from_each(mine: T) -> Iterator[T]:
    """What each process has, one after the other: never more than two are in memory. All have to go to the end."""
    if processes() == 1:
        yield mine
        return
    from accelerate.utils import broadcast_object_list

    for source in range(processes()):
        wait_for_all()
        box: list[Any] = [mine if source == process() else None]
        broadcast_object_list(box, from_process=source)
        yield box[0]


def summed(value: Tensor) -> Tensor:
    """The sum over all processes of a tensor that each has, on the device where it was. All have to ask."""
    if processes() == 1:
        return value
    from accelerate.utils import reduce

    wait_for_all()
    total: Tensor = reduce(value.to(_state().device), "sum")
    return total.to(value.device)


class Shared:
    """A tensor that one process holds and each may ask for, when it likes and how often it likes: the others hand it
    out as soon as they ask for one themselves, or wait for everybody. So none has to do what the others do, as in
    torch's `fully_shard`: there all have to make the same forward passes.

    All make the same ones in the same order. They are kept to the end: one process may be done with them before others.
    """

    def __init__(self, like: Tensor, holder: int, value: Callable[[], Tensor], device: str) -> None:
        """like: says shape and precision. value: asked for by the holder alone, once. device: where it is wanted."""
        self._shape, self._dtype, self._device, self._holder = like.shape, like.dtype, device, holder
        self._own = value() if holder == process() else None
        self._number = len(_made)
        _made.append(self)

    def get(self) -> Tensor:
        """Its numbers: the holder's own, or, until nobody needs them any longer, a copy."""
        return cast("Tensor", _round(self._number)[1])

    def _handed_round(self) -> Tensor:
        from torch import empty, uint8
        from torch.distributed import broadcast

        value = empty(self._shape, dtype=self._dtype, device=self._device) if self._own is None else self._own
        if value.numel():  # as bytes, whatever they mean
            broadcast(value.view(-1).view(uint8), self._holder)
        return value


_made: list[Shared] = []
NOTHING = -1


def _round(wanted: int) -> tuple[bool, Tensor | None]:
    """Each process says which it wants, and all hand round what any does. (Whether none wanted any; what this one
    wanted.)"""
    from torch import tensor, zeros_like
    from torch.distributed import all_gather

    state = _state()
    own = tensor([wanted], device=state.device)
    asked = [zeros_like(own) for _ in range(state.num_processes)]
    all_gather(asked, own)
    numbers = sorted({int(number) for number in asked} - {NOTHING})
    came: Tensor | None = None
    for number in numbers:
        value = _made[number]._handed_round()
        came = value if number == wanted else came
        del value  # What others asked for is not held while more comes.
    return not numbers, came


def wait_for_all() -> None:
    """Until all processes are here, hand out what this one holds: none goes on, or ends, while another needs it."""
    if launched() and _made:
        while not _round(NOTHING)[0]:
            pass


def by_the_first(work: Callable[P, T]) -> Callable[P, T]:
    """What writes to disk, as a decorator: the first process does it, the others wait, and are told what came of it.
    What it raises, all raise."""

    @wraps(work)
    def shared(*given: P.args, **named: P.kwargs) -> T:
        if processes() == 1:
            return work(*given, **named)
        outcome: tuple[T | None, Exception | None] = (None, None)
        if process() == 0:
            try:
                with apart():
                    outcome = work(*given, **named), None
            except Exception as failure:  # Handed on: they would wait for ever.
                outcome = None, failure
        outcomes = list(from_each(outcome))
        result, error = outcomes[0]
        if error is not None:
            raise error
        return cast(T, result)

    return shared


@contextmanager
def apart() -> Iterator[None]:
    """For the length of a `with` and in this thread, each process is alone: for work of which each does a whole."""
    before = getattr(_apart, "so", False)
    _apart.so = True
    try:
        yield
    finally:
        _apart.so = before


@contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """For the length of a `with`, Ctrl-C asks all processes to stop together: what it hands out says whether one did,
    and all have to ask it at the same places. One alone is interrupted as ever."""
    if processes() == 1:
        yield lambda: False
        return
    asked = False

    def ask(*_: object) -> None:
        nonlocal asked
        asked = True

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: any(list(from_each(asked)))
    finally:
        signal.signal(signal.SIGINT, before)


def lost_another(error: BaseException) -> bool:
    """Whether it is raised because another process of the launch is gone."""
    if not launched():
        return False
    from torch.distributed import DistBackendError, DistNetworkError

    return isinstance(error, DistBackendError | DistNetworkError) or "gloo" in str(error)


def _state() -> Any:
    """Accelerate's, which takes part in the launch when it is first asked."""
    import torch
    from accelerate import PartialState

    best = torch.accelerator.current_accelerator()
    # Of what it takes for a GPU, several processes cannot talk about Apple's.
    return PartialState(cpu=best is None or best.type == "mps")
