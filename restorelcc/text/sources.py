"""Where text comes from.

A source is one word on the command line or in the app:

    demo                      stories that come with this package
    everyday                  letters, recipes and instructions that come with it: to measure on, beside the stories
    notes.txt                 a file; documents may be parted by lines of <|endoftext|>
    rows.jsonl[:field]        a file of rows (see `files`), a document each: that field, or a question with its answer,
                              or `text`
    wikitext2, c4, alpaca     from the Hugging Face hub
    hf:dataset[/config][:split[:column]]   any dataset of the hub
    self                      sampled from the dense model (see `calibration`)
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import SettingError, TextError
from ..hf import hub
from . import files
from .records import Document, Row, documents, nested, text_of

ASSETS = Path(__file__).resolve().parents[2] / "assets" / "demo"
DEMO = "demo"
EVERYDAY = "everyday"
SELF = "self"
# Short names: dataset, split to calibrate on, split to evaluate on, column.
HUB = {
    "wikitext2": ("Salesforce/wikitext/wikitext-2-raw-v1", "train", "test", "text"),
    "c4": ("allenai/c4/en", "train", "validation", "text"),
    "alpaca": ("tatsu-lab/alpaca", "train", "train", ""),
}
NAMED = (DEMO, EVERYDAY, SELF, *HUB)
MOST_ROWS = 5_000
"""Of a dataset of the hub, which may be terabytes: enough for 128 windows of 2 048 tokens of any of the above, and for
the whole test split of WikiText-2."""


@dataclass(frozen=True)
class Texts:
    """What a source holds."""

    documents: list[Document]
    notes: tuple[str, ...] = ()
    """What of it was left out, with figures, a sentence each."""
    is_one_text: bool = False
    """A split that published perplexities take as one running text."""


def texts(source: str, purpose: str = "calibration", limit: int = MOST_ROWS) -> Texts:
    """The documents of a source, and what was left out. `purpose`, calibration or evaluation, chooses among the stories
    that come with the package, and the split of a dataset. Raises TextError, SettingError.

    limit: rows of a dataset of the hub. Files are read to their end.
    """
    if source == SELF:
        raise SettingError(
            "'self' is sampled from the dense model, so it can calibrate and nothing else. "
            f"Give {DEMO}, a file or a dataset."
        )
    if source == DEMO:
        content = Texts([Document(story) for story in files.plain(ASSETS / f"{purpose}.txt")])
    elif source == EVERYDAY:
        content = Texts([Document(part) for part in files.plain(ASSETS / f"{EVERYDAY}.txt")])
    elif source in HUB:
        dataset, calibration, evaluation, column = HUB[source]
        split = calibration if purpose == "calibration" else evaluation
        content = _dataset(f"hf:{dataset}:{split}:{column}", limit)
    elif source.startswith("hf:"):
        content = _dataset(source, limit)
    else:
        content = _file(source)
    if not content.documents:
        raise TextError(f"{source} holds no text. Give a file or dataset with at least one sentence.")
    return content


def read(source: str, purpose: str = "calibration", limit: int = MOST_ROWS) -> list[Document]:
    """The documents that `texts` finds, alone."""
    return texts(source, purpose, limit).documents


def file_of(source: str, others: Iterable[str], what: str = "text file") -> tuple[Path, str]:
    """(the file, the field) that a source names. others: sources that are no files. Raises TextError."""
    place = files.located(source)
    if place is None:
        raise TextError(
            f"There is no {what} {files.expanded(source)}. Give a file ({files.READABLE}), hf:…, or one of: "
            f"{', '.join(others)}."
        )
    return place


def same_text(source: str, purpose: str, other: str, other_purpose: str) -> bool:
    """Whether two sources, each read for its purpose, are one text: one file by two names, or one split of a dataset.
    Raises TextError."""
    return _place(source, purpose) == _place(other, other_purpose)


def has_parts(source: str) -> bool:
    """Whether it gives one text to calibrate on, and another to evaluate on."""
    return source == DEMO or (source in HUB and HUB[source][1] != HUB[source][2])


def _place(source: str, purpose: str) -> tuple[str, ...]:
    """Where a text is, however it is called."""
    if source in (SELF, EVERYDAY):
        return (source,)
    if source == DEMO:
        return (source, purpose)
    if source in HUB:
        dataset, calibration, evaluation, _ = HUB[source]
        return (dataset, calibration if purpose == "calibration" else evaluation)
    if source.startswith("hf:"):
        name, split, _ = [*source.removeprefix("hf:").split(":", 2), "", ""][:3]
        return (name, split or "train")
    place = files.located(source)
    return (source,) if place is None else (os.path.realpath(place[0]), place[1])


def check_named(source: str) -> None:
    """For a server, whose visitors name its files: raises TextError for one without a suffix, since keys and tokens are
    kept in such files. On one's own command line there is nothing to guard."""
    place = None if source in NAMED or source.startswith("hf:") else files.located(source)
    if place is not None and not files.kind(place[0]):
        raise TextError(
            f"{place[0]} has no suffix that says it is text, and may hold anything, such as a password. Name it .txt."
        )


