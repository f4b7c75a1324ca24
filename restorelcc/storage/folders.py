"""Writing whole folders and tables, or nothing; and asking before long work whether they can be written after it."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from ..errors import WriteError
from ..processes import by_the_first
from .drafts import aside, draft, remove

if TYPE_CHECKING:
    import pandas as pd

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFREG: "a file",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
LITTLE = 2**20  # bytes: more than an adapter's description, a card and a curve take
ATTEMPTS = 3
OS_ERROR = re.compile(r"\(os error \d+\)")
"""As libraries written in Rust say it."""


def check_free(folder: Path, need: int = LITTLE) -> None:
    """Asked before long work, not after it: raises WriteError where `folder` could not be written.

    Something is there that is no empty folder, or the folder above cannot be written, or `need` bytes do not fit.
    """
    kind = _kind(folder)
    if kind == "a folder" and not _is_empty(folder):
        raise WriteError(
            f"{folder} exists and is not empty; nothing is overwritten. Choose another place or remove it."
        )
    if kind not in ("", "a folder"):
        raise WriteError(f"{folder} is {kind}, and nothing is overwritten. Choose another place or remove it.")
    if kind and _is_fixed(folder):
        raise WriteError(
            f"{folder} is the folder that this runs in, or a disk of its own, and no other can take its place. Give a "
            f"new name in it, such as {folder / 'restored'}."
        )
    check_writable(folder.parent, need, folder.name)


def check_writable(folder: Path, need: int = LITTLE, name: str = "") -> None:
    """Raises WriteError where nothing called `name` of `need` bytes can be made in `folder`, which need not exist."""
    above, names = folder.absolute(), [name]
    while not os.path.lexists(above):
        names.append(above.name)
        above = above.parent
    try:
        # By trying: permissions, quotas, read-only disks and long names have a say, and not all can be asked.
        with draft(above) as attempt:
            try:
                (attempt / f".{max(names, key=lambda each: len(os.fsencode(each)))}-{'x' * 8}").mkdir(parents=True)
                (attempt / "some").write_bytes(bytes(min(need, LITTLE)))
            finally:
                remove(attempt)
        free = shutil.disk_usage(above).free
    except (OSError, ValueError) as error:
        raise WriteError(f"{folder / name} cannot be written: {_reason(error)}. Choose another place.") from error
    if free < need:
        raise WriteError(
            f"{folder / name} would take about {_size(need)}, and {_size(free)} are free there. Make room, or choose "
            "another place."
        )


def check_room(*needs: tuple[Path, int]) -> None:
    """Raises WriteError where bytes that folders, which need not exist, will take do not fit: those on one disk have to
    fit together."""
    disks: dict[int, list[tuple[Path, int]]] = {}
    for folder, need in needs:
        above = folder.absolute()
        while not os.path.lexists(above):
            above = above.parent
        try:
            disks.setdefault(above.stat().st_dev, []).append((above, need))
        except OSError as error:
            raise WriteError(f"{folder} cannot be written: {_reason(error)}. Choose another place.") from error
    for together in disks.values():
        need, free = sum(need for _, need in together), shutil.disk_usage(together[0][0]).free
        if free < need:
            places = " and ".join(str(place) for place in dict.fromkeys(place for place, _ in together))
            raise WriteError(
                f"What goes to {places} would take about {_size(need)}, and {_size(free)} are free there. Make room, "
                "or choose another place."
            )


@contextmanager
def whole(folder: Path, replace: bool = False, need: int = LITTLE) -> Iterator[Path]:
    """A draft of a folder (see `drafts`) that takes its name when the `with` ends well, and vanishes when it does not.

    replace: what is there gives way, after the new one is complete. Raises WriteError. Nothing that is there is ever
    lost: where something came to `folder` meanwhile, what was written gets another name, which the error says.
    """
    if replace:
        check_writable(folder.parent, need, folder.name)
    else:
        check_free(folder, need)
    with ExitStack() as undo:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            path = undo.enter_context(draft(folder.parent))
            path.mkdir()
        except OSError as error:
            raise WriteError(f"{folder} cannot be written: {_reason(error)}. Choose another place.") from error
        try:
            yield path
            _open_to_all(path)
        except BaseException as error:
            remove(path)
            if is_of_disk(error):
                raise WriteError(f"{folder} cannot be written: {_reason(error)}. Nothing was kept.") from error
            raise
        _take_place(path, folder, replace)


def is_of_disk(error: BaseException) -> bool:
    """Whether a disk refused: safetensors and tokenizers raise errors of their own then."""
    return isinstance(error, OSError | SafetensorError) or bool(OS_ERROR.search(str(error)))


def _open_to_all(draft: Path) -> None:
    """As open as any other folder: mkdtemp makes it private, and safetensors writes files that only their owner reads.
    Folders in it too, such as that of several chat templates."""
    for path in (draft, *draft.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _take_place(path: Path, folder: Path, replace: bool) -> None:
    """Rename the draft `path` to `folder`. Raises WriteError where that fails, after giving the draft a name to find it
    by."""
    old = aside(path) / folder.name
    for attempt in range(ATTEMPTS if replace else 1, 0, -1):
        try:
            if replace and os.path.lexists(folder):
                # A folder that is not empty cannot be replaced in one step: one of the two always exists.
                old.parent.mkdir(exist_ok=True)
                folder.rename(old)
            path.rename(folder)  # Takes the place of nothing, or of an empty folder, and fails on anything else.
        except OSError as error:
            lost = os.path.lexists(old) and not _put_back(old, folder)
            # Another process may have written the same folder; what may be replaced is replaced again.
            if lost or attempt == 1:
                raise _not_in_place(path, folder, error, old if lost else None) from error
        else:
            remove(old.parent)
            return


def _put_back(old: Path, folder: Path) -> bool:
    """Whether what was moved aside is where it was again."""
    if os.path.lexists(folder):
        return False
    try:
        old.rename(folder)
        old.parent.rmdir()
    except OSError:
        return not os.path.lexists(old)
    return True


def _not_in_place(path: Path, folder: Path, error: OSError, old: Path | None) -> WriteError:
    kept = path.with_name(f"{folder.name}-{secrets.token_hex(4)}")
    try:
        path.rename(kept)
    except OSError:
        kept = path
    before = "" if old is None else f", and what was there before in {old}"
    return WriteError(
        f"{folder} cannot be put in place: {_reason(error)}. What was written is whole, in {kept}{before}."
    )


def check_csv(file: Path | None, what: str = "a table") -> None:
    """Before the work. Raises WriteError where a file of this kind could not be written there; one that is there gives
    way."""
    if file is None:
        return
    kind, folder = _kind(file), file.absolute().parent
    if kind not in ("", "a file"):
        raise WriteError(f"{file} is {kind}, and {what} is written to a file. Choose another name.")
    if not folder.is_dir():
        raise WriteError(f"There is no folder {folder} to write {file.name} in. Make it first.")
    check_writable(folder, 0, file.name)
    writable = not kind or os.access(file, os.W_OK)
    if not writable:
        raise WriteError(f"{file} is there and may not be written. Choose another name.")


@by_the_first
def write_csv(frame: pd.DataFrame, file: Path) -> None:
    """Whole or not at all. Raises WriteError as `check_csv` does, and where the disk refuses."""
    _write_whole(file, lambda path: frame.to_csv(path, index=False), "a table")


@by_the_first
def write_text(text: str, file: Path, what: str = "a report") -> None:
    """As `write_csv`."""
    _write_whole(file, lambda path: path.write_text(text, encoding="utf-8"), what)


def _write_whole(file: Path, write: Callable[[Path], object], what: str) -> None:
    check_csv(file, what)
    try:
        with draft(file.absolute().parent) as path:
            try:
                write(path)
                path.replace(file)
            finally:
                remove(path)
    except OSError as error:
        raise WriteError(
            f"{file} cannot be written: {_reason(error)}. The {what.removeprefix('a ')} was not kept."
        ) from error


def _kind(path: Path) -> str:
    """What is at `path`, links not followed; empty where there is nothing. Raises WriteError where no path is meant."""
    try:
        return KINDS.get(stat.S_IFMT(path.lstat().st_mode), "something")
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, ValueError) as error:  # A name too long, or with a zero in it; a folder that may not be read.
        raise WriteError(f"{path} cannot be written: {_reason(error)}. Choose another place.") from error


def _is_fixed(folder: Path) -> bool:
    try:
        return folder.samefile(Path()) or os.path.ismount(folder)
    except OSError:
        return False


def _is_empty(folder: Path) -> bool:
    try:
        return not any(folder.iterdir())
    except OSError as error:
        raise WriteError(f"{folder} cannot be read: {_reason(error)}. Choose another place.") from error


def _size(count: int) -> str:
    """Bytes, for people."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error)
