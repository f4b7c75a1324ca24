"""Models made of another's tensors."""

from __future__ import annotations

import copy
import inspect
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from ..errors import UnsupportedModel
from .identity import check_agreement
from .layout import (
    HeadGeometry,
    Stop,
    attentions,
    decoder_layers,
    geometry,
    hooked,
    output_projections,
    run_until_stop,
)
from .weights import is_spread, is_tied, set_tied, state_of, weight_of

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


HOOKS = [name for name in vars(nn.Module()) if name.startswith("_forward")]
"""A module's tables of forward hooks. Those of state dicts are part of the model."""


def copied(model: PreTrainedModel) -> PreTrainedModel:
    """A copy to change, free of any hook that a thread has on the original meanwhile."""
    # Tables of hooks grow and shrink while others compute with the model, so they are never looked through: `deepcopy`
    # takes what its memo says stands for them.
    memo: dict[int, Any] = {
        id(vars(module)[table]): type(vars(module)[table])() for module in model.modules() for table in HOOKS
    }
    return copy.deepcopy(model, memo)


SWITCHES = ("attention_bias", "enable_bias", "attention_out_bias")
"""What configs call the switch for biases in attention: Llama and most; OPT; Seed-OSS."""


def with_output_biases(model: PreTrainedModel, biases: Sequence[Tensor]) -> PreTrainedModel:
    """An ordinary model whose attention output projections carry `biases` ([d_model] a layer) on top.

    It shares what it can with `model`. Of the same class where the architecture has such a bias, or a switch for it in
    its config, which gives q, k and v biases too: they are zero. Otherwise an equal LlamaForCausalLM, where there is
    one. Raises UnsupportedModel with the reason.
    """
    config = copy.deepcopy(model.config)
    if any(projection.bias is None for projection in output_projections(model)):
        for switch in SWITCHES:
            if hasattr(config.get_text_config(), switch):
                setattr(config.get_text_config(), switch, True)
    twin = skeleton(type(model), config)
    if all(projection.bias is not None for projection in output_projections(twin)):
        return filled(twin, model, _added(twin, state_of(model), biases))
    try:
        twin, state = _llama(model)
        return _agreeing(filled(twin, model, _added(twin, state, biases)), model, biases)
    except UnsupportedModel as error:
        raise UnsupportedModel(
            f"{type(model).__name__} has no bias on its attention output and no switch for one, so the restoration "
            f"cannot be merged: {error} Export an adapter instead; restorelcc.load_restored loads it."
        ) from error


def _added(twin: PreTrainedModel, state: dict[str, Tensor], biases: Sequence[Tensor]) -> dict[str, Tensor]:
    """`state` with `biases` added to those of `twin`'s output projections."""
    names = {module: name for name, module in twin.named_modules()}
    like = next(iter(state.values()))
    for projection, bias in zip(output_projections(twin), biases, strict=True):
        key = f"{names[projection]}.bias"
        present = state.get(key, torch.zeros_like(bias, dtype=like.dtype))
        state[key] = (present.float() + bias.to(present.device)).to(present.dtype)
    return state


def takes_value_biases(model: PreTrainedModel) -> bool:
    """Whether a constant per head fits into the bias of the value projections: every head has values of its own, they
    have a bias, and attention rows sum to 1, as they do without sinks."""
    shape = geometry(model)
    return shape.n_heads == shape.n_kv_heads and all(
        getattr(getattr(attention, "v_proj", None), "bias", None) is not None and not hasattr(attention, "sinks")
        for attention in attentions(model)
    )


def with_value_biases(model: PreTrainedModel, constants: Tensor) -> PreTrainedModel:
    """A model of the same class with `constants` [layer, n_heads * d_head] in its value biases (see
    `takes_value_biases`): attention averages values, and the average of a constant is the constant.

    It shares every other tensor with `model`. Raises UnsupportedModel if it computes something else after all.
    """
    state = state_of(model)
    names = {module: name for name, module in model.named_modules()}
    for attention, constant in zip(attentions(model), constants, strict=True):
        key = f"{names[attention.v_proj]}.bias"
        state[key] = (state[key].float() + constant.to(state[key].device)).to(state[key].dtype)
    twin = filled(skeleton(type(model), copy.deepcopy(model.config)), model, state)
    weights = map(weight_of, output_projections(model))
    return _agreeing(twin, model, [w.float() @ c.to(w.device) for w, c in zip(weights, constants, strict=True)])


def with_weights(model: PreTrainedModel, weights: Mapping[str, Tensor]) -> PreTrainedModel:
    """A model of the same class that shares every tensor with `model` but the weights of some linear maps: those are
    `weights`, [output, input] by the map's name."""
    state = state_of(model)
    for name, weight in weights.items():
        own = weight if isinstance(model.get_submodule(name), nn.Linear) else weight.T
        state[f"{name}.weight"] = own.contiguous().to(state[f"{name}.weight"].device)
    return filled(skeleton(type(model), copy.deepcopy(model.config)), model, state)


