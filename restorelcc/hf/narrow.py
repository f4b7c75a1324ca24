"""Llama-shaped models with fewer heads and MLP channels: which rows and columns belong to each, and what config."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import UnsupportedModel
from .layout import HeadGeometry, decoder_layers, geometry
from .twins import equal_llama, filled, skeleton
from .weights import state_of, weight_of

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

ATTENTION = tuple(f"self_attn.{name}_proj" for name in "qkvo")
KEPT = "kept_heads"
MLP = tuple(f"mlp.{name}_proj" for name in ("gate", "up", "down"))
HEADS_END, CHANNELS_END = ATTENTION[-1], MLP[-1]
"""Of the matrices of a layer (see `weights.prunable`) those whose input columns are heads, and MLP channels."""


def kept_heads(model: PreTrainedModel) -> Tensor | None:
    """[layer, head] which head of the dense model each query head of `model` is, from the record in its config; None
    where there is no such record, as in a model that kept all its heads in place."""
    kept = (pruning_record(model) or {}).get(KEPT)
    return None if kept is None else torch.tensor(kept, dtype=torch.int64)


RECORD: dict[str, tuple[type, ...]] = {
    "method": (str,), "sparsity": (int, float), "pattern": (str, type(None)), "allocation": (str,),
    "calibration": (str,), "tokens": (int,), "text": (str,), KEPT: (list,), "dense_heads": (int,),
}  # fmt: skip


def pruning_record(model: PreTrainedModel) -> dict[str, Any] | None:
    """How a model was pruned, as `prune` writes it into the config: method, sparsity, kept_heads …; None where nothing
    is recorded, or something of another kind that only shares the name."""
    record = getattr(model.config, "pruning", None)
    if not isinstance(record, dict):
        return None
    known = {key: value for key, value in record.items() if isinstance(value, RECORD.get(key, ()))}
    return known or None


def with_kept_heads(record: Any, kept: Sequence[Sequence[int]], dense_heads: int) -> dict[str, Any]:
    """What a config's `pruning` says, with the heads that were kept, [layer][head], of how many, among it."""
    kept = [list(heads) for heads in kept]
    return (record if isinstance(record, dict) else {}) | {KEPT: kept, "dense_heads": dense_heads}


