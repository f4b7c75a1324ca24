"""Tables of what can be chosen: scores, losses, ways to prune, formats … One table a choice, one row an entry.

The command line's choices and help, the app's words and README's tables are drawn from them. They have to be read
without torch, which takes seconds to import, for `--help`: a row names the function behind it with `lazily`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar

from .errors import SettingError


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A row of any of the tables."""

    name: str
    """As typed on the command line, and as written in links, runs and cards: it never changes."""
    title: str
    """On a screen."""
    brief: str
    """A phrase, for the command line's help and README; plain text."""
    definition: str = ""
    """In full, for the app's help, as Markdown: formula, unit, what is averaged over what, source."""


Row = TypeVar("Row", bound=Choice)


def table(*rows: Row) -> dict[str, Row]:
    """By name, in the order in which they are offered."""
    return {row.name: row for row in rows}


def chosen(name: str, rows: Mapping[str, Row], what: str) -> Row:
    """The row of this name. Raises SettingError, which lists the names that there are; what: such as 'Loss'."""
    if name not in rows:
        names = " or ".join(rows) if len(rows) < 3 else f"one of {', '.join(rows)}"
        raise SettingError(f"{what} '{name}' is not known: give {names}.")
    return rows[name]


def briefs(rows: Mapping[str, Choice]) -> str:
    """`name: brief; name: brief`, for the command line's help."""
    return "; ".join(f"{row.name}: {row.brief}" for row in rows.values())


def definitions(rows: Mapping[str, Choice]) -> str:
    """Every title with its definition, a paragraph each, as Markdown, for the app's help."""
    return "\n\n".join(f"**{row.title}**: {row.definition or row.brief}" for row in rows.values())


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as README has them."""
    head = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in rows)])


def lazily(place: str) -> Callable[..., Any]:
    """The function at `place`, such as 'restorelcc.selection.probing:accuracy', imported when it is first called."""
    module, _, name = place.partition(":")

    def call(*arguments: Any) -> Any:
        return getattr(import_module(module), name)(*arguments)

    return call
