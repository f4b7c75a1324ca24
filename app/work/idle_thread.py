"""Calls one after the other on a thread of their own that ends when there is nothing to do. No screen in here.

OpenMP keeps a pool of workers for every thread that ever computed in parallel, as long as that thread lives, and where
the pools together are larger than the machine it lets none of them wait for the next call without sleeping. A training
beside one idle thread ran at seven tenths of its speed.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
IDLE = 0.5  # seconds without work after which the thread ends; beginning anew takes a few milliseconds


class BriefThread:
    """An executor with one worker thread, which begins with the first call and ends after `idle` seconds without one.

    Calls that nobody waits for any more are made all the same: what they call should see to that.
    """

    def __init__(self, name: str, idle: float = IDLE) -> None:
        self._name, self._idle = name, idle
        self._changed = threading.Condition()
        self._calls: deque[Callable[[], None]] = deque()
        self._alive = False

    def submit(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call it when those before it are done; the future has what it returns or raises."""
        future: Future[T] = Future()
        with self._changed:
            self._calls.append(lambda: _settle(future, call, args, kwargs))
            if not self._alive:
                self._alive = True
                threading.Thread(target=self._serve, name=self._name, daemon=True).start()
            self._changed.notify()
        return future

    def _serve(self) -> None:
        while True:
            with self._changed:
                if not self._changed.wait_for(lambda: self._calls, self._idle):
                    self._alive = False
                    return
                call = self._calls.popleft()
            call()
            del call  # What it closed over, models perhaps, may be freed while the thread waits.


def _settle(future: Future[T], call: Callable[..., T], args: Any, kwargs: Any) -> None:
    try:
        result = call(*args, **kwargs)
    except BaseException as error:  # Whoever waits for it gets it.
        future.set_exception(error)
    else:
        future.set_result(result)
