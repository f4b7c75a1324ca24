"""The logits of a model on some tokens, again and again, for the price of its unembedding."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..hf.layout import Stop, decoder_layers, device_of, hooked, run_until_stop
from ..hf.twins import StandIn, with_layers
from ..progress import Progress
from ..text.tokens import Tokens
from .perplexity import at_once

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Ending:
    """What leaves a model's last layer on some tokens, [text, pos, d_model] in its own precision, kept: logits of a
    large vocabulary would take many times as much. Once `made`, several threads may ask it at once."""

    def __init__(self, model: PreTrainedModel, tokens: Tokens, batch: int = 8) -> None:
        self.model, self.tokens, self.batch = model, tokens, at_once(model, tokens, batch)
        self._left: dict[int, Tensor] = {}

    def made(self) -> Generator[Progress, None, None]:
        """One pass of the model; yields after every batch."""
        states = dict[int, Tensor]()
        for start in range(0, len(self.tokens), self.batch):
            yield Progress("reading the dense model", start, len(self.tokens))
            states[start] = left(self.model, self.tokens.ids[start : start + self.batch])
        self._left = states

    def logits(self, start: int) -> Tensor:
        """[text, pos, vocabulary] of the batch that begins with this text."""
        return ended(self.model, self.tokens.ids[start : start + self.batch], self._left[start])


@torch.no_grad()
def left(model: PreTrainedModel, ids: Tensor) -> Tensor:
    """[text, pos, d_model] what leaves a model's last layer, where the pass ends."""
    states: list[Tensor] = []

    def keep(_: int, __: Tensor, output: Any) -> None:
        states.append(output[0] if isinstance(output, tuple) else output)
        raise Stop

    with hooked([decoder_layers(model)[-1]], keep):
        run_until_stop(model, ids)
    return states[0]


@torch.no_grad()
def ended(model: PreTrainedModel, ids: Tensor, states: Tensor) -> Tensor:
    """[text, pos, vocabulary] what the model makes of what left its last layer for these ids."""
    layers = [StandIn(layer, lambda hidden: hidden) for layer in decoder_layers(model)]
    layers[-1] = StandIn(layers[-1], lambda _: states)
    logits: Tensor = with_layers(model, layers)(ids.to(device_of(model)), use_cache=False).logits
    return logits
