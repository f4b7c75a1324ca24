"""How Hugging Face lays out a model: everything outside this wing speaks through `HeadGeometry`, `output_projections`
and `decoder_layers`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ..errors import UnsupportedModel, shortened
from .families import FAMILIES
from .weights import is_experts, is_linear, shape_of, value_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


LARGEST = 2**31  # of any size of a model


@dataclass(frozen=True)
class HeadGeometry:
    """The shape of a model's attention."""

    n_layers: int
    """Layers with heads; hybrid models have others too."""
    n_heads: int
    """Query heads per layer: the heads of this package."""
    n_kv_heads: int
    """Key/value heads per layer; fewer than `n_heads` under grouped-query attention."""
    d_head: int
    """Width of one head's output. Not d_model / n_heads: Gemma and Qwen3 choose it freely."""
    d_model: int
    """Width of the residual stream."""

    @classmethod
    def read(cls, written: Mapping[str, object]) -> HeadGeometry:
        """What `asdict` gave, kept as JSON. Raises ValueError, TypeError where it is none."""
        if not all(type(size) is int and 0 < size < LARGEST for size in written.values()):
            raise ValueError(f"a model of {shortened(str(written))} is none")
        return cls(**written)  # type: ignore[arg-type]

    def split(self, activation: Tensor) -> Tensor:
        """[..., head * d_head] to [..., head, d_head]."""
        parts: Tensor = activation.unflatten(-1, (self.n_heads, self.d_head))
        return parts


def decoder_layers(model: PreTrainedModel) -> list[nn.Module]:
    """The decoder layers, first to last, those without attention included. Raises UnsupportedModel."""
    return list(_decoder(model)[1])


def _decoder(model: PreTrainedModel) -> tuple[nn.Module, nn.ModuleList]:
    """(the module that holds the decoder layers, their list): of the outermost lists in the decoder the one that is
    as long as the config says. Raises UnsupportedModel."""
    depth = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    lists = [(owner, layers) for owner, layers in _outermost_lists(model.get_decoder()) if len(layers) == depth]
    if len(lists) != 1:
        raise UnsupportedModel(
            f"{type(model).__name__} has {len(lists)} lists of {depth} modules, the layers that its config counts, so "
            "its decoder layers cannot be told. A decoder with one list of layers is needed."
        )
    return lists[0]


def _outermost_lists(module: nn.Module) -> Iterator[tuple[nn.Module, nn.ModuleList]]:
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            yield module, child
        else:
            yield from _outermost_lists(child)


# What a linear map inside attention is called that reads the residual stream, by the first word of its name.
READING = {"q", "k", "v", "kv", "qkv", "query", "key", "value", "g", "gate", "wq", "wk", "wv"}
# What peft calls the low-rank maps that it puts beside a linear map, and that map inside its wrapper.
ADAPTER, WRAPPED = ".lora_", ".base_layer"
# What a module is called whose output is that of the whole MLP. OPT has no module around its two matrices.
WRITING = ("mlp", "feed_forward", "block_sparse_moe", "fc2")


@dataclass(frozen=True)
class _Heads:
    """Where the heads of one decoder layer are."""

    attention: nn.Module
    projection: nn.Module
    """Of all heads to the residual stream."""
    path: tuple[str, ...]
    """From the model to the projection; it leads through the attention."""

    def in_place(self, model: nn.Module) -> bool:
        """Whether `model` still holds both, and not something that was put in their place."""
        module: nn.Module | None = model
        through = False
        for name in self.path:
            module = None if module is None else module._modules.get(name)
            through = through or module is self.attention
        return through and module is self.projection


_KNOWN: WeakKeyDictionary[nn.Module, dict[int, _Heads]] = WeakKeyDictionary()
"""What was found, as long as the model lives: it is asked for at every forward pass with something put back."""


def _heads(model: PreTrainedModel) -> dict[int, _Heads]:
    """Those of every decoder layer with heads, by the layer's index in the model; searched for once a model, and again
    where one of them is no longer in its place. Raises UnsupportedModel."""
    known = _KNOWN.get(model)
    if known is None or not all(heads.in_place(model) for heads in known.values()):
        names = {module: name for name, module in model.named_modules()}
        known = _KNOWN[model] = {
            index: _Heads(attention, projection, tuple(names.get(projection, "").split(".")))
            for index, (attention, projection) in _searched(model).items()
        }
    return known


