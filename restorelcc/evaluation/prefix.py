"""Measure a model again and again with something changed from one layer on, computing only the layers from there.

prefix = Prefix(model, tokens)
plain = finish(prefix.measured())                                   # one whole pass; what enters the layers is kept
with compensated(model, c): prefix.again(first_layer)               # the same tokens, from that layer on
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from torch import Tensor, nn

from ..hf.layout import decoder_layers, layers_with_heads
from ..progress import Progress
from ..text.tokens import Tokens
from .perplexity import TokenLoss, measure

if TYPE_CHECKING:
    from transformers import PreTrainedModel

M = TypeVar("M", bound=nn.Module)
MEMORY = 2**29  # bytes


class Prefix:
    """What enters a model's layers on some tokens, kept so that forward passes can begin there.

    memory: bytes for it. Where not every layer's input fits, only every second, third … is kept, and a pass begins at
    the highest kept layer that is not past the change. The model is left as it is, and hooks on its modules act.
    """

    def __init__(self, model: PreTrainedModel, tokens: Tokens, batch: int = 8, memory: int = MEMORY) -> None:
        self.model, self.tokens, self.batch = model, tokens, batch
        self._layers = decoder_layers(model)
        size = tokens.ids.numel() * model.config.get_text_config().hidden_size * model.dtype.itemsize
        self._stride = max(1, -(-len(self._layers) * size // memory))
        self._states: dict[int, list[Tensor]] = {}

    def measured(self) -> Generator[Progress, None, TokenLoss]:
        """The whole model, keeping what enters its layers; yields after every batch."""
        kept = range(self._stride, len(self._layers), self._stride)  # layer 0 needs no keeping
        self._states = {layer: [] for layer in kept}

        def keeping(layer: int) -> Callable[[Tensor], Tensor | None]:
            return lambda hidden: self._states[layer].append(hidden)

        layers = [_Instead(one, keeping(i)) if i in self._states else one for i, one in enumerate(self._layers)]
        return (yield from measure(_with_layers(self.model, layers), self.tokens, self.batch))

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
            layers[:first] = [_Instead(one, lambda hidden: hidden) for one in layers[:first]]
            layers[first - 1] = _Instead(layers[first - 1], lambda _: next(batches))
        return (yield from measure(_with_layers(self.model, layers), self.tokens, self.batch, within))


class _Instead(nn.Module):
    """Stands where a decoder layer stood: gives what `act` makes of the hidden states, or, where that is None, what
    the layer does. Otherwise it looks like the layer, since models ask theirs what kind they are."""

    def __init__(self, layer: nn.Module, act: Callable[[Tensor], Tensor | None]) -> None:
        super().__init__()
        self._act = act
        self._layer = [layer]  # in a list: not a submodule

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_layer"][0], name)

    def forward(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
        given = self._act(hidden)
        return self._layer[0](hidden, *args, **kwargs) if given is None else given


def _with_layers(model: PreTrainedModel, layers: Sequence[nn.Module]) -> PreTrainedModel:
    """A model with other decoder layers and everything else shared: copies of the modules on the way to them alone."""
    first = decoder_layers(model)[0]
    *path, last, _ = next(name for name, module in model.named_modules() if module is first).split(".")
    twin = _own(model)
    at: nn.Module = twin
    for name in path:
        at._modules[name] = _own(at.get_submodule(name))
        at = at.get_submodule(name)
    at._modules[last] = nn.ModuleList(layers)
    return twin


def _own(module: M) -> M:
    """The same module with a table of its own for what is in it."""
    twin = copy.copy(module)
    twin._modules = dict(module._modules)
    # Where `accelerate` placed a model it gave the module a forward of its own, which runs what is in the original.
    twin.__dict__.pop("forward", None)
    return twin
