"""One call from the name of a text source to tokens for a model, the source `self` included."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import LoadError, SettingError, TextError
from ..hf.families import needs_start
from ..hf.layout import cache_bytes, context_length, vocabulary_size
from ..progress import Progress
from . import overlap, sources
from .generate import generate
from .spelling import known_tokens
from .tokens import Cut, Tokens, lead, own_start, tokenized, whole

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DEFAULT_WINDOWS = 128
LEAST = 3
"""Windows of a text that has to train, to choose the best step, and to judge."""
SCRAP = 0.02
"""Share of a text to judge by that is too little of it: the end of one that was copied."""
ELSEWHERE_WINDOWS = 64
"""Of a text that restorations are judged on and not made with."""
LONGEST_WINDOW = 2048
SAMPLING_BYTES = 4 * 2**30
"""Memory for windows that are sampled at once. A fixed number, since which windows share a batch decides which random
numbers each gets: the same seed gives the same text wherever there is this much memory."""


def window_length(model: PreTrainedModel, length: int | None = None) -> int:
    """`length`, or the model's context up to 2 048 tokens. Raises SettingError if it is beyond the context."""
    limit = context_length(model)
    if length is not None and length > limit:
        raise SettingError(f"Windows of {length} tokens are longer than the model's context of {limit}.")
    return min(limit, LONGEST_WINDOW) if length is None else length


def evaluation_tokens(
    source: str,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    length: int | None = None,
    stride: int | None = None,
    most: int | None = None,
) -> Tokens:
    """Tokens of `source` to measure perplexity on: all of them, or at most `most` windows.

    Windows of `length` tokens (None: the context, up to 2 048) side by side, or `stride` tokens apart; every token but
    the first of each is scored, the last, shorter window included. Of a WikiText split this is the usual protocol (that
    of GPTQ, SparseGPT and Wanda): its lines joined by blank lines into one text. Raises TextError, SettingError, and
    LoadError where the tokenizer is not the model's.
    """
    return _tokens(source, "evaluation", model, tokenizer, window_length(model, length), stride, most)


def evaluation_apart(
    source: str,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    length: int | None,
    most: int,
    others: Mapping[str, Tokens],
) -> Tokens:
    """As `evaluation_tokens`, of windows that are none of the others': whatever file those are of, and wherever in it.
    What of the rest stands in them too is said as a share (see `overlap`). others: by what they are called. Raises
    TextError where nothing is left, and what `evaluation_tokens` does.
    """
    size, seen = window_length(model, length), list(others.values())
    tokens = evaluation_tokens(source, model, tokenizer, size, most=most)
    notes, theirs = list(tokens.notes), overlap.windows_of(tokens, seen)
    if theirs.any() and len(tokens) == most:  # There may be more of it.
        beyond = sum(int(other.real.sum()) for other in seen) // size + 1
        tokens = evaluation_tokens(source, model, tokenizer, size, most=most + beyond)
        theirs = overlap.windows_of(tokens, seen)
    names = " or ".join(others)
    kept = tokens[~theirs][:most]
    if len(kept) < most and kept.count <= SCRAP * tokens.count:
        raise TextError(
            f"All of {source} that is read stands in {names} too, so nothing could be judged by it. Give "
            "another text; one that is given by the same name for both is divided between them."
        )
    if theirs.any():
        notes.append(
            f"{int(theirs.sum()):,} of {len(tokens):,} windows stand in {names} too and are left out: {len(kept):,} "
            "are of their own."
        )
    notes += filter(None, [overlap.remark(kept, others)])
    return replace(kept, notes=tuple(notes))


def judged_on(
    tokens: Tokens, source: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, most: int
) -> dict[str, Any] | None:
    """The text, windows and length that `evaluation_tokens` makes just these tokens of; None where windows of others
    were left out."""
    length = tokens.ids.shape[1]
    plain = evaluation_tokens(source, model, tokenizer, length, most=most)
    return {"text": source, "windows": most, "length": length} if plain.digest() == tokens.digest() else None


def calibration_tokens(
    source: str,
    dense: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    length: int | None = None,
    most: int = DEFAULT_WINDOWS,
    seed: int = 0,
    left: int = 0,
) -> Generator[Progress, None, Tokens]:
    """Tokens of `source` (see `text`) to calibrate on, at most `most` windows; `self` is sampled from `dense`.

    left: windows that are asked of the same text to judge by. Where there are too few for both, each gets its part.
    """
    size = window_length(dense, length)
    if source == sources.SELF:
        return (yield from sampled_windows(dense, tokenizer, size, most, seed))
    tokens = _tokens(source, "calibration", dense, tokenizer, size, None, most)
    return _part(source, dense, tokenizer, tokens, most, left) if left else tokens


