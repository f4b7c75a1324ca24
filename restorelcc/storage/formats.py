"""JSON files that this package writes: each says its format, so that a later version knows what it reads."""

from __future__ import annotations

import json
import math
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import LoadError
from ..foreign import document_of, foreign

FORMAT = 1


def versions() -> dict[str, str]:
    """Versions of what results depend on."""
    libraries = {name: version(name) for name in ("torch", "transformers", "safetensors")}
    return {"restorelcc": __version__, "python": platform.python_version(), **libraries}


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Indented, for people to read too."""
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def plain(value: Any) -> Any:
    """As JSON has it, which knows no NaN and no infinity: they are null."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path, what: str) -> dict[str, Any]:
    """A file that this package wrote. Raises LoadError for one that is absent, damaged or of a later format."""
    with foreign(lambda reason: LoadError(f"{path} cannot be read ({reason}). The {what} is damaged; make it again.")):
        try:
            data = document_of(path)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise LoadError(
                f"There is no {path}, so {path.parent} is no {what}. Give the folder that was written."
            ) from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        given = data.get("format") if isinstance(data, dict) else type(data).__name__
        raise LoadError(f"{path} has format {given}; this version reads format {FORMAT}. Update RestoreLCC Studio.")
    return data
