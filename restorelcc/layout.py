"""How Hugging Face lays out a model: the only file that knows.

Everything else speaks through `HeadGeometry`, `output_projections` and `decoder_layers`.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .errors import UnsupportedModel

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class HeadGeometry:
    """The shape of a model's attention."""

    n_layers: int
    n_heads: int
    """Query heads per layer: the heads of this package."""
    n_kv_heads: int
    """Key/value heads per layer; fewer than `n_heads` under grouped-query attention."""
    d_head: int
    """Width of one head's output. Not d_model / n_heads: Gemma and Qwen3 choose it freely."""
    d_model: int
    """Width of the residual stream."""

    def split(self, activation: Tensor) -> Tensor:
        """[..., head * d_head] to [..., head, d_head]."""
        parts: Tensor = activation.unflatten(-1, (self.n_heads, self.d_head))
        return parts


def decoder_layers(model: PreTrainedModel) -> list[nn.Module]:
    """The decoder layers, first to last. Raises UnsupportedModel."""
    layers = getattr(getattr(model, "model", None), "layers", None)
    if not isinstance(layers, nn.ModuleList) or len(layers) == 0:
        raise UnsupportedModel(
            f"{type(model).__name__} keeps its decoder layers where they are not looked for (model.layers). "
            "Llama-like models are supported."
        )
    return list(layers)


def output_projections(model: PreTrainedModel) -> list[nn.Linear]:
    """The attention output projection of every layer: its input is all heads side by side.

    Raises UnsupportedModel.
    """
    found = []
    for index, layer in enumerate(decoder_layers(model)):
        projection = getattr(getattr(layer, "self_attn", None), "o_proj", None)
        if not isinstance(projection, nn.Linear):
            raise UnsupportedModel(
                f"Layer {index} of {type(model).__name__} has no linear self_attn.o_proj, so its heads cannot be told "
                "apart. Llama-like models are supported."
            )
        found.append(projection)
    return found


def geometry(model: PreTrainedModel) -> HeadGeometry:
    """Read from the config and checked against the weights. Raises UnsupportedModel."""
    projections = output_projections(model)
    config = model.config.get_text_config()
    n_heads = config.num_attention_heads
    width = projections[0].in_features
    d_head = getattr(config, "head_dim", None) or width // n_heads
    if any(projection.in_features != n_heads * d_head for projection in projections):
        raise UnsupportedModel(
            f"The config says {n_heads} heads of {d_head}, but output projections read {width} values: "
            "heads cannot be told apart. Was the config edited?"
        )
    return HeadGeometry(
        n_layers=len(projections),
        n_heads=n_heads,
        n_kv_heads=getattr(config, "num_key_value_heads", None) or n_heads,
        d_head=d_head,
        d_model=projections[0].out_features,
    )


def copied(model: PreTrainedModel) -> PreTrainedModel:
    """A copy to change, free of any hook that a thread had on the original at that moment."""
    twin = copy.deepcopy(model)
    for module in twin.modules():
        module._forward_hooks.clear()
    return twin


def with_output_biases(model: PreTrainedModel, biases: Sequence[Tensor]) -> PreTrainedModel:
    """An ordinary model of the same class whose output projections carry `biases` ([d_model] a layer) on top.

    It shares every other tensor with `model`. The config says `attention_bias`, which gives q, k and v biases too:
    they are zero. Raises UnsupportedModel where the architecture has no such switch.
    """
    config = copy.deepcopy(model.config)
    if not hasattr(config, "attention_bias"):
        raise UnsupportedModel(
            f"{type(model).__name__} has no bias on its attention output, so the restoration cannot be merged. "
            "Export an adapter instead."
        )
    config.attention_bias = True
    twin = skeleton(model, config)
    state = model.state_dict()
    names = {module: name for name, module in twin.named_modules()}
    for projection, bias in zip(output_projections(twin), biases, strict=True):
        if projection.bias is None:
            raise UnsupportedModel(
                f"{type(model).__name__} ignores attention_bias on its output projection, so the restoration cannot be "
                "merged. Export an adapter instead."
            )
        key = f"{names[projection]}.bias"
        present = state.get(key)
        state[key] = (
            bias.to(model.dtype) if present is None else (present.float() + bias.to(present.device)).to(present.dtype)
        )
    return filled(twin, model, state)