def _part(
    source: str, dense: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tokens: Tokens, most: int, left: int
) -> Tokens:
    """Of a text of which `left` windows more are asked for: the first `most`, or where it has too few the first of
    them. Raises TextError for a text too short to be divided."""
    size = tokens.ids.shape[1]
    whole = tokens if len(tokens) < most else _tokens(source, "calibration", dense, tokenizer, size, None, most + left)
    count = len(whole)
    if count >= most + left:
        return tokens
    if count < LEAST:
        raise TextError(
            f"{source} makes {count} window{'s' if count > 1 else ''} of {size} tokens and cannot be split into text "
            f"to train on, to hold out and to evaluate on, which takes {LEAST}. Give shorter windows (--length), more "
            "text, or another one to evaluate on."
        )
    part = max(2, count * most // (most + left))
    note = f"It is the evaluation text too: {part:,} of its {count:,} windows calibrate, and the others are left to it."
    return replace(tokens[:part], notes=(*tokens.notes, note))


def _tokens(
    source: str,
    purpose: str,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    length: int,
    stride: int | None,
    most: int | None,
) -> Tokens:
    texts = sources.texts(source, purpose)
    start = tokenizer.bos_token_id if needs_start(model) else None
    cut = Cut(
        # The stories that come with the package are whole windows alone: figures that are quoted are of those.
        keeps_last=source not in (sources.DEMO, sources.EVERYDAY),
        before=tuple(own_start(tokenizer)) if texts.is_one_text else None,
        start=() if start is None else (start,),
    )
    tokens = tokenized(texts.documents, tokenizer, length, stride, most, cut)
    check_embedded(tokens.ids, model, tokenizer)
    notes = [*texts.notes, *tokens.notes]
    if start is not None:
        notes.append(f"Every window begins with {tokenizer.bos_token}, which is not scored: this model needs it there.")
    if texts.is_one_text and purpose == "evaluation" and stride in (None, length) and most is None:
        notes.append(
            f"The usual protocol: the split as one text, its lines joined by blank lines; windows of {length:,} tokens "
            "without overlap; every token but the first of each is scored, in the last, shorter window too."
        )
    return replace(tokens, notes=tuple(notes))


def check_embedded(ids: Tensor, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raises LoadError for ids that the model has no embedding for."""
    beyond = ids[ids >= vocabulary_size(model)]
    if beyond.numel():
        token = int(beyond[0])
        raise LoadError(
            f"The tokenizer makes {tokenizer.convert_ids_to_tokens(token)!r} of this text, token {token}, and the "
            f"model has embeddings for {vocabulary_size(model):,} tokens. The tokenizer is another model's, or tokens "
            "were added to it and not to the model: give the model its own."
        )


def split_held_out(tokens: Tokens, share: float = 0.1) -> tuple[Tokens, Tokens]:
    """(training, held out): evenly spread texts are held out, at least one. Raises TextError for a single text."""
    count = len(tokens)
    if count < 2:
        raise TextError(
            f"One window of {tokens.ids.shape[1]} tokens cannot be split into training and held-out text. "
            "Give more text, or shorter windows (--length)."
        )
    held = torch.zeros(count, dtype=torch.bool)
    held[torch.linspace(0, count - 1, max(1, round(count * share))).round().long()] = True
    return tokens[~held], tokens[held]


def held_out_remark(training: Tokens, held_out: Tokens) -> str:
    """What the windows that choose the best step have in common with those trained on, as repeated rows have, in a
    sentence; empty where that is nothing."""
    return overlap.remark(held_out, {"those trained on": training}, "the held-out windows")


def sampled_windows(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, length: int, most: int, seed: int = 0
) -> Generator[Progress, None, Tokens]:
    """`most` windows of `length` tokens drawn from the model itself at temperature 1.

    Every window begins with the token that leads a document; where a document ends another begins, as in training. As
    many windows at once as `SAMPLING_BYTES` holds the keys, values and logits of, one at least.
    """
    start = lead(tokenizer)
    if not start:
        raise SettingError("The tokenizer has no token that begins or ends a text, so nothing can start the sampling.")
    known = known_tokens(tokenizer, vocabulary_size(model))
    randomness = torch.Generator().manual_seed(seed)
    chunks = torch.full((most, 1), start[0]).split(_windows_at_once(model, length))
    sampled, total = [], len(chunks) * length
    for done, prompt in enumerate(chunks):
        columns = [prompt[:, 0]]
        for token in generate(model, prompt, length - 1, seed=randomness, known=known):
            columns.append(token)
            yield Progress("sampling from the dense model", done * length + len(columns), total)
        sampled.append(torch.stack(columns, dim=1))
    return whole(torch.cat(sampled))


def _windows_at_once(model: PreTrainedModel, length: int) -> int:
    """How many windows of `length` tokens `SAMPLING_BYTES` is enough for."""
    # Of the logits of one position: as the model gives them, in float32, divided by the temperature, as probabilities.
    each = length * cache_bytes(model) + vocabulary_size(model) * (model.dtype.itemsize + 3 * 4)
    return max(1, SAMPLING_BYTES // each)
