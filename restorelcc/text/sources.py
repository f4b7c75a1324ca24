"""Where text comes from.

A source is one word on the command line or in the app:

    demo                      stories that come with this package
    notes.txt                 a file; documents may be parted by lines of <|endoftext|>
    rows.jsonl[:field]        one document a line; without a field, `text`, or `prompt` and `right`/`response`
    wikitext2, c4, alpaca     from the Hugging Face hub
    hf:dataset[/config][:split[:column]]   any dataset of the hub
    self                      sampled from the dense model (see `calibration`)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import SettingError, TextError
from ..hf import hub

ASSETS = Path(__file__).resolve().parents[2] / "assets" / "demo"
DEMO = "demo"
SELF = "self"
END = "<|endoftext|>"
# Short names: dataset, split to calibrate on, split to evaluate on, column.
HUB = {
    "wikitext2": ("Salesforce/wikitext/wikitext-2-raw-v1", "train", "test", "text"),
    "c4": ("allenai/c4/en", "train", "validation", "text"),
    "alpaca": ("tatsu-lab/alpaca", "train", "train", ""),
}
# Enough for 128 windows of 2 048 tokens of any of them, and for the whole test split of WikiText-2.
MOST_DOCUMENTS = 5_000
# Columns in which datasets keep a question and its answer, in the order they are looked for.
PROMPTS = ("prompt", "instruction", "question", "query")
RESPONSES = ("right", "response", "output", "answer", "completion")


@dataclass(frozen=True)
class Document:
    """One piece of text; `prompt` is empty where the text is not an answer to anything."""

    response: str
    prompt: str = ""

    @property
    def text(self) -> str:
        """Prompt and response, as the model reads them."""
        return self.prompt + self.response


def read(source: str, purpose: str = "calibration", limit: int = MOST_DOCUMENTS) -> list[Document]:
    """The documents of a source, at most `limit`. `purpose`, calibration or evaluation, chooses among the stories
    that come with the package. Raises TextError, SettingError."""
    if source == SELF:
        raise SettingError(
            "'self' is sampled from the dense model, so it can calibrate and nothing else. "
            f"Give {DEMO}, a file or a dataset."
        )
    if source == DEMO:
        documents = _plain_file(ASSETS / f"{purpose}.txt")
    elif source in HUB:
        dataset, calibration, evaluation, column = HUB[source]
        split = calibration if purpose == "calibration" else evaluation
        documents = _dataset(f"hf:{dataset}:{split}:{column}", limit)
    elif source.startswith("hf:"):
        documents = _dataset(source, limit)
    else:
        documents = _file(source)
    documents = [found for found in documents[:limit] if found.response.strip()]
    if not documents:
        raise TextError(f"{source} holds no text. Give a file or dataset with at least one sentence.")
    return documents


def _file(source: str) -> list[Document]:
    name, _, field = source.partition(".jsonl:")
    path = Path(name + ".jsonl" if field else source).expanduser()
    if not path.is_file():
        known = ", ".join((DEMO, SELF, *HUB))
        raise TextError(f"There is no text file {path}. Give a .txt or .jsonl file, hf:…, or one of: {known}.")
    try:
        return _json_file(path, field) if path.suffix == ".jsonl" else _plain_file(path)
    except UnicodeDecodeError as error:
        raise TextError(f"{path} is not UTF-8 text (byte {error.start}). Convert it, or give another file.") from error


def _plain_file(path: Path) -> list[Document]:
    return [Document(part.strip()) for part in path.read_text(encoding="utf-8").split(END)]


def _json_file(path: Path, field: str) -> list[Document]:
    return [document(row, field, where) for where, row in json_rows(path)]


def json_rows(path: Path) -> list[tuple[str, object]]:
    """(where it stands, what it says) for every line of a JSON Lines file. Raises TextError."""
    found: list[tuple[str, object]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise TextError(
                    f"{path}, line {number} is not JSON ({error.msg}). One object a line is needed."
                ) from error
            found.append((f"{path}, line {number}", row))
    return found


def document(row: object, field: str, where: str) -> Document:
    """A row of a dataset or JSON file: its `field`, or by the names in use, with the prompt where it has one.

    Raises TextError, which names `where` the row stands.
    """
    if not isinstance(row, Mapping):
        raise TextError(f"{where} is not an object with named fields. One object a line is needed.")
    names = (field,) if field else ("text", *RESPONSES)
    response = next((name for name in names if isinstance(row.get(name), str)), None)
    if response is None:
        raise TextError(
            f"{where} has no text in {' or '.join(names)}; it has {', '.join(map(str, row))}. Name the field."
        )
    prompt = next((row[name] for name in PROMPTS if isinstance(row.get(name), str)), "")
    if field or response == "text":
        return Document(row[response])
    if isinstance(row.get("input"), str) and row["input"]:  # Alpaca's second half of an instruction
        prompt = f"{prompt}\n{row['input']}"
    # A prompt and an answer written apart need something between them; a continuation brings its own space.
    joint = "" if not prompt or row[response][:1].isspace() else "\n"
    return Document(row[response], prompt + joint)


def _dataset(source: str, limit: int) -> list[Document]:
    name, _, rest = source.partition(":")[2].partition(":")
    documents = [document(row, rest.partition(":")[2], where) for where, row in dataset_rows(source, limit)]
    if "/".join(name.split("/")[:2]).endswith("wikitext"):
        # Published WikiText perplexities are of the whole split as one text, its lines joined by blank lines.
        return [Document("\n\n".join(line.response for line in documents))]
    return documents


def dataset_rows(source: str, limit: int) -> list[tuple[str, Any]]:
    """(where it stands, what it says) for the first `limit` rows of `hf:name[/config][:split[:column]]`, streamed, so
    that C4 is not downloaded whole. Raises TextError."""
    name, split, _ = [*source.removeprefix("hf:").split(":"), "", ""][:3]
    parts = name.split("/")
    path, config = "/".join(parts[:2]), "/".join(parts[2:]) or None
    if not hub.reachable():
        raise TextError(f"{source} is on the Hugging Face hub, which cannot be reached. Connect, or give a local file.")
    from datasets import load_dataset  # Slow to import, and most runs never need it.

    try:
        rows: list[Any] = list(islice(load_dataset(path, config, split=split or "train", streaming=True), limit))
    except Exception as error:  # The hub's own errors share no parent.
        raise TextError(f"{source} cannot be read: {str(error).splitlines()[0]}") from error
    return [(f"{source}, row {number}", row) for number, row in enumerate(rows)]