def showing_attention(model: PreTrainedModel) -> PreTrainedModel:
    """The same model, all tensors shared, computing attention the plain way, so that its weights can be asked for.

    Fused attention never holds them; and the switch is part of a config that everybody's forward passes read.
    """
    config = copy.deepcopy(model.config)
    config._attn_implementation = "eager"
    return filled(skeleton(model, config), model, model.state_dict())


def skeleton(model: PreTrainedModel, config: Any) -> PreTrainedModel:
    """A model of the same class without weights."""
    with torch.device("meta"):
        twin: PreTrainedModel = type(model)(config)
    return twin


def filled(twin: PreTrainedModel, model: PreTrainedModel, state: dict[str, Tensor]) -> PreTrainedModel:
    """The skeleton `twin` with the tensors of `state`, zeros where it has none, and what else `model` holds."""
    for key, parameter in twin.named_parameters():
        if key not in state:
            state[key] = torch.zeros(parameter.shape, dtype=model.dtype, device=model.device)
    twin.load_state_dict(state, assign=True)
    # Rotary tables are no weights: they are in no state dict, and the skeleton's are empty.
    for key, buffer in model.named_buffers():
        owner, _, name = key.rpartition(".")
        twin.get_submodule(owner).register_buffer(name, buffer, persistent=key in state)
    twin.tie_weights()
    twin.generation_config = model.generation_config
    twin.eval().requires_grad_(False)
    return twin


def final_norm(model: PreTrainedModel) -> Tensor:
    """[d_model] the gain of the norm before the unembedding. Raises UnsupportedModel."""
    norm = getattr(getattr(model, "model", None), "norm", None)
    weight = getattr(norm, "weight", None)
    if not isinstance(norm, nn.Module) or not isinstance(weight, Tensor):
        raise UnsupportedModel(f"{type(model).__name__} has no final norm where it is looked for (model.norm).")
    # What the norm makes of ones, whose RMS is 1, and not its weight: Gemma multiplies by 1 + weight.
    with torch.no_grad():
        gain: Tensor = norm(torch.ones_like(weight))
    return gain


def unembedding(model: PreTrainedModel) -> Tensor:
    """[vocabulary, d_model] the rows that turn the residual stream into logits. Raises UnsupportedModel."""
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise UnsupportedModel(f"{type(model).__name__} has no linear unembedding.")
    return head.weight


def layer_inputs(model: PreTrainedModel, ids: Tensor, arguments: bool = True) -> tuple[Tensor, list[dict[str, Any]]]:
    """(hidden states entering the first decoder layer, the other arguments of every layer) for `ids` [batch, pos].

    Masks and rotary tables may differ from layer to layer (sliding windows), so each layer's are kept, which takes a
    whole forward pass; without `arguments` it ends at the first layer and the list is empty.
    """
    first: list[Tensor] = []
    seen: list[dict[str, Any]] = []

    def keep(module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Any]) -> None:
        if not first:
            first.append(args[0])
        if not arguments:
            raise Stop
        seen.append(kwargs)

    handles = [layer.register_forward_pre_hook(keep, with_kwargs=True) for layer in decoder_layers(model)]
    try:
        with suppress(Stop):
            model(ids.to(model.device), use_cache=False, logits_to_keep=1)
    finally:
        for handle in handles:
            handle.remove()
    return first[0], seen


def context_length(model: PreTrainedModel) -> int:
    """Longest sequence the model was made for, in tokens."""
    return int(getattr(model.config.get_text_config(), "max_position_embeddings", 2048))


# --- watching a forward pass ------------------------------------------------------------------------------------


@contextmanager
def hooked(modules: Sequence[nn.Module], hook: Callable[[int, Tensor, Tensor], Tensor | None]) -> Iterator[None]:
    """Within the `with`, call `hook(index, input, output)` after each module's forward; what it returns replaces
    the output. Fires in the thread that entered and in no other, since models are shared between threads."""
    owner = threading.get_ident()

    def fire_for(index: int) -> Callable[..., Tensor | None]:
        def fire(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            return hook(index, inputs[0], output) if threading.get_ident() == owner else None

        return fire

    handles = [module.register_forward_hook(fire_for(index)) for index, module in enumerate(modules)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class Stop(Exception):
    """Raised in a hook to end a forward pass that has shown enough; caught by `run_until_stop`."""


def run_until_stop(model: PreTrainedModel, ids: Tensor) -> None:
    """Forward `ids` [batch, pos] for what hooks see on the way, until one of them raises Stop."""
    with suppress(Stop):
        model(ids.to(model.device), use_cache=False)