LLAMA = re.compile(
    r"model\.embed_tokens\.weight|model\.norm\.weight|lm_head\.weight|model\.layers\.\d+\."
    r"(self_attn\.[qkvo]_proj\.(weight|bias)|mlp\.(gate|up|down)_proj\.weight|(input|post_attention)_layernorm\.weight)"
)
"""What Llama's weights are called."""


def _llama(model: PreTrainedModel) -> tuple[PreTrainedModel, dict[str, Tensor]]:
    """(a LlamaForCausalLM without weights that computes what `model` does, biases in its attention; `model`'s weights
    as it calls them). Raises UnsupportedModel, saying what Llama does not have."""
    from transformers import LlamaConfig

    shape = geometry(model)
    state = dict(_unfused(state_of(model), shape))
    strange = [key for key in state if not LLAMA.fullmatch(key)]
    if strange:
        raise UnsupportedModel(f"Llama, which has a switch, has no weights like {strange[0]}.")
    ours, fresh, llama = model.config.to_dict(), type(model.config)().to_dict(), LlamaConfig().to_dict()
    _check_like_llama(model.config, set(fresh) - set(llama))
    kind, config = equal_llama(ours | {"attention_bias": True}, shape)
    for key in set(ours) - set(fresh):  # What pruning recorded, and the like.
        setattr(config, key, ours[key])
    return skeleton(kind, config), state


def equal_llama(settings: dict[str, Any], shape: HeadGeometry) -> tuple[type[PreTrainedModel], PreTrainedConfig]:
    """(class, config) of what computes as Llama does with these settings, as far as it knows them, and this shape.

    Llama; or, where d_model is no multiple of the number of heads, which LlamaConfig refuses, Granite: it differs from
    Llama by four fixed factors, and here they are Llama's own.
    """
    from transformers import GraniteConfig, GraniteForCausalLM, LlamaConfig, LlamaForCausalLM

    plain = shape.d_model % shape.n_heads == 0
    known = set((LlamaConfig if plain else GraniteConfig)().to_dict())
    own = {"model_type", "architectures", "transformers_version", "head_dim", "num_attention_heads"}
    shared = {key: value for key, value in settings.items() if key in known and key not in own}
    shared |= {"num_attention_heads": shape.n_heads, "num_key_value_heads": shape.n_kv_heads, "head_dim": shape.d_head}
    if plain:
        return LlamaForCausalLM, LlamaConfig(**shared)
    return GraniteForCausalLM, GraniteConfig(**shared, attention_multiplier=shape.d_head**-0.5)


def _check_like_llama(config: PreTrainedConfig, beyond: set[str]) -> None:
    """beyond: settings that Llama's config does not have. Raises UnsupportedModel for one that changes what is
    computed."""
    window, context = getattr(config, "sliding_window", None), getattr(config, "max_position_embeddings", math.inf)
    sliding = set(getattr(config, "layer_types", None) or ["sliding_attention"]) - {"full_attention"}
    if window and sliding and getattr(config, "use_sliding_window", True) and window < context:
        raise UnsupportedModel(f"it looks back {window} tokens at most (sliding_window), and Llama has no such window.")
    rotary = getattr(config, "rope_parameters", None) or {}
    if rotary.get("partial_rotary_factor", 1.0) != 1.0:
        raise UnsupportedModel("it rotates only part of a head (partial_rotary_factor), and Llama all of it.")
    if rotary.get("rope_type") == "longrope":
        raise UnsupportedModel(
            "its rotation changes with the length of the text (longrope), and Llama's cache does not."
        )
    # Looked at above, or without a say once training is over.
    harmless = {"sliding_window", "use_sliding_window", "layer_types", "max_window_layers"}
    for key in sorted(beyond - harmless - {"original_max_position_embeddings"}):
        if getattr(config, key, None) and not key.endswith(("dropout", "pdrop")):
            raise UnsupportedModel(f"it has a setting that Llama does not know ({key}={getattr(config, key)}).")


def _unfused(state: dict[str, Tensor], shape: HeadGeometry) -> Iterator[tuple[str, Tensor]]:
    """`state` with matrices that are stacked (Phi-3) taken apart; copies, since a checkpoint may not share memory."""
    rows = [shape.n_heads * shape.d_head, shape.n_kv_heads * shape.d_head, shape.n_kv_heads * shape.d_head]
    for key, value in state.items():
        if ".qkv_proj." in key and len(value) == sum(rows):
            for name, part in zip("qkv", value.split(rows), strict=True):
                yield key.replace("qkv_proj", f"{name}_proj"), part.clone()
        elif ".gate_up_proj." in key:
            for name, part in zip(("gate", "up"), value.chunk(2), strict=True):
                yield key.replace("gate_up_proj", f"{name}_proj"), part.clone()
        else:
            yield key, value


def _agreeing(twin: PreTrainedModel, model: PreTrainedModel, biases: Sequence[Tensor]) -> PreTrainedModel:
    """`twin`, if it computes what `model` does with `biases` at its output projections. Raises UnsupportedModel."""

    def add(layer: int, _: Tensor, output: Tensor) -> Tensor:
        return output + biases[layer].to(output)

    check_agreement(twin, model, lambda: hooked(output_projections(model), add))
    return twin


