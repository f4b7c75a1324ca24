"""A model some of whose decoder layers are replaced, everything else shared."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from torch import Tensor, nn

from .layout import decoder_layers

if TYPE_CHECKING:
    from transformers import PreTrainedModel

M = TypeVar("M", bound=nn.Module)


class StandIn(nn.Module):
    """Stands where a decoder layer stood: gives what `act` makes of the hidden states, or, where that is None, what
    the layer does. Otherwise it looks like the layer, since models ask theirs what kind they are."""

    def __init__(self, layer: nn.Module, act: Callable[[Tensor], Tensor | None]) -> None:
        super().__init__()
        self._act = act
        self._layer = [layer]  # in a list: not a submodule

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_layer"][0], name)

    def forward(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
        """What is computed where the layer was, from what it would have been given."""
        given = self._act(hidden)
        return self._layer[0](hidden, *args, **kwargs) if given is None else given


def with_layers(model: PreTrainedModel, layers: Sequence[nn.Module]) -> PreTrainedModel:
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
    """A shallow copy: other submodules can be put into it, and the original keeps its own."""
    twin = copy.copy(module)
    twin._modules = dict(module._modules)
    # Where `accelerate` placed a model it gave the module a forward of its own, which runs what is in the original.
    twin.__dict__.pop("forward", None)
    return twin
