"""Reading text files: what they hold by their suffix, plain text or rows; everything else is refused."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..errors import TextError
from ..foreign import content_of, foreign
from .records import CHATS, Row

END = "<|endoftext|>"
PLAIN = ("", ".txt", ".text", ".md", ".raw", ".tokens")
PACKED: dict[str, Callable[[io.BytesIO], io.BufferedIOBase]] = {
    ".gz": lambda packed: gzip.GzipFile(fileobj=packed),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
}
LARGEST = 2**30
"""Bytes of a file once it is unpacked: a few packed ones may stand for more than there is memory."""
PIECE = 2**20
READABLE = (
    ".txt (.md, .raw, .tokens or no suffix), .jsonl, .ndjson, .json, .csv, .tsv or .parquet, also as .gz, .bz2 or .xz"
)
"""What can be read, for people."""
OF_THE_SYSTEM = (("proc",), ("sys",))
"""Where files are that no disk holds: a process's environment, with the tokens in it."""
WIDE = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
"""Other encodings by the mark that they begin with, longest first."""


def located(source: str) -> tuple[Path, str] | None:
    """(a file, the field of its rows that is asked for) of `path` or `path:field`; None where there is no such file.
    Raises TextError for a folder, and for what the operating system says of itself."""
    name, colon, field = source.rpartition(":")
    for path, wanted in ((source, ""), (name, field)) if colon else ((source, ""),):
        place = expanded(path)
        if os.path.isdir(place):
            raise TextError(f"{place} is a folder. Give a file in it: {READABLE}.")
        if os.path.isfile(place):  # unlike Path's, it takes names that no file can have, and devices are none
            if Path(os.path.realpath(place)).parts[1:2] in OF_THE_SYSTEM:
                raise TextError(
                    f"{place} is no text but what the operating system says of itself, secrets of programs among it. "
                    f"Give a file ({READABLE})."
                )
            return place, wanted
    return None


def expanded(path: str) -> Path:
    """With the user's own folder for `~`."""
    return Path(os.path.expanduser(path))


def kind(path: Path) -> str:
    """The suffix that says what it holds: in small letters, that of a compression left out. Raises TextError."""
    inner = path.with_suffix("") if path.suffix.lower() in PACKED else path
    suffix = inner.suffix.lower()
    if suffix not in PLAIN and suffix not in ROWS:
        raise TextError(
            f"{path} is a {suffix} file, which is not read as text. Give {READABLE}; if it is plain text, name it .txt."
        )
    return suffix


def has_rows(path: Path) -> bool:
    """Whether it holds rows, and no plain text. Raises TextError for what is neither."""
    return kind(path) in ROWS


def plain(path: Path) -> list[str]:
    """Its documents, parted by `<|endoftext|>`; blank ones are none. Raises TextError."""
    text = _decoded(_content(path), path)
    if _looks_like_rows(text):
        raise TextError(
            f"{path} holds rows of JSON, which read as plain text would be scored with their braces. Name it .jsonl "
            "(or .json, for one list), so that the text in them is read."
        )
    parts = (part.strip().strip("\ufeff").strip() for part in text.split(END))  # files put together keep their marks
    return [part for part in parts if part]


def rows(path: Path) -> Iterator[Row]:
    """Where each row stands, and what it says. Raises TextError."""
    return ROWS[kind(path)](path)


def _content(path: Path) -> bytes:
    """What the file holds, unpacked."""
    with foreign(lambda reason: TextError(f"{path} cannot be read: {reason}. Give {READABLE}.")):
        content = content_of(path, LARGEST)
    unpacked = PACKED.get(path.suffix.lower())
    if unpacked is None:
        return content
    with foreign(
        lambda reason: TextError(f"{path} cannot be unpacked ({reason}): it is damaged, or no {path.suffix} file.")
    ):
        return _within(unpacked(io.BytesIO(content)))


def _within(file: io.BufferedIOBase) -> bytes:
    """All of it, as long as that is no more than is believed. Raises ValueError."""
    pieces, size = list[bytes](), 0
    while piece := file.read(PIECE):
        pieces.append(piece)
        size += len(piece)
        if size > LARGEST:
            raise ValueError(f"it holds more than {LARGEST:,} bytes, the most that is read; give a part of it")
    return b"".join(pieces)


