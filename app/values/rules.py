"""What visitors of this server may name, use up and change: as whoever started it says in a TOML file.

    [studio]
    models = ["/srv/models"]     # folders that models are read from
    hub = true                   # models and texts of the Hugging Face hub too
    texts = ["/srv/texts"]       # folders that text is read from
    exports = ["/srv/exports"]   # folders that checkpoints are written in
    tokens = 1_000_000           # of one calibration text
    steps = 2_000                # of one training, or of all points of a sweep together
    disk = 10                    # GB that runs, exports and what is remembered of pairs take together
    read_only = true             # the embedded pair as it comes, and nothing is kept
    processes = 2                # that restorations and points of sweeps are handed to, beside the server; 1: it trains

What the file leaves out is as `CLOSED` has it. Nothing of the engine is imported here (see `permits`).
"""

from __future__ import annotations

import ipaddress
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from .verbatim import in_markdown


@dataclass(frozen=True)
class Rules:
    """Folders are real ones, links followed. None: anywhere, or as much as there is."""

    models: tuple[Path, ...] | None = None
    texts: tuple[Path, ...] | None = None
    exports: tuple[Path, ...] | None = None
    hub: bool = True
    tokens: int | None = None
    steps: int | None = None
    disk: float | None = None
    read_only: bool = False
    own_runs: bool = False
    """A run is renamed and deleted from the browser alone that made it."""
    named: bool = True
    """By whoever started the server, or by its being for one person."""
    processes: int = field(default=1, compare=False)
    """Of the command line, that trainings are handed to (see `work.launched`); 1: the server trains them itself. Not
    what is allowed, but how it is done."""

    @property
    def said(self) -> str:
        """For visitors, as Markdown; empty where nothing is forbidden."""
        if self == OPEN:
            return ""
        if self.read_only:
            return "This server is for looking: it shows the embedded pair as it comes, and keeps nothing."
        reads = [
            *([] if self.models is None else [_among(self.models)]),
            *(["the Hugging Face hub"] if self.hub else []),
        ]
        models = f"models of {' and '.join(filter(None, reads))}" if any(reads) else "no models but the embedded one"
        texts = f"text files in {_among(self.texts)}" if self.texts else "no text files"
        exports = f"exports checkpoints into {_among(self.exports)}" if self.exports else "writes no checkpoints"
        more = "" if self.named else " Whoever starts it can allow more: see “To serve others” in the README."
        return f"This server is shared: it reads {models}, {texts}, and {exports}.{more}"


OPEN = Rules()
"""For one person on their own machine."""
CLOSED = Rules((), (), (), False, 1_000_000, 2_000, 10, own_runs=True, named=False)
"""For a server that others reach and of which nobody said more: the embedded pair, and runs in reason."""
KINDS: dict[str, tuple[type, ...]] = {
    "models": (list, str), "texts": (list, str), "exports": (list, str), "hub": (bool,), "tokens": (int,),
    "steps": (int,), "disk": (int, float), "read_only": (bool,), "processes": (int,),
}  # fmt: skip
WORDS = {list: "a list", str: "the name of a folder", bool: "true or false", int: "a whole number", float: "a number"}
FLAG, PROCESSES = "--studio", "--processes"
NEEDS = {FLAG: "the name of a file, with a section [studio]", PROCESSES: "how many there are to be"}
"""What comes after a flag."""
MOST_PROCESSES = 1_024
_given = OPEN


def given() -> Rules:
    """Those of this server."""
    return _given


def give(file: str | None, address: str | None, names: Sequence[str], processes: str | None = None) -> None:
    """Once, as the server starts. file: with the rules; None: open where the server is reached from its own machine
    alone. address, names: `server.address` and `server.allowedHosts`. processes: as typed, in place of what the file
    says. Raises ValueError for a file that is none."""
    global _given
    unsaid = OPEN if is_alone(address, names) else CLOSED
    rules = unsaid if file is None else read(Path(file))
    if processes is not None:
        if not processes.isdecimal() or not 1 <= int(processes) <= MOST_PROCESSES:
            raise ValueError(f"{PROCESSES} is {processes[:40]!r}, and should be a number from 1 to {MOST_PROCESSES}")
        rules = replace(rules, processes=int(processes))
    _given = rules


def parted(arguments: Sequence[str], flag: str = FLAG) -> tuple[str | None, list[str]]:
    """(what a command line says after this flag, of `NEEDS`; what else it says). Raises ValueError."""
    rest = list(arguments)
    if flag not in rest:
        return None, rest
    at = rest.index(flag)
    if at + 1 == len(rest):
        raise ValueError(f"{flag} needs {NEEDS[flag]}")
    value = rest[at + 1]
    del rest[at : at + 2]
    return value, rest


def is_alone(address: str | None, names: Sequence[str]) -> bool:
    """Whether nobody else can reach the server: it listens on this machine alone, and goes by no name that others have
    for it, as it would behind a proxy."""
    return _of_this_machine(address or "") and all(map(_of_this_machine, names))


def _of_this_machine(name: str) -> bool:
    try:
        return name.lower() == "localhost" or ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def read(file: Path) -> Rules:
    """What the file says. Raises ValueError with a line that says what is wrong with it."""
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # TOML's errors and those of UTF-8 are ValueErrors
        raise ValueError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    said = document.get("studio")
    if not isinstance(said, dict):
        raise ValueError(f"{file} has no section [studio]")
    unknown = sorted(set(said) - set(KINDS))
    if unknown:
        raise ValueError(f"{file} says {unknown[0]!r}, which is not known: [studio] may have {', '.join(KINDS)}")
    values = {field.name: getattr(CLOSED, field.name) for field in fields(Rules)} | {"named": True}
    return Rules(**values | {name: _value(file, name, value) for name, value in said.items()})


def _value(file: Path, name: str, value: Any) -> Any:
    kinds = KINDS[name]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        what = " or ".join(WORDS[kind] for kind in kinds)
        raise ValueError(f"{file}: {name} is {value!r:.100}, and should be {what}")
    if isinstance(value, str | list):
        return tuple(_folder(file, name, folder) for folder in ([value] if isinstance(value, str) else value))
    if isinstance(value, int | float) and not isinstance(value, bool) and not value > 0:
        raise ValueError(f"{file}: {name} is {value}, and should be more than 0")
    return value


def _folder(file: Path, name: str, folder: Any) -> Path:
    """As the file means it: from where it lies itself."""
    place = (file.parent / Path(str(folder)).expanduser()).resolve()
    if not isinstance(folder, str) or not place.is_dir():
        raise ValueError(f"{file}: {name} names {folder!r}, which is no folder")
    return place


def _among(folders: Sequence[Path]) -> str:
    return ", ".join(in_markdown(str(folder)) for folder in folders)