def _searched(model: PreTrainedModel) -> dict[int, tuple[nn.Module, nn.Module]]:
    """(attention, its output projection) of every decoder layer with heads, by the layer's index in the model.

    The projection is the one linear map of the attention to the residual stream that does not read it. Layers without
    softmax attention (Mamba, linear attention, convolutions) are left out. Raises UnsupportedModel.
    """
    config = model.config.get_text_config()
    kinds = getattr(config, "layer_types", None) or [""] * len(decoder_layers(model))
    parts: dict[int, tuple[nn.Module, nn.Module]] = {}
    for index, (layer, kind) in enumerate(zip(decoder_layers(model), kinds, strict=True)):
        attention = None if "linear" in kind else _attention_of(layer)
        if attention is None:
            continue
        candidates = {
            name: module
            for name, module in attention.named_modules()
            if is_linear(module)
            and ADAPTER not in name
            and name.removesuffix(WRAPPED).rpartition(".")[2].lower().split("_")[0] not in READING
            and shape_of(module)[0] == config.hidden_size
            and shape_of(module)[1] % config.num_attention_heads == 0
        }
        if len(candidates) != 1:
            raise UnsupportedModel(
                f"The attention of layer {index} of {type(model).__name__} ({type(attention).__name__}) has "
                f"{len(candidates)} linear maps that could be its output projection "
                f"({', '.join(candidates) or 'none of the right size'}), so its heads cannot be told apart. "
                "Exactly one is needed."
            )
        parts[index] = (attention, *candidates.values())
    if not parts:
        raise UnsupportedModel(
            f"None of the {len(kinds)} decoder layers of {type(model).__name__} has attention that ends in one linear "
            "projection, so there are no heads to compare. Give a model with softmax attention."
        )
    return parts


def _attention_of(layer: nn.Module) -> nn.Module | None:
    """The self-attention of a decoder layer: its child with linear maps that is called so, or None."""
    for name, child in layer.named_children():
        called = f"{name} {type(child).__name__}".lower()
        if (
            ("attn" in called or "attention" in called)
            and not ("cross" in called or "linear" in called)
            and any(is_linear(module) for module in child.modules())
        ):
            return child
    return None


def output_projections(model: PreTrainedModel) -> list[nn.Module]:
    """The attention output projection of every layer with heads: its input is all heads side by side.

    Linear, or GPT-2's Conv1D: `weights.weight_of` reads both. Raises UnsupportedModel.
    """
    return [heads.projection for heads in _heads(model).values()]


def attentions(model: PreTrainedModel) -> list[nn.Module]:
    """The attention of every layer with heads. Raises UnsupportedModel."""
    return [heads.attention for heads in _heads(model).values()]


def layers_with_heads(model: PreTrainedModel) -> list[int]:
    """Where in the model the layers with heads are, among its decoder layers. Raises UnsupportedModel."""
    return list(_heads(model))


def mlps(model: PreTrainedModel) -> list[nn.Module]:
    """Of every layer with heads the module whose output is what its MLP writes. Raises UnsupportedModel."""
    layers = decoder_layers(model)
    modules = []
    for index in layers_with_heads(model):
        named = [child for name, child in layers[index].named_children() if name in WRITING]
        if len(named) != 1:
            raise UnsupportedModel(
                f"The MLP of layer {index} of {type(model).__name__} is none of {', '.join(WRITING)}, where it is "
                "looked for, so it cannot be patched. Heads can."
            )
        modules += named
    return modules


def geometry(model: PreTrainedModel) -> HeadGeometry:
    """Read from the config and checked against the weights. Raises UnsupportedModel."""
    projections = output_projections(model)
    config = model.config.get_text_config()
    n_heads = config.num_attention_heads
    d_model, width = shape_of(projections[0])
    try:
        # Where values have a width of their own (DeepSeek), it is that of a head's output.
        d_head = getattr(config, "v_head_dim", None) or getattr(config, "head_dim", None) or width // n_heads
    except RuntimeError as error:  # Raised by configs in which it differs from layer to layer (Gemma 4).
        raise UnsupportedModel(
            f"The heads of {type(model).__name__} are wider in some layers than in others, and one width is needed."
        ) from error
    if any(shape_of(projection)[1] != n_heads * d_head for projection in projections):
        raise UnsupportedModel(
            f"The config says {n_heads} heads of {d_head}, but output projections read {width} values: "
            "heads cannot be told apart. Was the config edited?"
        )
    return HeadGeometry(
        n_layers=len(projections),
        n_heads=n_heads,
        n_kv_heads=getattr(config, "num_key_value_heads", None) or n_heads,
        d_head=d_head,
        d_model=d_model,
    )


