"""A score that somebody made elsewhere: a file with a number for heads, which is then a measure like any other."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

import torch
from torch import Tensor

from ..errors import SettingError, shortened
from ..foreign import content_of, foreign
from ..progress import Progress
from .scores import Computation, Score, ScoreInputs
from .scoring import HeadScore

COLUMNS = ("layer", "head", "value")
LARGEST = 4 * 2**20
"""Bytes of such a file: room for a hundred thousand heads."""
LONGEST = 40
"""Characters of a title."""


def _given(inputs: ScoreInputs) -> Generator[Progress, None, HeadScore]:
    """Nothing computes it."""
    yield from ()
    raise SettingError("A score of one's own is given as a file, and not computed.")


OWN = Computation("own", "nothing: it was given", _given)


@dataclass(frozen=True)
class OwnScore:
    """What a file says of heads."""

    row: Score
    scored: HeadScore
    """NaN for heads that it says nothing of."""

    def order(self) -> Tensor:
        """[layer, head], highest for the head that it has come first; heads that it says nothing of come last."""
        return self.row.order(self.scored.values).nan_to_num(nan=-math.inf)

    def from_lowest(self, lowest: bool) -> OwnScore:
        """With the other end first, if so."""
        return replace(self, row=replace(self.row, first="lowest" if lowest else "highest"))


def own_file(path: Path, shape: tuple[int, int]) -> OwnScore:
    """`own_score` of a file on this machine. Raises SettingError, also where it cannot be read."""
    with foreign(lambda reason: SettingError(f"{path} cannot be read ({reason}).")):
        content = content_of(path, LARGEST)
    return own_score(path.name, content, shape)


def own_score(file: str, content: bytes, shape: tuple[int, int]) -> OwnScore:
    """A score of (layers, heads) from a CSV, or a JSON list of objects, of `layer`, `head` and `value`; other columns
    are left alone, and so are heads that have no row. file: its name, which the score is called by.

    Raises SettingError for what is none: a column that is missing, a head that does not exist or comes twice, a value
    that is no finite number, nothing at all, or too much.
    """
    known = shortened(file, 60)
    if len(content) > LARGEST:
        raise SettingError(
            f"{known} has {len(content) / 2**20:,.0f} MB, where scores of heads take a few bytes a head: at most "
            f"{LARGEST >> 20} MB are read."
        )
    with foreign(lambda reason: SettingError(f"{known} cannot be read as scores of heads ({reason}). {EXPECTED}")):
        rows = _json(known, content) if content.lstrip()[:1] in (b"[", b"{") else _csv(known, content)
    return OwnScore(_row(file), HeadScore(_table(known, rows, shape)))


EXPECTED = "Give a CSV, or a JSON list of objects, of layer, head and value, a row a head."


def _csv(file: str, content: bytes) -> list[Mapping[str, Any]]:
    text = content.decode("utf-8-sig")
    first = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text), delimiter=max(",;\t", key=first.count))
    names = [name.strip().lower() for name in next(reader, [])]
    _check_columns(file, names)
    return [dict(zip(names, row, strict=False)) for row in reader if any(cell.strip() for cell in row)]


def _json(file: str, content: bytes) -> list[Mapping[str, Any]]:
    rows = json.loads(content.decode("utf-8"))
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise SettingError(f"{file} is JSON, but no list of objects. {EXPECTED}")
    for row in rows[:1]:
        _check_columns(file, list(map(str, row)))
    return rows


def _check_columns(file: str, names: list[str]) -> None:
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        there = shortened(", ".join(name or "''" for name in names) or "nothing")
        raise SettingError(f"{file} has no {' and no '.join(missing)}: what it has is {there}. {EXPECTED}")


def _table(file: str, rows: list[Mapping[str, Any]], shape: tuple[int, int]) -> Tensor:
    """[layer, head] float64."""
    values = torch.full(shape, torch.nan, dtype=torch.float64)
    if not rows:
        raise SettingError(f"{file} has no rows. {EXPECTED}")
    for number, row in enumerate(rows, start=1):
        layer, head = (_whole(file, number, name, row.get(name)) for name in COLUMNS[:2])
        if not (0 <= layer < shape[0] and 0 <= head < shape[1]):
            raise SettingError(
                f"{file}, row {number}: there is no head {shortened(f'{layer}.{head}', 40)}. This pair has "
                f"{shape[0]} layers of {shape[1]} heads, counted from 0."
            )
        if not values[layer, head].isnan():
            raise SettingError(f"{file}, row {number}: head {layer}.{head} has a value already. Give one a head.")
        values[layer, head] = _number(file, number, "value", row.get("value"))
    return values


def _number(file: str, number: int, name: str, said: object) -> float:
    try:
        value = math.nan if isinstance(said, bool) else float(said)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        raise SettingError(f"{file}, row {number}: {name} is {_brief(said)}, which is no finite number.")
    return value


def _whole(file: str, number: int, name: str, said: object) -> int:
    value = _number(file, number, name, said)
    if not value.is_integer():
        raise SettingError(f"{file}, row {number}: {name} is {_brief(said)}, which is no whole number.")
    return int(value)


def _brief(said: object) -> str:
    return "missing" if said is None else shortened(repr(said) if not isinstance(said, str) else f"'{said}'", 40)


def _row(file: str) -> Score:
    """Named and titled by the file, in letters, digits and spaces: nothing that a page, a figure or a link reads as
    anything else."""
    title = " ".join(re.sub(r"[\W_]+", " ", PurePath(file).stem).split())[:LONGEST].strip() or "own"
    return Score(
        name="own_" + title.lower().replace(" ", "_"),
        title=title,
        brief="given as a file",
        definition="Given as a file; of heads that it says nothing of, nothing is known.",
        unit="as given",
        scale="plain",
        ranked=f"Heads that come first by {title}",
        computation=OWN,
    )