def _file(source: str) -> Texts:
    path, field = file_of(source, NAMED)
    if files.has_rows(path):
        return Texts(*documents(files.rows(path), field))
    if field:
        raise TextError(f"{path} is plain text and has no field '{field}'. Give the file alone, or a file of rows.")
    return Texts([Document(part) for part in files.plain(path)])


def _dataset(source: str, limit: int) -> Texts:
    name, _, column = [*source.removeprefix("hf:").split(":", 2), "", ""][:3]
    rows, notes = dataset_rows(source, limit)
    if "/".join(name.split("/")[:2]).endswith("wikitext"):
        # Published perplexities are of the whole split as one text, all its lines joined by blank lines.
        lines = [text_of(nested(row, column or "text")) or "" for _, row in rows]
        return Texts([Document("\n\n".join(lines))] if any(lines) else [], notes, is_one_text=True)
    kept, lacking = documents(rows, column)
    return Texts(kept, (*notes, *lacking))


def dataset_rows(source: str, limit: int) -> tuple[list[Row], tuple[str, ...]]:
    """(the first `limit` rows of `hf:name[/config][:split[:column]]`, what should be said where there are more). They
    are streamed, so that C4 is not downloaded whole. Raises TextError."""
    name, split, _ = [*source.removeprefix("hf:").split(":"), "", ""][:3]
    parts = name.split("/")
    path, config = "/".join(parts[:2]), "/".join(parts[2:]) or None
    if not hub.reachable():
        raise TextError(f"{source} is on the Hugging Face hub, which cannot be reached. Connect, or give a local file.")
    from datasets import load_dataset  # Slow to import, and most runs never need it.

    try:
        # Rows are text, and code that comes with a dataset is not run: whichever revision is there will do.
        data = load_dataset(path, config, split=split or "train", streaming=True)  # nosec B615
        rows: list[Any] = list(islice(data, limit + 1))
    except Exception as error:  # The hub's own errors share no parent.
        raise TextError(f"{source} cannot be read: {str(error).partition(chr(10))[0]}") from error
    notes = (_left(data, split or "train", source, limit),) if len(rows) > limit else ()
    return [(f"{source}, row {number}", row) for number, row in enumerate(rows[:limit])], notes


def _left(data: Any, split: str, source: str, limit: int) -> str:
    """That there are more rows than were read, and how many where the dataset says so."""
    splits = getattr(getattr(data, "info", None), "splits", None) or {}
    count = getattr(splits.get(split), "num_examples", None)
    if count is None:
        return f"The first {limit:,} rows of {source} are read; there are more."
    return f"{limit:,} of {count:,} rows of {source} are read."
