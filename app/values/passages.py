"""A passage that a head is read on: part of a window of a pair's text, or of text that a visitor typed."""

from __future__ import annotations

from dataclasses import dataclass

LONGEST = 64
"""Tokens of a passage: attention over more cannot be seen."""
SOURCES = {"calibration": "Calibration text", "evaluation": "Evaluation text", "own": "Text of my own"}


@dataclass(frozen=True)
class Passage:
    """Hashable, so that it can be part of a cache key."""

    text: int = 0
    """Which window."""
    start: int = 0
    """The first of its tokens."""
    length: int = LONGEST
    """Tokens, at most."""
    source: str = "calibration"
    """Of `SOURCES`."""
    own: str = ""
    """Where that is `own`, what was typed."""