def showing_attention(model: PreTrainedModel) -> PreTrainedModel:
    """The same model, all tensors shared, computing attention the plain way, so that its weights can be asked for.

    Fused attention never holds them; and the switch is part of a config that everybody's forward passes read.
    """
    config = copy.deepcopy(model.config)
    config._attn_implementation = "eager"
    return filled(skeleton(type(model), config), model, state_of(model))


@dataclass(frozen=True)
class Attended:
    """What the attention of one layer computed for some texts. A head gives `weigh() @ value`."""

    value: Tensor
    """[text, head, pos, d_head] what is carried from each token; under grouped-query attention once a head."""
    weigh: Callable[[], Tensor]
    """Gives [text, head, query, key] anew from queries and keys, which take less memory."""


WATCHED = "restorelcc_watched"
"""What Transformers calls our way to compute attention, once it is registered."""


def watching_attention(model: PreTrainedModel, see: Callable[[int, Attended], None]) -> PreTrainedModel:
    """The same model, all tensors shared, that calls `see(layer, attended)` as it computes, of layers with heads.

    Raises UnsupportedModel, in its forward pass, where attention is not computed through Transformers' interface.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    AttentionInterface.register(WATCHED, _watched)
    AttentionMaskInterface.register(WATCHED, eager_mask)
    config = copy.deepcopy(model.config)
    config._attn_implementation = WATCHED
    twin = filled(skeleton(type(model), config), model, state_of(model))
    for layer, attention in enumerate(attentions(twin)):
        vars(attention)["see"] = partial(see, layer)  # beside its modules, as it is none
        attention.register_forward_hook(_check_seen)
    return twin


def _check_seen(module: nn.Module, *_: Any) -> None:
    if not vars(module).pop("seen", False):
        raise UnsupportedModel(f"{type(module).__name__} computes attention in a way of its own that cannot be seen.")


def _watched(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **how: Any
) -> tuple[Tensor, Tensor]:
    """The family's own plain attention, which knows of its caps and sinks."""
    plain = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
    if plain is None:
        raise UnsupportedModel(f"{type(module).__name__} has no plain way to compute attention, so none can be seen.")
    heads = query.shape[1] // value.shape[1]
    if "see" in vars(module):
        repeated = value.repeat_interleave(heads, dim=1)
        vars(module)["seen"] = True
        vars(module)["see"](Attended(repeated, lambda: plain(module, query, key, value, mask, **how)[1]))
    computed: tuple[Tensor, Tensor] = plain(module, query, key, value, mask, **how)
    return computed


def skeleton(kind: type[PreTrainedModel], config: PreTrainedConfig) -> PreTrainedModel:
    """A model of this class without weights."""
    with torch.device("meta"):
        return kind(config)


def filled(twin: PreTrainedModel, model: PreTrainedModel, state: dict[str, Tensor]) -> PreTrainedModel:
    """The skeleton `twin` with the tensors of `state`, zeros where it has none, and what else `model` holds."""
    set_tied(twin.config, is_tied(model))
    for key, parameter in twin.named_parameters():
        if key not in state:
            state[key] = torch.zeros(parameter.shape, dtype=model.dtype, device=next(iter(state.values())).device)
    twin.load_state_dict(state, assign=True)
    # Rotary tables are no weights: they are in no state dict, and the skeleton's are empty.
    for key, buffer in model.named_buffers():
        owner, _, name = key.rpartition(".")
        buffer = buffer.cpu() if is_spread(model) else buffer  # where `state_of` puts what goes with it
        twin.get_submodule(owner).register_buffer(name, buffer, persistent=key in state)
    twin.tie_weights()
    twin.generation_config = model.generation_config
    twin.eval().requires_grad_(False)
    return twin


# --- other layers --------------------------------------------------------------------------------------------------

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


class _Noted(StandIn):
    """Passes hidden states on as they are, and tells what else the layer was given, by name."""

    def __init__(self, layer: nn.Module, note: Callable[[Tensor, dict[str, Any]], None]) -> None:
        super().__init__(layer, lambda hidden: hidden)
        self._note = note
        self._names = list(inspect.signature(layer.forward).parameters)[1:]

    def forward(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
        """`hidden`."""
        self._note(hidden, dict(zip(self._names, args, strict=False)) | kwargs)
        return hidden


def layer_inputs(model: PreTrainedModel, ids: Tensor, arguments: bool = True) -> tuple[Tensor, list[dict[str, Any]]]:
    """(hidden states entering the first decoder layer, the other arguments of every layer) for `ids` [batch, pos].

    Masks and rotary tables may differ from layer to layer (sliding windows), so each layer's are kept; without
    `arguments` the list is empty. No layer computes anything.
    """
    layers = decoder_layers(model)
    first: list[Tensor] = []
    seen: list[dict[str, Any]] = []

    def note(states: Tensor, others: dict[str, Any]) -> None:
        if not first:
            first.append(states)
        if arguments:
            seen.append(others)
        if not arguments or len(seen) == len(layers):
            raise Stop

    run_until_stop(with_layers(model, [_Noted(layer, note) for layer in layers]), ids)
    return first[0], seen
