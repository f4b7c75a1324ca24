"""What is being written and is not whole yet, and who writes it.

A draft lies beside the place that it will take, and beside it a file that its process holds locked. The lock ends with
the process, whatever ends that, so what nobody holds was left by one that was killed: no clock has a say, nor a number
of a process that another may have by now.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX, LOCK, ASIDE = ".restorelcc-draft-", ".lock", ".aside"


@contextmanager
def draft(place: Path) -> Iterator[Path]:
    """A path in the folder `place` for what is not whole yet: nothing is there, and nobody else uses it.

    Who writes there renames or removes it. What a killed process left in `place` is cleared away first, and so is this
    one, should its process be killed. Raises OSError.
    """
    clear(place)
    while True:
        path = place / f"{PREFIX}{secrets.token_hex(4)}"
        lock = path.with_name(path.name + LOCK)
        with held(lock) as mine:
            if not mine:  # Somebody looks whether it is held, just now.
                continue
            try:
                yield path
            finally:
                with suppress(OSError):
                    lock.unlink()
        return


def aside(path: Path) -> Path:
    """Where what the draft `path` takes the place of waits, under its own name, in a folder beside the draft."""
    return path.with_name(path.name + ASIDE)


def clear(place: Path) -> None:
    """Remove the drafts that killed processes left in a folder; what they had moved aside goes back if nothing took its
    place. What cannot be removed stays."""
    with suppress(OSError):
        for lock in place.glob(f"{PREFIX}*{LOCK}"):
            path = lock.with_name(lock.name.removesuffix(LOCK))
            with suppress(OSError), held(lock, make=False) as mine:
                if mine:
                    _put_back(aside(path))
                    remove(path)
                    remove(aside(path))
                    lock.unlink()


def _put_back(waiting: Path) -> None:
    for old in waiting.iterdir() if waiting.is_dir() else ():
        if not os.path.lexists(waiting.parent / old.name):
            old.rename(waiting.parent / old.name)


def remove(path: Path) -> None:
    """A file or a folder with all that is in it, where it is there and can be removed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


# --- locks ------------------------------------------------------------------------------------------------------


@contextmanager
def held(file: Path, make: bool = True) -> Iterator[bool]:
    """Hold the lock that this file is, for as long as the `with` lasts and this process lives. False where another
    holds it, in this process or elsewhere, or it is gone.

    make: make the file where there is none, and go on without a lock where the disk knows none. Raises OSError.
    """
    descriptor = os.open(file, os.O_RDWR | (os.O_CREAT if make else 0), 0o644)
    try:
        yield _lock(descriptor, otherwise=make) and _is_there(file, descriptor)
    finally:
        os.close(descriptor)


def is_held(file: Path) -> bool:
    """Whether somebody holds the lock that this file is; also where that cannot be known."""
    try:
        with held(file, make=False) as mine:
            return not mine
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _lock(descriptor: int, otherwise: bool) -> bool:
    """Whether it is ours now; `otherwise` where the system has no such locks."""
    if sys.platform == "win32":
        return otherwise
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return otherwise
    return True


def _is_there(file: Path, descriptor: int) -> bool:
    """Whether the file of this name is still the one that was opened."""
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except OSError:
        return False
