"""Sampling text from a model, token by token, with its key/value cache.

Apart from Transformers' `generate` for two reasons: every step is yielded, so that text can be shown as it grows,
and randomness comes from a generator of its own, so that two people at once do not disturb each other's seeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import SettingError
from ..hf.layout import device_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@torch.no_grad()
def generate(
    model: PreTrainedModel,
    prompt: Tensor,
    most: int,
    temperature: float = 1.0,
    seed: int | torch.Generator = 0,
    stop: int | None = None,
    known: Tensor | None = None,
) -> Iterator[Tensor]:
    """Yield the next token [batch] of every row until `most` were drawn or all rows have drawn `stop`.

    prompt: [batch, pos] token ids, without padding. temperature: 0 takes the likeliest token, 1 samples from the
    model's own distribution. seed: or a generator of the CPU's that has been drawn from already, which goes on.
    known: [vocabulary] bool, which rows of the embedding are tokens (see `known_tokens`), so that no other is drawn;
    None: all. Raises SettingError for an empty prompt or a negative temperature.
    """
    if prompt.shape[1] == 0:
        raise SettingError("There is nothing to continue: give at least one token.")
    if temperature < 0:
        raise SettingError(f"A temperature of {temperature} makes no sense: give 0 (likeliest token) or more.")
    # Always the CPU's generator: the same seed gives the same text on every device.
    randomness = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    ended = torch.zeros(len(prompt), dtype=torch.bool)
    ids, cache = prompt.to(device_of(model)), None
    for _ in range(most):
        output = model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        logits, cache = output.logits[:, -1].float().cpu(), output.past_key_values
        if known is not None:
            logits = logits.masked_fill(~known, -torch.inf)
        if temperature == 0:
            token = logits.argmax(-1)
        else:
            token = torch.multinomial((logits / temperature).softmax(-1), 1, generator=randomness)[:, 0]
        yield token
        if stop is not None:
            ended |= token == stop
            if bool(ended.all()):
                return
        ids = token[:, None].to(device_of(model))
