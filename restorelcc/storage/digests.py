"""A folder that carries the digests of its files, so that a disk that garbled a single bit is found out."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..errors import LoadError
from ..foreign import foreign
from .formats import FORMAT, read_json, write_json

DIGESTS = "digests.json"


def seal(folder: Path) -> None:
    """Write down the SHA-256 of every file in it, once all are written. Raises OSError."""
    write_json(folder / DIGESTS, {"format": FORMAT, "sha256": _digests(folder)})


def check_seal(folder: Path) -> None:
    """Raises LoadError where a file is not as `seal` found it, or is missing or new, or there is no seal."""
    sealed = read_json(folder / DIGESTS, "folder that was sealed").get("sha256")
    with foreign(lambda reason: LoadError(f"{folder} cannot be read ({reason}). Delete the folder.")):
        found = _digests(folder)
    if sealed != found:
        sealed = sealed if isinstance(sealed, dict) else {}
        names = sorted(name for name in {*sealed, *found} if sealed.get(name) != found.get(name))
        raise LoadError(
            f"{folder} is damaged: {names[0] if names else DIGESTS} is not as it was written. Delete the folder."
        )


def _digests(folder: Path) -> dict[str, str]:
    """By name; pipes and devices are no files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != DIGESTS)
    digests = {}
    for path in files:
        with path.open("rb") as content:
            digests[path.relative_to(folder).as_posix()] = hashlib.file_digest(content, "sha256").hexdigest()
    return digests
