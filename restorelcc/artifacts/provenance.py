"""What a result depends on beside what it is made from: the code that computes it. Part of every key of the cache."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
LIBRARIES = ("torch", "transformers")


@cache
def code_digest(package: Path = PACKAGE) -> str:
    """Of the versions of the libraries that compute, and of every source file of this package, by place and content.

    A version number alone changes too seldom: whoever runs a checkout would be shown what earlier code found.
    """
    digest = hashlib.sha256(repr([(name, version(name)) for name in LIBRARIES]).encode())
    for path in sorted(package.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(package).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()
