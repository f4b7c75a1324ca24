"""Measure a model again and again with something changed from one layer on, computing only the layers from there.

prefix = Prefix(model, tokens)
plain = finish(prefix.measured())                                   # one whole pass; what enters the layers is kept
with compensated(model, c): prefix.again(first_layer)               # the same tokens, from that layer on
prefix.after({2: "a", 5: "b"}, lambda: compensated(model, c))        # beginning where something like it left off
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Generator, Hashable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from torch import Tensor, nn

from ..hf.layout import decoder_layers, geometry, layers_with_heads
from ..hf.twins import StandIn, with_layers
from ..progress import Progress
from ..text.tokens import Tokens
from .perplexity import TokenLoss, at_once, measure

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MEMORY = 2**29
"""Bytes of hidden states of the model as it is, and half as many of it with changes: half a gigabyte, and a quarter,
beside models that take several."""

States = list[Tensor]
"""What enters a layer, a batch of texts each."""
Entry = tuple[int, tuple[tuple[int, Hashable], ...]]
"""A decoder layer, and the (layer, change) of those below it in which something was changed."""


class Prefix:
    """What enters a model's layers on some tokens, kept so that forward passes can begin there.

    memory: bytes for it. Where not every layer's input fits, only every second, third … is kept, and a pass begins at
    the highest kept layer that is not past the change. The model is left as it is, and hooks on its modules act.
    Once `measured`, several threads may go on from it at once.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokens: Tokens,
        batch: int = 8,
        memory: int = MEMORY,
        teacher: Callable[[int], Tensor] | None = None,
    ) -> None:
        """teacher: as `measure` takes it."""
        self.model, self.tokens, self.teacher = model, tokens, teacher
        self.batch = at_once(model, tokens, batch)
        self._layers = decoder_layers(model)
        size = tokens.ids.numel() * geometry(model).d_model * model.dtype.itemsize
        self._stride = max(1, -(-len(self._layers) * size // memory))
        self._states: dict[int, States] = {}
        self._memory = memory
        self._lock = threading.Lock()
        self._changed: OrderedDict[Entry, States] = OrderedDict()

    def measured(self) -> Generator[Progress, None, TokenLoss]:
        """The whole model, keeping what enters its layers; yields after every batch. Stopped before its end, it leaves
        the prefix as it was."""
        states: dict[int, States] = {layer: [] for layer in self._kept_layers()}
        model = self._keeping(list(self._layers), states)
        loss = yield from measure(model, self.tokens, self.batch, teacher=self.teacher)
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
        model = with_layers(self.model, self._from(first, self._states.get(first, [])))
        return (yield from measure(model, self.tokens, self.batch, within, self.teacher))

    def after(
        self, changes: Mapping[int, Hashable], within: Callable[[], AbstractContextManager[None]]
    ) -> Generator[Progress, None, TokenLoss]:
        """The loss on the same tokens with something put back, by whoever asks, again and again.

        changes: for every layer, of those with heads, in which something is, a value that stands for what it is there.
        What enters the layers above is kept, as long as there is memory for it, so that a pass begins at the highest
        layer below which another had the same changes: who puts back one thing more waits for the layers from there on.
        """
        places = layers_with_heads(self.model)
        below = sorted((places[layer], change) for layer, change in changes.items())
        entries = {kept: (kept, tuple(each for each in below if each[0] < kept)) for kept in self._kept_layers()}
        first, begun = self._nearest(entries)
        states: dict[int, States] = {kept: [] for kept, entry in entries.items() if kept > first and entry[1]}
        model = self._keeping(self._from(first, begun), states)
        loss = yield from measure(model, self.tokens, self.batch, within, self.teacher)
        with self._lock:
            for kept, tensors in states.items():
                self._changed[entries[kept]] = tensors
            self._forget_beyond(self._memory // 2)
        return loss

    def _kept_layers(self) -> range:
        return range(self._stride, len(self._layers), self._stride)  # layer 0 needs no keeping

    def _nearest(self, entries: Mapping[int, Entry]) -> tuple[int, States]:
        """The highest layer of which it is known what enters it, and that."""
        with self._lock:
            for layer, entry in sorted(entries.items(), reverse=True):
                if entry in self._changed:
                    self._changed.move_to_end(entry)
                    return layer, self._changed[entry]
                if not entry[1] and layer in self._states:
                    return layer, self._states[layer]
        return 0, []

    def _forget_beyond(self, memory: int) -> None:
        """Let go of what was used longest ago. The lock is held."""
        size = sum(tensor.nbytes for states in self._changed.values() for tensor in states)
        while size > memory:
            _, states = self._changed.popitem(last=False)
            size -= sum(tensor.nbytes for tensor in states)

    def _from(self, first: int, states: States) -> list[nn.Module]:
        """The layers, of which those below `first` compute nothing, and the last of these gives `states`."""
        layers: list[nn.Module] = list(self._layers)
        if first:
            batches = iter(states)
            layers[:first] = [StandIn(layer, lambda hidden: hidden) for layer in layers[:first]]
            layers[first - 1] = StandIn(layers[first - 1], lambda _: next(batches))
        return layers

    def _keeping(self, layers: list[nn.Module], states: Mapping[int, States]) -> PreTrainedModel:
        """The model with these layers, each of which notes what enters it, where `states` has a list for it."""

        def noting(entered: States) -> Callable[[Tensor], Tensor | None]:
            return lambda hidden: entered.append(hidden)

        noted = [StandIn(layer, noting(states[i])) if i in states else layer for i, layer in enumerate(layers)]
        return with_layers(self.model, noted)