def note_loading(model: PreTrainedModel, said: Sequence[str], stored: torch.dtype | None) -> None:
    """Have `remarks` and `stored_in` say so of this model, and of its copies: what was seen as it was loaded."""
    model._remarks, model._stored_in = list(said), stored  # type: ignore[assignment]


def stored_in(model: PreTrainedModel) -> torch.dtype:
    """The precision of the weights of its files, where they were read from such; else that of the model."""
    dtype: torch.dtype = getattr(model, "_stored_in", None) or model.dtype
    return dtype


def remarks(model: PreTrainedModel) -> list[str]:
    """What should be said of how this model is read, a sentence each; nothing for the families that are tested, where
    files and config agree."""
    lines: list[str] = list(getattr(model, "_remarks", ()))
    kind, layers = model.config.get_text_config().model_type, decoder_layers(model)
    if kind not in FAMILIES:
        lines.append(f"'{kind}' is none of the families that are tested; its heads were found by structure.")
    skipped = sorted(set(range(len(layers))) - set(layers_with_heads(model)))
    if skipped:
        listed = ", ".join(map(str, skipped))
        lines.append(f"Layers {listed} have no softmax attention, so no heads: they are skipped, and others count on.")
    plain = (module for layer in layers for module in layer.modules() if not is_experts(module))
    stacked = (module for module in plain if any(part.ndim == 3 for part in module.parameters(recurse=False)))
    if not all(isinstance(module, nn.Conv1d) for module in stacked):
        lines.append("Some experts are stored in a way that is not known: pruning leaves them as they are.")
    return lines


def final_norm(model: PreTrainedModel) -> nn.Module:
    """The norm before the unembedding: the last norm beside the decoder layers. Raises UnsupportedModel."""
    owner, _ = _decoder(model)
    norms = [child for child in owner.children() if "norm" in type(child).__name__.lower()]
    if not norms:
        raise UnsupportedModel(f"{type(model).__name__} has no final norm beside its decoder layers.")
    return norms[-1]


def attention_norm(layer: nn.Module) -> nn.Module | None:
    """The norm on what attention writes, before it joins the residual stream (Gemma 2 and 3, OLMo 2, GLM-4), or None.

    Llama's `post_attention_layernorm` is another: it stands before the MLP. Where there is one after the MLP too, it
    is the attention's own.
    """
    named: nn.Module | None = getattr(layer, "post_self_attn_layernorm", None)
    if named is None and hasattr(layer, "post_feedforward_layernorm"):
        named = getattr(layer, "post_attention_layernorm", None)
    return named


def unembedding(model: PreTrainedModel) -> Tensor:
    """[vocabulary, d_model] the rows that turn the residual stream into logits, before any cap on them.

    A projection in between (small OPT) and a fixed scale (Granite) are multiplied in. Raises UnsupportedModel.
    """
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise UnsupportedModel(f"{type(model).__name__} has no linear unembedding.")
    between = getattr(_decoder(model)[0], "project_out", None)
    weight = value_of(head, "weight")
    if between is not None:
        weight = weight @ value_of(between, "weight")
    return weight / float(getattr(model.config.get_text_config(), "logits_scaling", 1.0))


def residual_scale(model: PreTrainedModel) -> float:
    """What is multiplied to all that layers write before it joins the residual stream: 1 but in Granite."""
    return float(getattr(model.config.get_text_config(), "residual_multiplier", 1.0))


def device_of(model: PreTrainedModel) -> torch.device:
    """Where token ids go. `model.device` but for a model whose embedding lies in memory or on disk between forward
    passes, as `accelerate` may have it: then the first device that computes."""
    if model.device.type != "meta":
        return model.device
    places = getattr(model, "hf_device_map", {}).values()
    return torch.device(next((place for place in places if place not in ("cpu", "disk")), "cpu"))


def vocabulary_size(model: PreTrainedModel) -> int:
    """Tokens that the model has an embedding for."""
    return int(model.config.get_text_config().vocab_size)


def context_length(model: PreTrainedModel) -> int:
    """Longest sequence the model was made for, in tokens."""
    return int(getattr(model.config.get_text_config(), "max_position_embeddings", 2048))


def cache_bytes(model: PreTrainedModel) -> int:
    """Memory that one token takes at most in the key/value cache of all layers. Sliding windows, and layers that have
    other state than keys and values, take less."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    written = config.to_dict()  # Asked by name, a config whose layers differ raises.
    widths = [written.get(name) or 0 for name in ("head_dim", "global_head_dim", "v_head_dim", "qk_head_dim")]
    width = max(widths) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * width * model.dtype.itemsize)


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
        model(ids.to(device_of(model)), use_cache=False)
