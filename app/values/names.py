"""Names that a person gives to components, kept with the picks: in the link and in the run."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from restorelcc.selection.picks import Pick

LONGEST = 40  # characters
Names = Mapping[Pick, str]


def cleaned(name: str) -> str:
    """A typed name as it is kept: one line, without the signs that part names in a link."""
    return re.sub(r"[~=\s]+", " ", name).strip()[:LONGEST]


def names_written(names: Names, picked: Collection[Pick]) -> dict[str, str]:
    """The names of what is picked by `layer.head.component`, for a run's config."""
    return {".".join(map(str, pick)): name for pick, name in sorted(names.items()) if pick in picked}


def to_text(names: Names, picked: Collection[Pick]) -> str:
    """The names of what is picked for a link: `2.3.0=speech~4.1.0=endings`."""
    return "~".join(f"{pick}={name}" for pick, name in names_written(names, picked).items())


def from_text(text: str) -> dict[Pick, str]:
    """What `to_text` wrote; what cannot be read is left out, since a name changes nothing."""
    return dict(filter(None, map(_read, text.split("~"))))


def unread(text: str) -> list[str]:
    """The parts of it that `from_text` leaves out."""
    return [part for part in text.split("~") if part and _read(part) is None]


def _read(part: str) -> tuple[Pick, str] | None:
    """One name and what is called so."""
    place, _, name = part.partition("=")
    matched = re.fullmatch(r"([0-9]{1,6})\.([0-9]{1,6})\.([0-9]{1,6})", place)
    if not matched or not cleaned(name):
        return None
    return (int(matched[1]), int(matched[2]), int(matched[3])), cleaned(name)