def head_weights(model: PreTrainedModel) -> list[tuple[Tensor, Tensor]]:
    """Of every layer, what each query head reads values by and writes by: [head, d_head, d_model] twice, float32.

    Raises UnsupportedModel for a model that is not Llama-shaped.
    """
    shape, layers = geometry(model), []
    for layer in decoder_layers(model):
        values, output = (weight_of(_linear(layer, name)).float() for name in ATTENTION[2:])
        by_head = values.unflatten(0, (shape.n_kv_heads, shape.d_head))
        layers.append(
            (by_head.repeat_interleave(shape.n_heads // shape.n_kv_heads, 0), shape.split(output).permute(1, 2, 0))
        )
    return layers


@dataclass(frozen=True)
class Narrowing:
    """What a narrower model keeps of every layer: so many key/value heads, and so many MLP channels."""

    shape: HeadGeometry
    """Of the whole model."""
    kv_heads: int
    """Key/value heads that stay, each with all query heads that read it."""
    channels: int
    """MLP channels that stay."""

    @property
    def group(self) -> int:
        """Query heads that read one key/value head."""
        return self.shape.n_heads // self.shape.n_kv_heads

    def target(self, model: PreTrainedModel) -> tuple[type[PreTrainedModel], PreTrainedConfig]:
        """(class, config) of the narrower model: the model's own with these numbers, or for Llama an equal one.

        Raises UnsupportedModel where the config allows no such numbers.
        """
        from huggingface_hub.errors import StrictDataclassError

        config, heads = copy.deepcopy(model.config), self.kv_heads * self.group
        text = config.get_text_config()
        text.intermediate_size = self.channels
        if config.model_type == "llama":
            return equal_llama(config.to_dict(), replace(self.shape, n_heads=heads, n_kv_heads=self.kv_heads))
        text.num_attention_heads, text.num_key_value_heads = heads, self.kv_heads
        text.head_dim = self.shape.d_head  # Named, or it would follow from the number of heads.
        try:
            config.validate()
        except StrictDataclassError as error:
            raise UnsupportedModel(
                f"The config of {type(model).__name__} does not allow {heads} heads of {self.shape.d_head} "
                f"({error.__cause__ or error}), so the checkpoint could not be loaded. Give another ratio."
            ) from error
        return type(model), config


def channels_of(model: PreTrainedModel) -> int:
    """MLP channels a layer. Raises UnsupportedModel for a model that is not Llama-shaped."""
    widths = set()
    for layer in decoder_layers(model):
        widths.add([_linear(layer, name) for name in (*ATTENTION, *MLP)][-1].in_features)
    if len(widths) > 1:
        raise UnsupportedModel(
            f"Layers of {type(model).__name__} differ in width ({', '.join(map(str, sorted(widths)))} MLP channels), "
            "and an ordinary config has one. Take a method that zeroes single weights."
        )
    return int(widths.pop())


def check_narrowing(model: PreTrainedModel, plan: Narrowing) -> None:
    """Raises UnsupportedModel where the architecture would give anything else another shape too."""
    was = {name: tuple(value.shape) for name, value in model.named_parameters()}
    for name, value in skeleton(*plan.target(model)).named_parameters():
        ours = any(f".{matrix}." in name for matrix in (*ATTENTION, *MLP))
        if not ours and was[name] != tuple(value.shape):
            raise UnsupportedModel(
                f"{name} of {type(model).__name__} spans all heads ({list(was[name])}), and what it computes would "
                "change with fewer of them. Take a method that zeroes single weights."
            )


def shrink(layer: nn.Module, shape: HeadGeometry, kv: Tensor, output: Tensor, channels: Tensor, down: Tensor) -> None:
    """Keep in `layer`, in place, the key/value heads `kv`, their query heads, and the MLP `channels`, by number.

    output, down: the new weights of the projections that heads and channels end in, [d_model, what stays].
    """
    q, k, v, o = (_linear(layer, name) for name in ATTENTION)
    gate, up, last = (_linear(layer, name) for name in MLP)
    group = shape.n_heads // shape.n_kv_heads
    for module in (k, v):
        _keep_rows(module, rows(kv, shape.d_head))
    _keep_rows(q, rows(kv, group * shape.d_head))
    for module in (gate, up):
        _keep_rows(module, channels)
    for module, weight in ((o, output), (last, down)):
        module.weight = nn.Parameter(weight.to(module.weight), requires_grad=False)
        module.in_features = weight.shape[1]


def rows(groups: Tensor, width: int) -> Tensor:
    """Rows (or columns) of groups of `width` of them, in order: [0, 2] by 2 are [0, 1, 4, 5]."""
    return (groups[:, None] * width + torch.arange(width, device=groups.device)).flatten()


def _linear(layer: nn.Module, name: str) -> nn.Linear:
    module = dict(layer.named_modules()).get(name)
    if not isinstance(module, nn.Linear):
        raise UnsupportedModel(
            f"{type(layer).__name__} has no linear {name}, so it is not known which rows and columns make up a head or "
            "an MLP channel. Structured pruning needs the shape of Llama: separate q, k, v, o and gate, up, down "
            "projections. Take a method that zeroes single weights."
        )
    return module


def _keep_rows(module: nn.Linear, kept: Tensor) -> None:
    for name, value in list(module.named_parameters(recurse=False)):
        setattr(module, name, nn.Parameter(value[kept].clone(), requires_grad=False))
    module.out_features = len(kept)


def rebuilt(model: PreTrainedModel, plan: Narrowing) -> PreTrainedModel:
    """An ordinary model of a config that says its new size, with the tensors of `model`."""
    return filled(skeleton(*plan.target(model)), model, state_of(model))
