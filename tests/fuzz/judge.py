"""What is wrong with how a damaged input is answered: nothing where it is the right value, or one line."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import sys
import tempfile
import warnings
from pathlib import Path

from commands import call
from subjects import Case

from restorelcc.errors import LONGEST, RestoreLCCError

SECONDS, BYTES = 60, 2 * 2**30
SECRETS = ("/etc/passwd", "/proc/self/environ", "secret.txt")
"""What damaged files name, and nobody asked for."""
MINE = ("/dev/null", "/dev/tty", "/proc/self/clear_refs")  # The last: from here on a peak is counted anew.


class Overtime(BaseException):
    """It took longer than it may."""


def _late(*_: object) -> None:
    raise Overtime


class Watch:
    """Files that Python opens, makes, moves and deletes while it is on."""

    def __init__(self) -> None:
        self.read: set[str] = set()
        self.changed: set[str] = set()
        self.on = False
        sys.addaudithook(self._see)  # for good: hooks cannot be taken away

    def _see(self, event: str, told: tuple[object, ...]) -> None:
        if not self.on or not told or not isinstance(told[0], str | bytes):
            return
        path = os.fsdecode(told[0])
        if event == "open":
            flags = told[2] if isinstance(told[2], int) else 0
            (self.changed if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) else self.read).add(path)
        elif event in ("os.remove", "os.rmdir", "os.mkdir", "os.rename", "os.link", "os.symlink", "os.truncate"):
            self.changed.add(path)

    def __enter__(self) -> Watch:
        self.read, self.changed, self.on = set(), set(), True
        return self

    def __exit__(self, *_: object) -> None:
        self.on = False


WATCH = Watch()


def state(folder: Path) -> dict[str, tuple[int, ...]]:
    """Everything in it: what it is, how large, and when it was last written."""
    seen = {}
    for above, folders, files in os.walk(folder):
        for name in folders + files:
            told = os.lstat(os.path.join(above, name))
            # The time of a folder changes with what is made in it and taken away again.
            written = 0 if name in folders else told.st_mtime_ns
            seen[os.path.relpath(os.path.join(above, name), folder)] = (
                told.st_mode,
                told.st_size * bool(written),
                written,
            )
    return seen


def peak() -> int:
    """Bytes of memory that this process has had at most since `forget_peak`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def laid_out(case: Case, made: Path, scratch: Path) -> None:
    """A copy of what the case needs of the valid things, before they are damaged."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    for name in ("data", "cache", "tmp"):
        (scratch / name).mkdir()
    for name in case.parts:
        path = made / name
        if os.path.isdir(path):  # unlike Path's, it takes names that no file can have
            shutil.copytree(path, scratch / name, dirs_exist_ok=True)
        elif os.path.isfile(path):
            shutil.copy(path, scratch / name)


def faults(case: Case, made: Path, scratch: Path) -> list[str]:
    """A sentence for each thing that is wrong."""
    laid_out(case, made, scratch)
    arguments = case.placed(scratch)
    os.environ["XDG_DATA_HOME"], os.environ["XDG_CACHE_HOME"] = str(scratch / "data"), str(scratch / "cache")
    tempfile.tempdir = str(scratch / "tmp")
    before = state(scratch)
    forget_peak()
    held = peak()
    signal.signal(signal.SIGALRM, _late)
    signal.alarm(SECONDS)
    try:
        with WATCH, warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", ResourceWarning)
            wrong, refused = _called(case, scratch) if case.call else _commanded(arguments)
    except Overtime:
        return [f"took longer than {SECONDS} s"]
    finally:
        signal.alarm(0)
        tempfile.tempdir = None
    wrong += [f"warned: {warning.message}"[:200] for warning in warned]
    after = state(scratch)
    if refused or case.call:
        left = sorted({name for name, _ in after.items() ^ before.items() if not name.startswith("cache")})
        wrong += [f"left or changed {left[:3]}"] if left else []
    wrong += ["left something among temporary files"] if list((scratch / "tmp").iterdir()) else []
    wrong += _outside(scratch, " ".join(arguments))
    grown = peak() - held
    return [*wrong, f"took {grown / 2**30:.1f} GiB"] if grown > BYTES else wrong


def _outside(scratch: Path, asked: str) -> list[str]:
    """What was read that nobody asked for, and written outside."""
    secrets = sorted(path for path in WATCH.read if path.endswith(SECRETS) and path not in asked)
    written = sorted(
        path
        for path in WATCH.changed
        if os.path.isabs(path) and not path.startswith((str(scratch), *MINE)) and "__pycache__" not in path
    )
    return [f"read {path}" for path in secrets[:1]] + [f"wrote {path}" for path in written[:1]]


def _one_line(message: str) -> list[str]:
    """What is wrong with a message."""
    if len(message) > LONGEST:
        return [f"a message of {len(message)} characters: {message[:160]!r}"]
    if len(message.splitlines()) != 1 or not message.isprintable():
        return [f"a message of several lines, or none: {message[:200]!r}"]
    return []


def _called(case: Case, scratch: Path) -> tuple[list[str], bool]:
    """By the engine: a value, or its error. (What is wrong, whether it was refused.)"""
    assert case.call is not None
    try:
        case.call(scratch)
    except RestoreLCCError as error:
        return _one_line(str(error)), True
    except Exception as error:
        return [_named(error)], True
    return [], False


def _commanded(arguments: list[str]) -> tuple[list[str], bool]:
    """By the command line: exit 0, or 2 and one line. (What is wrong, whether it was refused.)"""
    result = call(*arguments)
    error = result.exception
    if isinstance(error, Overtime):
        raise error
    if error is not None and not isinstance(error, SystemExit):
        return [_named(error)], True
    if result.exit_code == 0:
        return ([] if finite(result.stdout) else [f"a number that is none: {result.stdout[:200]!r}"]), False
    if result.exit_code != 2:
        return [f"exit {result.exit_code}: {result.output[-200:]!r}"], True
    lines = result.stderr.removesuffix("\n").split("\n")
    at = next((index for index, line in enumerate(lines) if line.startswith("Error: ")), len(lines))
    wrong = [f"says more than its error: {lines[0][:200]!r}"] if any("Traceback" in line for line in lines) else []
    wrong += ["writes results beside its error"] if result.stdout else []
    # Before it there may be notes on what was read so far, a line each.
    return wrong + _one_line("\n".join(lines[at:]).removeprefix("Error: ")), True


def _named(error: BaseException) -> str:
    """The error with the innermost place of ours that it came from."""
    frame, place = error.__traceback__, ""
    while frame is not None:
        file = frame.tb_frame.f_code.co_filename
        if "restorelcc/" in file or "/app/" in file:
            place = f"{Path(file).name}:{frame.tb_lineno}"
        frame = frame.tb_next
    return f"{type(error).__name__} at {place}: {str(error)[:160]}"


def finite(text: str) -> bool:
    """Where it is JSON: no NaN, no infinity, and a perplexity that is a number."""
    try:
        answer = json.loads(text)
    except ValueError:
        return True
    return not (isinstance(answer, dict) and "perplexity" in answer) or (
        isinstance(answer["perplexity"], float) and math.isfinite(answer["perplexity"]) and answer["perplexity"] >= 1
    )
