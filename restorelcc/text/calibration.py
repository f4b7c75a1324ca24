"""One call from the name of a text source to tokens for a model, the source `self` included."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import torch

from ..errors import SettingError, TextError
from ..hf.layout import cache_bytes, context_length, vocabulary_size
from ..progress import Progress
from . import sources
from .generate import generate
from .tokens import Tokens, lead, tokenized, whole

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DEFAULT_WINDOWS = 128
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


def calibration_tokens(
    source: str,
    dense: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    length: int | None = None,
    most: int = DEFAULT_WINDOWS,
    seed: int = 0,
) -> Generator[Progress, None, Tokens]:
    """Tokens of `source` (see `text`) to calibrate on, at most `most` windows; `self` is sampled from `dense`."""
    size = window_length(dense, length)
    if source == sources.SELF:
        return (yield from sampled_windows(dense, tokenizer, size, most, seed))
    return tokenized(sources.read(source, "calibration"), tokenizer, size, most=most)


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
    randomness = torch.Generator().manual_seed(seed)
    chunks = torch.full((most, 1), start[0]).split(_windows_at_once(model, length))
    sampled, total = [], len(chunks) * length
    for done, prompt in enumerate(chunks):
        columns = [prompt[:, 0]]
        for token in generate(model, prompt, length - 1, seed=randomness):
            columns.append(token)
            yield Progress("sampling from the dense model", done * length + len(columns), total)
        sampled.append(torch.stack(columns, dim=1))
    return whole(torch.cat(sampled))


def _windows_at_once(model: PreTrainedModel, length: int) -> int:
    """How many windows of `length` tokens `SAMPLING_BYTES` is enough for."""
    # Of the logits of one position: as the model gives them, in float32, divided by the temperature, as probabilities.
    each = length * cache_bytes(model) + vocabulary_size(model) * (model.dtype.itemsize + 3 * 4)
    return max(1, SAMPLING_BYTES // each)
