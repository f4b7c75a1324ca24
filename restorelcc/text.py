"""Where text comes from, and how it becomes tokens.

A source is one word on the command line or in the app:

    demo                      stories that come with this package
    notes.txt                 a file; documents may be parted by lines of <|endoftext|>
    rows.jsonl[:field]        one document a line; without a field, `text`, or `prompt` and `right`/`response`
    wikitext2, c4, alpaca     from the Hugging Face hub
    hf:dataset[/config][:split[:column]]   any dataset of the hub
    self                      sampled from the dense model (see `calibration`)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from . import hub
from .errors import SettingError, TextError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ASSETS = Path(__file__).resolve().parents[1] / "assets" / "demo"
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


@dataclass(frozen=True)
class Tokens:
    """Token ids with what is known of each. Rows are padded on the right, where a causal model cannot see it."""

    ids: Tensor
    """[text, pos] int64."""
    real: Tensor
    """[text, pos] bool; False on padding."""
    scored: Tensor
    """[text, pos] bool; True where the token is predicted from those before it and counts."""
    response: Tensor
    """[text, pos] bool; the scored tokens that answer a prompt; the same as `scored` for plain text."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def count(self) -> int:
        """Tokens that are scored."""
        return int(self.scored.sum())

    def __getitem__(self, rows: slice | Tensor) -> Tokens:
        return Tokens(self.ids[rows], self.real[rows], self.scored[rows], self.response[rows])

    def batches(self, rows: int) -> Iterator[Tokens]:
        """In order, `rows` texts at a time."""
        return (self[start : start + rows] for start in range(0, len(self), rows))

    def digest(self) -> str:
        """Names the content: equal for equal tokens, whatever file they came from."""
        seen = hashlib.sha256(str(tuple(self.ids.shape)).encode())
        for part in (self.ids, self.real, self.scored, self.response):
            seen.update(part.numpy().tobytes())
        return seen.hexdigest()[:16]


# --- sources ----------------------------------------------------------------------------------------------------


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


# --- tokens -----------------------------------------------------------------------------------------------------


def lead(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """What stands before a document, as in pre-training: the beginning-of-text token, else the end-of-text token."""
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if token is not None:
            return [int(token)]
    return []


def token_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The tokens of `text`, nothing before or after them."""
    # verbose=False: a text longer than the context is cut into windows below, so no warning is due.
    return list(tokenizer(text, add_special_tokens=False, verbose=False).input_ids)


def windows(
    documents: Sequence[Document],
    tokenizer: PreTrainedTokenizerBase,
    length: int,
    stride: int | None = None,
    most: int | None = None,
) -> Tokens:
    """Documents one after the other, cut into windows of `length` tokens, at most `most` of them.

    With a `stride` shorter than `length` windows overlap, and each scores only tokens that none before it did, so
    that every scored token but those of the first window has at least length - stride tokens before it. The first
    token of the first window is never scored; a last, short window is dropped unless it is the only one.
    Raises SettingError, and TextError for text too short to predict anything of.
    """
    step = length if stride is None else stride
    if length < 2 or not 1 <= step <= length:
        raise SettingError(
            f"Windows of {length} tokens with stride {step}: need length >= 2 and 1 <= stride <= length."
        )
    needed = None if most is None else length + step * (most - 1)
    stream: list[int] = []
    for document in documents:
        stream += lead(tokenizer) + token_ids(tokenizer, document.text)
        if needed is not None and len(stream) >= needed:
            break
    starts = range(0, max(1, len(stream) - length + 1), step)
    tokens = whole(torch.tensor([stream[start : start + length] for start in starts[:most]]))
    if step < length:
        tokens.scored[1:, : length - step] = False
    return _checked(tokens)


def whole(ids: Tensor) -> Tokens:
    """Windows [text, pos] without padding, every token scored but the first of each."""
    scored = torch.ones_like(ids, dtype=torch.bool)
    scored[:, 0] = False
    return Tokens(ids, torch.ones_like(scored), scored, scored)


def _checked(tokens: Tokens) -> Tokens:
    """Raises TextError where there is nothing to predict. Parts of good tokens may well have nothing."""
    if tokens.count == 0:
        raise TextError("There is no token to predict: the text is empty or one token long. Give more text.")
    return tokens


def rows(
    documents: Sequence[Document], tokenizer: PreTrainedTokenizerBase, length: int, most: int | None = None
) -> Tokens:
    """One document a row, cut at `length` tokens and padded on the right; for prompts with an answer."""
    documents = documents[:most]
    ids = torch.zeros(len(documents), length, dtype=torch.int64)
    real, response = torch.zeros_like(ids, dtype=torch.bool), torch.zeros_like(ids, dtype=torch.bool)
    for row, document in enumerate(documents):
        prompt = lead(tokenizer) + (token_ids(tokenizer, document.prompt) if document.prompt else [])
        line = (prompt + token_ids(tokenizer, document.response))[:length]
        ids[row, : len(line)] = torch.tensor(line)
        real[row, : len(line)] = True
        response[row, min(len(prompt), length) : len(line)] = True
    longest = max(1, int(real.sum(1).max()))
    scored = real.clone()
    scored[:, 0] = False
    response[:, 0] = False
    ids, real, scored, response = (part[:, :longest] for part in (ids, real, scored, response))
    return _checked(Tokens(ids, real, scored, response))


def tokenized(
    documents: Sequence[Document],
    tokenizer: PreTrainedTokenizerBase,
    length: int,
    stride: int | None = None,
    most: int | None = None,
) -> Tokens:
    """`rows` where documents answer a prompt, `windows` where they are plain text."""
    if any(document.prompt for document in documents):
        return rows(documents, tokenizer, length, most)
    return windows(documents, tokenizer, length, stride, most)
