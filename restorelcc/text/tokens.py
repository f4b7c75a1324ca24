"""How text becomes tokens: windows of plain text, rows of prompts with an answer, and which tokens are scored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import LoadError, SettingError, TextError
from ..foreign import foreign
from .files import END
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
    notes: tuple[str, ...] = ()
    """What of the text they are of was left out, with figures, a sentence each; parts of the tokens have none."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def count(self) -> int:
        """Tokens that are scored."""
        return int(self.scored.sum())

    @property
    def asks(self) -> Tensor:
        """[text] bool: whether it is a question with an answer, some of which is here."""
        return self.response.any(1) & (self.response != self.scored).any(1)

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


@dataclass(frozen=True)
class Cut:
    """What decides how text is cut into windows, beside their length and stride."""

    keeps_last: bool = False
    """A last, shorter window counts, padded; otherwise it is dropped unless it is the only one."""
    before: tuple[int, ...] | None = None
    """What leads every document; None: `lead`."""
    start: tuple[int, ...] = ()
    """What stands before every window, within its length, for models that need it there."""

    def leading(self, tokenizer: PreTrainedTokenizerBase) -> list[int]:
        """What leads every document."""
        return list(self.start) or (lead(tokenizer) if self.before is None else list(self.before))

    def unscored(self, tokenizer: PreTrainedTokenizerBase) -> set[int]:
        """Tokens that no model has learnt to predict: a start that stands before every text, so that in pre-training
        nothing came before it. Not one that ends texts too, as OPT's does."""
        return {*self.start, *own_start(tokenizer)} - {tokenizer.eos_token_id}


PACKED = Cut()
LONG = 2**20
"""Letters of a document that are read at once, however few tokens are needed."""
AT_A_CUT = 64
"""Tokens before the place where a document is cut off, which may be others than where it goes on."""


