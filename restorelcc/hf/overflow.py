"""Numbers beyond what a precision can hold: where in a model they come up first, and what to do about it."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import NotFinite, shortened
from .layout import decoder_layers, device_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def check_finite(values: Tensor, model: PreTrainedModel, ids: Tensor, called: str = "its loss") -> None:
    """Of what `model` computes from `ids` [text, pos], as it is called now. called: what `values` are.

    Raises NotFinite, naming where numbers first become infinite or NaN: a forward pass more, and only then.
    """
    if not torch.isfinite(values).all():
        raise overflow(model, _first_place(model, ids) or called)


def overflow(model: PreTrainedModel, place: str) -> NotFinite:
    """What to say where numbers become infinite or NaN at a place in a model."""
    name = str(getattr(model.config, "name_or_path", "") or "")
    of = f" of {shortened(name)}" if name else ""
    kind = str(model.dtype).removeprefix("torch.")
    if model.dtype == torch.float16:
        remedy = "float16 holds nothing above 65 504: load it in bfloat16 or float32 (--dtype)."
    else:
        remedy = (
            "No other precision helps: what is added to it is far too large, or its weights or its config are damaged."
        )
    return NotFinite(f"Numbers become infinite or NaN in {place}{of}, in {kind}. {remedy}")


def place_of(layer: int, module: str = "") -> str:
    """How a place inside a decoder layer is called."""
    return f"layer {layer}" + (f" ({module})" if module else "")


@torch.no_grad()
def _first_place(model: PreTrainedModel, ids: Tensor) -> str:
    """The first module, in the order in which they end, whose output is not finite; empty where none is."""
    names = {module: name for name, module in model.named_modules()}
    layers = {id(layer): index for index, layer in enumerate(decoder_layers(model))}
    owner, places = threading.get_ident(), list[nn.Module]()

    def see(module: nn.Module, _: Any, output: Any) -> None:
        values = output[0] if isinstance(output, tuple) else output
        ours = threading.get_ident() == owner and isinstance(values, Tensor) and values.is_floating_point()
        if ours and not torch.isfinite(values).all():
            places.append(module)

    handles = [module.register_forward_hook(see) for module in model.modules()]
    try:
        with suppress(Exception):  # NaN may well be refused further on: what was seen on the way counts.
            model(ids.to(device_of(model)), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return _called(places[0], names, layers) if places else ""


def _called(module: nn.Module, names: dict[nn.Module, str], layers: dict[int, int]) -> str:
    """A module by its place: the number of its layer and its name in it, or its name in the model."""
    prefixes = {names[layer]: index for layer in names if (index := layers.get(id(layer))) is not None}
    name = names[module]
    for prefix, index in prefixes.items():
        if name == prefix or name.startswith(f"{prefix}."):
            return place_of(index, name[len(prefix) + 1 :])
    return name or "its output"
