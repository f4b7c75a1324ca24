"""How text becomes tokens: windows of plain text, rows of prompts with an answer, and which tokens are scored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import SettingError, TextError
from .records import Document

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


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
