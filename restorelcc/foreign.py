"""What others wrote, met at the door: files and libraries may hold and raise anything, and whoever asked for them gets
one error of ours, on one line.

    with foreign(lambda reason: LoadError(f"{path} cannot be read ({reason}). Fetch it again.")):
        ...  # reads the thing, and does nothing else
"""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import RestoreLCCError, shortened

LARGEST = 2**28
"""Bytes of a document that is read whole: vocabularies of a million tokens have a tenth of it."""

DEEPEST = 100
"""Levels of a document: whoever walks through it, libraries too, goes down one call or more a level."""


@contextmanager
def foreign(says: Callable[[str], RestoreLCCError]) -> Iterator[None]:
    """Raises what `says` makes of the reason, a line, where anything at all goes wrong in the `with`; errors of ours
    pass as they are. Only for what reads a foreign thing: around our own work it would hide our mistakes."""
    try:
        yield
    except RestoreLCCError:
        raise
    except BaseException as error:
        if not is_failure(error):
            raise
        raise says(one_line(error)) from error


def is_failure(error: BaseException) -> bool:
    """Whether something went wrong, where otherwise somebody asked for the end. A library in Rust that meets what it
    cannot go on with raises an error that stands beside Python's own."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def one_line(error: BaseException, most: int = 240) -> str:
    """What a library said, in one line of at most so many characters: its first, with the next where that ends in a
    colon; the kind of error where it said nothing."""
    if isinstance(error, OSError) and error.strerror:
        return shortened(error.strerror, most)  # Without the path, which whoever tells it has said.
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    said = lines[0] if not lines[0].endswith(":") or len(lines) == 1 else f"{lines[0]} {lines[1]}"
    if isinstance(error, KeyError | IndexError | TypeError | AttributeError | ZeroDivisionError):
        said = f"{type(error).__name__}: {said}"  # Meant for programmers: alone it says little.
    return shortened(said, most)


def check_regular(path: Path, most: int | None = None) -> None:
    """Before a file is read to its end, which a pipe or a device may not have; links are followed. Raises OSError where
    there is none, ValueError for what is no file, or larger than `most` bytes."""
    told = path.stat()
    if not stat.S_ISREG(told.st_mode):
        raise ValueError("it is a folder" if stat.S_ISDIR(told.st_mode) else "it is a pipe, a socket or a device")
    if most is not None and told.st_size > most:
        raise ValueError(f"it has {told.st_size:,} bytes, and {most:,} are the most that is believed")


def content_of(path: Path, most: int = LARGEST) -> bytes:
    """All of a file. Raises as `check_regular` does."""
    check_regular(path, most)
    return path.read_bytes()


def document_of(path: Path) -> Any:
    """What a JSON file says. Raises OSError, ValueError, and RecursionError for one that is nested too deep."""
    document = json.loads(content_of(path).decode("utf-8"))
    level = [document]
    for _ in range(DEEPEST):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return document
    raise ValueError(f"it is nested more than {DEEPEST} deep")


def _inside(value: object) -> Iterable[object]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
