"""Threads in each of which torch computes on one core.

Many small products do better so than one after the other on many threads, which wait for each other after every
product: where a core is busy with something else, a hundred times as long as the product takes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch


def one_each(workers: int) -> ThreadPoolExecutor:
    """A pool of so many such threads; elsewhere torch goes on as it did."""
    usual, ready = torch.get_num_threads(), threading.Barrier(workers + 1)

    def begin() -> None:
        torch.get_num_threads()  # The first call in a thread fetches the number for it, which would undo the next line.
        torch.set_num_threads(1)
        ready.wait()

    pool = ThreadPoolExecutor(workers, initializer=begin)
    for _ in range(workers):
        pool.submit(int)  # starts a thread
    ready.wait()
    # The number of the thread that asks is its own, but it is also what threads yet to come begin with.
    torch.set_num_threads(usual)
    return pool


@contextmanager
def single_threaded(workers: int) -> Iterator[ThreadPoolExecutor]:
    """`one_each` for the length of a `with`. What is still waiting is given up on the way out."""
    pool = one_each(workers)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