def _decoded(content: bytes, path: Path) -> str:
    """As text, lines ended by \\n. Raises TextError for what is no text in UTF-8."""
    for mark, encoding in WIDE.items():
        if content.startswith(mark):
            raise TextError(f"{path} is {encoding} text, not UTF-8. Convert it: iconv -f {encoding} -t UTF-8.")
    at = content.find(b"\x00")
    if at >= 0:
        raise TextError(
            f"{path} is not UTF-8 text: it holds NUL bytes, first byte {at}, as binary files do, and UTF-16 without "
            "its mark. Convert it, or give another file."
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TextError(f"{path} is not UTF-8 text (byte {error.start}). Convert it, or give another file.") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _looks_like_rows(text: str) -> bool:
    """Whether its first and its last line are JSON objects, or all of it is one, or a list of them."""
    text = text.strip()
    if text[:1] not in ("{", "["):
        return False
    first, last = _whole(text.split("\n", 1)[0]), _whole(text.rsplit("\n", 1)[-1])
    if isinstance(first, dict) and isinstance(last, dict):
        return True
    value = _whole(text)
    return isinstance(value, dict) or _is_table(value)


def _whole(text: str) -> Any:
    """What it says as one piece of JSON; None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


# --- rows -------------------------------------------------------------------------------------------------------


def _json_lines(path: Path) -> Iterator[Row]:
    return json_lines(_content(path), path)


def json_lines(content: bytes, path: Path) -> Iterator[Row]:
    """One value a line, as JSON Lines has it: lines end at \\n alone, since strings may well hold other breaks.
    path: of the file that it is the content of, for messages. Raises TextError."""
    for number, line in enumerate(_decoded(content, path).split("\n"), 1):
        line = line.strip("\ufeff \t")
        if line:
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                reason = getattr(error, "msg", "nested too deep, or a number too long")
                raise TextError(
                    f"{path}, line {number} is not JSON ({reason}). One object a line is needed."
                ) from error
            yield f"{path}, line {number}", row


def _json(path: Path) -> Iterator[Row]:
    """A list of rows, alone or as the one list in an object; or, since many files of this name are, JSON Lines."""
    value = _whole(_decoded(_content(path), path))
    if isinstance(value, dict):
        tables = [inner for name, inner in value.items() if name not in CHATS and _is_table(inner)]
        value = tables[0] if len(tables) == 1 else [value]
    if not isinstance(value, list):
        yield from _json_lines(path)
        return
    for number, row in enumerate(value, 1):
        yield f"{path}, row {number}", row


def _table(path: Path, separator: str) -> Iterator[Row]:
    """A row a record, named by the first; all of it text, as it is written."""
    csv.field_size_limit(sys.maxsize)  # a document is a field, and the limit is for the whole process anyway
    reader = csv.DictReader(io.StringIO(_decoded(_content(path), path)), delimiter=separator, strict=True)
    number = 0
    try:
        for number, row in enumerate(reader, 1):
            if None in row:
                raise csv.Error(f"more values than the {len(row) - 1} names of the first row; is text quoted?")
            yield f"{path}, row {number}", row
    except csv.Error as error:
        raise TextError(f"{path} is no table: after row {number - 1} it has {error}.") from error


def _parquet(path: Path) -> Iterator[Row]:
    content = _content(path)
    with foreign(lambda reason: TextError(f"{path} is no Parquet file, or a damaged one ({reason}).")):
        for number, row in enumerate(_records(content), 1):
            yield f"{path}, row {number}", row


def _records(content: bytes) -> Iterator[object]:
    from pyarrow.parquet import ParquetFile  # comes with `datasets`

    for batch in ParquetFile(io.BytesIO(content)).iter_batches():
        yield from batch.to_pylist()


ROWS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json,
    ".csv": lambda path: _table(path, ","),
    ".tsv": lambda path: _table(path, "\t"),
    ".parquet": _parquet,
}
"""Files of rows by suffix: how their rows are read."""