def own_start(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """What the tokenizer itself puts before every text: the beginning-of-text token, or nothing."""
    bare: list[int] = token_ids(tokenizer, "a")
    dressed: list[int] = encoded(tokenizer, "a", add_special_tokens=True).input_ids
    at = next((at for at in range(len(dressed)) if dressed[at : at + len(bare)] == bare), 0)
    return dressed[:at]


def lead(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """What stands before a document, as in pre-training: what the tokenizer itself puts there; else `<|endoftext|>`
    where it is a token of its own, and the beginning-of-text or end-of-text token where it is not."""
    start = own_start(tokenizer)
    if start:
        return start
    parting = tokenizer.get_added_vocab().get(END)
    for token in (parting, tokenizer.bos_token_id, tokenizer.eos_token_id):
        if token is not None:
            return [int(token)]
    return []


def token_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The tokens of `text`, nothing before or after them."""
    return list(encoded(tokenizer, text).input_ids)


def encoded(tokenizer: PreTrainedTokenizerBase, text: str | list[str], **how: bool) -> Any:
    """What a tokenizer makes of a text, or of several: by default nothing before or after it. Raises LoadError where it
    makes nothing of it: for what stands in its files, some text may be beyond it."""
    with foreign(lambda reason: LoadError(f"The tokenizer cannot read this text: {reason}. Its files are damaged.")):
        # verbose=False: a text longer than the context is cut into windows below, so no warning is due.
        return tokenizer(text, **({"add_special_tokens": False, "verbose": False} | how))


def led(start: list[int], ids: list[int]) -> list[int]:
    """`ids` with `start` before them, once: where they begin with it already nothing is added."""
    return ids if ids[: len(start)] == start else start + ids


def read_together(tokenizer: PreTrainedTokenizerBase, prompt: str, response: str) -> tuple[list[int], int]:
    """(the tokens of a prompt and its response as the model reads them, in one; how many of them are the prompt's).

    A token that holds the end of the prompt and the beginning of the response is the response's.
    """
    if not prompt:
        return token_ids(tokenizer, response), 0
    if not tokenizer.is_fast:  # It does not say where its tokens are from.
        ids, alone = token_ids(tokenizer, prompt + response), token_ids(tokenizer, prompt)
        same = [ours == theirs for ours, theirs in zip(ids, alone, strict=False)]
        return ids, [*same, False].index(False)
    read = encoded(tokenizer, prompt + response, return_offsets_mapping=True)
    ends = [end for _, end in read.offset_mapping]
    return list(read.input_ids), next((at for at, end in enumerate(ends) if end > len(prompt)), len(ends))


# --- windows of running text ------------------------------------------------------------------------------------


def windows(
    documents: Sequence[Document],
    tokenizer: PreTrainedTokenizerBase,
    length: int,
    stride: int | None = None,
    most: int | None = None,
    cut: Cut = PACKED,
) -> Tokens:
    """Documents one after the other, cut into windows of `length` tokens, at most `most` of them.

    With a `stride` shorter than `length` windows overlap, and each scores only tokens that none before it did, so
    that every scored token but those of the first window has at least length - stride tokens before it. The first
    token of the first window is never scored; a last, short window is dropped unless it is the only one, or the `cut`
    keeps it. Raises SettingError, and TextError for text too short to predict anything of.
    """
    step = length if stride is None else stride
    if length < 2 or not 1 <= step <= length:
        raise SettingError(
            f"Windows of {length} tokens with stride {step}: need length >= 2 and 1 <= stride <= length."
        )
    room = length - len(cut.start)  # tokens of text in a window
    step = min(step, room)
    needed = None if most is None else len(cut.start) + room + step * (most - 1)
    stream, used, to_the_end = _stream(documents, tokenizer, cut.leading(tokenizer), needed)
    if stream[: len(cut.start)] == list(cut.start):
        stream = stream[len(cut.start) :]  # every window brings its own
    starts = list(range(0, max(1, len(stream) - room + 1), step))
    if cut.keeps_last and starts[-1] + room < len(stream):
        starts.append(starts[-1] + step)
    lines, old = [], []
    for at in starts[:most]:
        text = stream[at : at + room]
        line = led(list(cut.start), text)
        lines.append(line)
        old.append(max(1, len(line) - len(text) + (room - step if at else 0)))
    if len(lines) > 1 and len(lines[-1]) <= old[-1]:  # It has nothing to score.
        del lines[-1], old[-1]
    tokens = _padded(lines, old, cut.unscored(tokenizer))
    return _checked(replace(tokens, notes=_left(documents, used, len(starts), most, to_the_end)))


def _stream(
    documents: Sequence[Document], tokenizer: PreTrainedTokenizerBase, before: list[int], needed: int | None
) -> tuple[list[int], int, bool]:
    """(tokens of the documents one after the other, until there are as many as are `needed`; documents read; whether
    the last of them was read to its end)."""
    stream: list[int] = []
    for number, document in enumerate(documents, 1):
        ids, _, to_the_end = _beginning(document, tokenizer, None if needed is None else needed - len(stream))
        stream += led(before, ids)
        if needed is not None and len(stream) >= needed:
            return stream, number, to_the_end
    return stream, len(documents), True


def _beginning(
    document: Document, tokenizer: PreTrainedTokenizerBase, needed: int | None
) -> tuple[list[int], int, bool]:
    """(tokens of a document, those of its prompt among them, whether these are all). Of one that is far longer than the
    tokens `needed` only a beginning is read: to read a book for one window would take minutes and much memory."""
    prompt, response = document.prompt, document.response
    size = max(LONG, 16 * (needed or 0))
    while needed is not None and size < len(prompt) + len(response):
        ids, asked = read_together(tokenizer, prompt[:size], response[: max(0, size - len(prompt))])
        if len(ids) >= needed + AT_A_CUT:
            return ids[:-AT_A_CUT], asked, False
        size *= 4
    return (*read_together(tokenizer, prompt, response), True)


def _padded(lines: Sequence[list[int]], old: Sequence[int], unscored: set[int]) -> Tokens:
    """Lines of ids, padded on the right to the longest. old: how many of each line's first tokens are not scored.
    unscored: tokens that are not, wherever they are."""
    longest = max(1, *map(len, lines))
    ids = torch.zeros(len(lines), longest, dtype=torch.int64)
    real, scored = torch.zeros_like(ids, dtype=torch.bool), torch.zeros_like(ids, dtype=torch.bool)
    for row, (line, first) in enumerate(zip(lines, old, strict=True)):
        ids[row, : len(line)] = torch.tensor(line, dtype=torch.int64)
        real[row, : len(line)] = True
        scored[row, first : len(line)] = True
    for token in unscored:
        scored &= ids != token
    return Tokens(ids, real, scored, scored)


def _left(documents: Sequence[Document], used: int, there: int, most: int | None, to_the_end: bool) -> tuple[str, ...]:
    """What should be said of documents, or windows of them, beyond the `most` that were asked for."""
    if most is None or (used == len(documents) and there <= most and to_the_end):
        return ()
    if used == len(documents) and not to_the_end:
        return (f"The text is read as far as the {most:,} windows go that were asked for.",)
    if used == len(documents):
        return (f"{most:,} of {there:,} windows are used, as many as were asked for.",)
    return (f"The first {used:,} of {len(documents):,} texts fill the {most:,} windows that were asked for.",)


def whole(ids: Tensor) -> Tokens:
    """Windows [text, pos] without padding, every token scored but the first of each."""
    scored = torch.ones_like(ids, dtype=torch.bool)
    scored[:, 0] = False
    return Tokens(ids, torch.ones_like(scored), scored, scored)


def as_text(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> Tokens:
    """One text [1, pos] as it stands, scored as a window is."""
    return _padded([list(ids)], [1], PACKED.unscored(tokenizer))


def _checked(tokens: Tokens) -> Tokens:
    """Raises TextError where there is nothing to predict. Parts of good tokens may well have nothing."""
    if tokens.count == 0:
        raise TextError("There is no token to predict: the text is empty or one token long. Give more text.")
    return tokens


# --- prompts with an answer -------------------------------------------------------------------------------------


def rows(
    documents: Sequence[Document],
    tokenizer: PreTrainedTokenizerBase,
    length: int,
    most: int | None = None,
    cut: Cut = PACKED,
) -> Tokens:
    """One document a row, cut at `length` tokens and padded on the right; for prompts with an answer. A prompt that
    leaves no room for its answer is left out. Raises TextError where none does, or there is nothing to predict."""
    before = cut.leading(tokenizer)
    lines, asked, used, short, full = list[list[int]](), list[int](), 0, 0, 0
    for document in documents:
        used += 1
        ids, prompt, _ = _beginning(document, tokenizer, length)
        line = led(before, ids)
        prompt += len(line) - len(ids)
        if document.prompt and prompt >= length:
            full += 1
            continue
        short += len(line) > length
        lines.append(line[:length])
        asked.append(prompt)
        if len(lines) == most:
            break
    if not lines:
        raise TextError(
            f"All {full:,} prompts fill windows of {length:,} tokens, which leaves no room for their answers. Give "
            "longer windows (--length), or shorter prompts."
        )
    tokens = _padded(lines, [1] * len(lines), cut.unscored(tokenizer))
    response = tokens.scored.clone()
    for row, prompt in enumerate(asked):
        response[row, :prompt] = False
    notes = []
    if used < len(documents):
        notes.append(f"The first {used:,} of {len(documents):,} prompts are used, as many as were asked for.")
    if full:
        notes.append(f"{full:,} of {used:,} prompts leave no room for an answer in {length:,} tokens: left out.")
    if short:
        notes.append(f"{short:,} of {used:,} answers are cut off at {length:,} tokens.")
    return _checked(replace(tokens, response=response, notes=tuple(notes)))


def tokenized(
    documents: Sequence[Document],
    tokenizer: PreTrainedTokenizerBase,
    length: int,
    stride: int | None = None,
    most: int | None = None,
    cut: Cut = PACKED,
) -> Tokens:
    """`rows` where documents answer a prompt, `windows` where they are plain text; where there are both, prompts first,
    each with its share of the `most`."""
    asked = [document for document in documents if document.prompt]
    plain = [document for document in documents if not document.prompt]
    if not asked:
        return windows(plain, tokenizer, length, stride, most, cut)
    if not plain or most == 1:
        return rows(asked, tokenizer, length, most, cut)
    share = None if most is None else min(most - 1, max(1, round(most * len(asked) / len(documents))))
    first = rows(asked, tokenizer, length, share, cut)
    second = windows(plain, tokenizer, length, stride, None if most is None else most - len(first), cut)
    return _one_after_the_other(first, second)


def _one_after_the_other(first: Tokens, second: Tokens) -> Tokens:
    longest = max(part.ids.shape[1] for part in (first, second))

    def both(name: str) -> Tensor:
        parts = [getattr(part, name) for part in (first, second)]
        return torch.cat([F.pad(part, (0, longest - part.shape[1])) for part in parts])

    notes = (*first.notes, *second.notes)
    return Tokens(both("ids"), both("real"), both("scored"), both("response"), notes)
