"""A bar for long work, where somebody sees it: on stderr if that is a terminal, and in a notebook."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from tqdm.auto import tqdm

from .progress import Progress, finish

T = TypeVar("T")


def seen() -> bool:
    """Whether a bar would be seen by anybody."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


def watched(work: Generator[Progress, None, T]) -> T:
    """Run long work to its end, with a bar if one is seen, silently otherwise."""
    if not seen():
        return finish(work)
    bar: Any = None
    kind = ""

    def report(step: Progress) -> None:
        # A new kind of work has a bar of its own: time left is not carried over from another speed.
        nonlocal bar, kind
        if kind != (kind := step.what.split(",")[0].rstrip("0123456789 of")):
            close()
            bar = tqdm(total=step.total, leave=False, dynamic_ncols=True)
        bar.n = step.done
        bar.set_description_str(step.what)

    def close() -> None:
        if bar is not None:
            bar.close()

    try:
        return finish(work, report)
    finally:
        close()


@contextmanager
def libraries_quiet() -> Iterator[None]:
    """Where a bar is not seen, Transformers and the hub draw none of theirs either."""
    from transformers.utils import logging

    if seen() or not logging.is_progress_bar_enabled():
        yield
        return
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()
