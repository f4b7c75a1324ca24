"""Writing whole folders and tables, or nothing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from ..errors import WriteError

if TYPE_CHECKING:
    import pandas as pd


def check_free(folder: Path) -> None:
    """Raises WriteError if something is there already: asked before long work, not after it."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise WriteError(
            f"{folder} exists and is not empty; nothing is overwritten. Choose another place or remove it."
        )


@contextmanager
def whole(folder: Path, replace: bool = False) -> Iterator[Path]:
    """A temporary folder beside `folder` that takes its name when the `with` ends well, and vanishes when it does not.

    replace: what is there gives way, after the new one is complete. Raises WriteError.
    """
    if not replace:
        check_free(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        draft.chmod(0o755)  # mkdtemp makes it private; what it becomes should be as open as any other folder.
    except OSError as error:
        raise WriteError(f"{folder} cannot be written: {error.strerror}. Choose another place.") from error
    try:
        yield draft
        _take_place(draft, folder)
    except (OSError, SafetensorError) as error:  # On a full disk safetensors raises an error of its own.
        reason = getattr(error, "strerror", None) or error
        raise WriteError(f"{folder} cannot be written: {reason}. Nothing was kept.") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _take_place(draft: Path, folder: Path) -> None:
    if not folder.exists():
        draft.rename(folder)
        return
    # A folder that is not empty cannot be replaced in one step: move it aside, so that one of the two always exists.
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
    try:
        folder.rename(aside / "old")
        draft.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def check_csv(file: Path | None) -> None:
    """Before the work. Raises WriteError where the folder is not there."""
    if file is not None and not file.absolute().parent.is_dir():
        raise WriteError(f"There is no folder {file.absolute().parent} to write {file.name} in. Make it first.")


def write_csv(frame: pd.DataFrame, file: Path) -> None:
    """Whole or not at all."""
    draft = file.with_name(f".{file.name}.part")
    frame.to_csv(draft, index=False)
    draft.rename(file)
