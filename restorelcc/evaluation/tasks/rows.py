"""Questions of one's own: a file with one a row, a question with its choices or two sentences of which one is right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import SettingError, TextError
from ...text import files
from ...text.records import Row, clean
from .known import TASKS

SHAPES = '{"query": …, "choices": [A, B, …], "gold": 0} or {"sentence_good": …, "sentence_bad": …}'
PAIR = ("sentence_good", "sentence_bad")


@dataclass(frozen=True)
class Questions:
    """A file of them."""

    name: str
    """Of the file, without its folder."""
    rows: tuple[Mapping[str, object], ...]
    """`query`, `choices` and `gold`, the number of the right one; two sentences have an empty query, and 0."""
    metric: str
    """As a known task has it: per character where choices differ in length for reasons of their own."""


def asked_for(listed: str) -> list[str | Questions]:
    """Of a list with commas: names of known tasks, and files, which are read. Raises SettingError, TextError."""
    entries = dict.fromkeys(entry.strip() for entry in listed.split(",") if entry.strip())
    if not entries:
        raise SettingError(f"No task is named: give some of {', '.join(TASKS)}, or a file of rows {SHAPES}.")
    return [name if name in TASKS else questions_in(name) for name in entries]


def questions_in(name: str) -> Questions:
    """Those of a file. Raises SettingError where there is none, TextError for what is none of the `SHAPES`."""
    place = files.located(name)
    if place is None:
        raise SettingError(
            f"'{name}' is no task and no file. Give one of {', '.join(TASKS)}, or a .jsonl file of rows {SHAPES}."
        )
    return questions(place[0].name, files.rows(place[0]) if files.has_rows(place[0]) else _no_rows(place[0]))


def _no_rows(path: Path) -> Iterable[Row]:
    raise TextError(f"{path} is plain text, and questions are rows: a .jsonl file of {SHAPES}.")


def questions(name: str, rows: Iterable[Row]) -> Questions:
    """Of rows, all of one of the `SHAPES`. Raises TextError, which names the first that is not."""
    read, kinds = [], set[bool]()
    for where, row in rows:
        if not isinstance(row, Mapping):
            raise TextError(f"{where} is no object with named fields. Give {SHAPES}.")
        kinds.add(in_pairs := all(field in row for field in PAIR))
        if len(kinds) > 1:
            raise TextError(f"{where} is of another kind than the rows before it. Give {SHAPES}, the same in all rows.")
        read.append(_pair(where, row) if in_pairs else _question(where, row))
    if not read:
        raise TextError(f"{name} holds no questions. Give rows {SHAPES}.")
    return Questions(name, tuple(read), "acc" if True in kinds else "acc_norm")


def _pair(where: str, row: Mapping[str, object]) -> Mapping[str, object]:
    sentences = [_text(where, field, row[field]) for field in PAIR]
    if sentences[0] == sentences[1]:
        raise TextError(f"{where} has the same sentence twice, so none of them can be told to be right.")
    return {"query": "", "choices": sentences, "gold": 0}


def _question(where: str, row: Mapping[str, object]) -> Mapping[str, object]:
    lacking = [field for field in ("query", "choices", "gold") if field not in row]
    if lacking:
        raise TextError(f"{where} has no {' and no '.join(lacking)}. Give {SHAPES}.")
    query, choices, gold = row["query"], row["choices"], row["gold"]
    if not isinstance(query, str):
        raise TextError(f"{where}: its query is {type(query).__name__}, and has to be text.")
    if not isinstance(choices, list) or len(choices) < 2:
        raise TextError(f"{where}: its choices have to be a list of two or more.")
    answers = [_text(where, f"choice {at}", choice) for at, choice in enumerate(choices)]
    if isinstance(gold, bool) or not isinstance(gold, int) or not 0 <= gold < len(answers):
        raise TextError(
            f"{where}: gold is {str(gold)[:40]!r}, and has to be the number of the right choice, 0 to "
            f"{len(answers) - 1}."
        )
    return {"query": clean(query), "choices": answers, "gold": gold}


def _text(where: str, what: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise TextError(f"{where}: its {what} is {'empty' if value in ('', None) else 'no text'}, and has to be text.")
    return clean(value)
