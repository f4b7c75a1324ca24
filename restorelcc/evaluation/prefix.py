"""Measure a model again and again with something changed from one layer on, computing only the layers from there.

prefix = Prefix(model, tokens)
plain = finish(prefix.measured())                                   # one whole pass; what enters the layers is kept
with compensated(model, c): prefix.again(first_layer)               # the same tokens, from that layer on
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from torch import Tensor, nn

from ..hf.layout import decoder_layers, geometry, layers_with_heads
from ..hf.twins import StandIn, with_layers
from ..progress import Progress
from ..text.tokens import Tokens
from .perplexity import TokenLoss, measure

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MEMORY = 2**29
"""Bytes of hidden states: half a gigabyte beside models that take several."""


class Prefix:
    """What enters a model's layers on some tokens, kept so that forward passes can begin there.

    memory: bytes for it. Where not every layer's input fits, only every second, third … is kept, and a pass begins at
    the highest kept layer that is not past the change. The model is left as it is, and hooks on its modules act.
    """

    def __init__(self, model: PreTrainedModel, tokens: Tokens, batch: int = 8, memory: int = MEMORY) -> None:
        self.model, self.tokens, self.batch = model, tokens, batch
        self._layers = decoder_layers(model)
        size = tokens.ids.numel() * geometry(model).d_model * model.dtype.itemsize
        self._stride = max(1, -(-len(self._layers) * size // memory))
        self._states: dict[int, list[Tensor]] = {}

    def measured(self) -> Generator[Progress, None, TokenLoss]:
        """The whole model, keeping what enters its layers; yields after every batch. Stopped before its end, it leaves
        the prefix as it was."""
        kept = range(self._stride, len(self._layers), self._stride)  # layer 0 needs no keeping
        states: dict[int, list[Tensor]] = {layer: [] for layer in kept}

        def keeping(layer: int) -> Callable[[Tensor], Tensor | None]:
            return lambda hidden: states[layer].append(hidden)

        layers = [StandIn(layer, keeping(i)) if i in states else layer for i, layer in enumerate(self._layers)]
        loss = yield from measure(with_layers(self.model, layers), self.tokens, self.batch)
        self._states = states
        return loss

    def again(
        self, layer: int, within: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> Generator[Progress, None, TokenLoss]:
        """The loss on the same tokens where nothing below `layer`, of those with heads, differs from when it was
        `measured`.

        within: entered around every batch, such as `lambda: compensated(model, c)`.
        """
        changed = layers_with_heads(self.model)[layer]
        first = max((kept for kept in self._states if kept <= changed), default=0)
        batches = iter(self._states.get(first, ()))
        layers: list[nn.Module] = list(self._layers)
        if first:
            layers[:first] = [StandIn(layer, lambda hidden: hidden) for layer in layers[:first]]
            layers[first - 1] = StandIn(layers[first - 1], lambda _: next(batches))
        return (yield from measure(with_layers(self.model, layers), self.tokens, self.batch, within))
