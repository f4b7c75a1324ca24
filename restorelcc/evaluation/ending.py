"""The logits of a model on some tokens, again and again, for the price of its unembedding."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..hf.layout import decoder_layers, hooked
from ..hf.twins import StandIn, with_layers
from ..progress import Progress
from ..text.tokens import Tokens
from .perplexity import logits_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Ending:
    """What leaves a model's last layer on some tokens, [text, pos, d_model] in its own precision, kept: logits of a
    large vocabulary would take many times as much. Once `made`, several threads may ask it at once."""

    def __init__(self, model: PreTrainedModel, tokens: Tokens, batch: int = 8) -> None:
        self.model, self.tokens, self.batch = model, tokens, batch
        self._left: dict[int, Tensor] = {}

    def made(self) -> Generator[Progress, None, None]:
        """One pass of the model; yields after every batch."""
        layers, left = decoder_layers(self.model), dict[int, Tensor]()
        for start in range(0, len(self.tokens), self.batch):
            yield Progress("reading the dense model", start, len(self.tokens))

            def keep(_: int, __: Tensor, output: Any, start: int = start) -> None:
                left[start] = (output[0] if isinstance(output, tuple) else output).detach()

            with hooked([layers[-1]], keep), torch.no_grad():
                logits_of(self.model, self.tokens[start : start + self.batch])
        self._left = left

    def logits(self, start: int) -> Tensor:
        """[text, pos, vocabulary] of the batch that begins with this text."""
        layers = [StandIn(layer, lambda hidden: hidden) for layer in decoder_layers(self.model)]
        layers[-1] = StandIn(layers[-1], lambda _: self._left[start])
        return logits_of(with_layers(self.model, layers), self.tokens[start : start + self.batch])
