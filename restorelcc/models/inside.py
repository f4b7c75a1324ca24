"""The weights of a model's folder lie in that folder: neither its index nor a link in it makes other files be read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from ..errors import LoadError

INDEX = "*.index.json"
WEIGHTS = ("*.safetensors", "*.bin", INDEX)


def check_inside(folder: Path) -> None:
    """Raises LoadError where reading the weights of a folder would read a file outside of it. What links of the hub's
    cache lead to is that cache's own, wherever it is."""
    home = folder.resolve()
    for file, whence in _files(folder):
        if file.is_relative_to(home) or _is_blob(file):
            continue
        raise LoadError(
            f"{whence} leads to {file}, which is outside the model's folder: whoever made it could have any file "
            "read. Copy the weights into the folder."
        )


def _files(folder: Path) -> Iterator[tuple[Path, str]]:
    """(the file that is meant in the end, what leads there) for all that could be weights."""
    for path in (path for pattern in WEIGHTS for path in folder.glob(pattern)):
        yield path.resolve(), str(path)
    for index in folder.glob(INDEX):
        for name in _shards(index):
            yield (folder / name).resolve(), f"{index}, by its weight_map,"


def _shards(index: Path) -> set[str]:
    """What an index names; nothing where it cannot be read, which whoever reads the weights says better."""
    try:
        named = json.loads(index.read_bytes())["weight_map"].values() if index.is_file() else ()
        return {name for name in named if isinstance(name, str) and "\x00" not in name}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return set()


def _is_blob(file: Path) -> bool:
    """Whether it lies where the hub's cache keeps what its snapshots link to: models--owner--name/blobs/digest."""
    return file.parent.name == "blobs" and file.parent.parent.name.startswith("models--")
