"""What every head does on one passage: where it looks, and how much of it is lost at each token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..hf.layout import device_of, geometry
from ..hf.twins import showing_attention
from ..models.pair import ModelPair
from .statistics import head_activations

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Reading:
    """One passage, read by both models. float32."""

    ids: Tensor
    """[pos] token ids."""
    lost: Tensor
    """[layer, head, pos] ‖z_d − z_p‖², squared activation units."""
    dense: Tensor
    """[layer, head, pos] ‖z_d‖²."""
    dense_attention: Tensor
    """[layer, head, query, key] weights of the dense model; every row sums to 1, or less beside a sink (gpt-oss)."""
    pruned_attention: Tensor
    """[layer, head, query, key] weights of the pruned model; 0 for a head that is gone."""

    @property
    def share(self) -> Tensor:
        """[layer, head, pos] lost energy as a share of the head's mean dense energy over the passage."""
        return self.lost / self.dense.mean(-1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)


@torch.no_grad()
def read_passage(pair: ModelPair, ids: Tensor) -> Reading:
    """Both models on `ids` [pos]. Attention weights are computed apart, the plain way, at O(pos²) memory a head."""
    row = ids[None]
    dense, pruned = (_activations(model, row) for model in (pair.dense, pair.pruned))
    dense_attention = attention_weights(pair.dense, row)
    return Reading(
        ids=ids,
        lost=(dense - _placed(pair, pruned, dense)).square().sum(-1),
        dense=dense.square().sum(-1),
        dense_attention=dense_attention,
        pruned_attention=_placed(pair, attention_weights(pair.pruned, row), dense_attention),
    )


@torch.no_grad()
def lost_along(pair: ModelPair, ids: Tensor, layer: int, head: int, direction: Tensor) -> Tensor:
    """[pos] δz · direction of one head on `ids` [pos]; direction: [d_head]. float32, activation units."""
    dense, pruned = (_activations(model, ids[None]) for model in (pair.dense, pair.pruned))
    lost = (dense - _placed(pair, pruned, dense))[layer, head]
    along: Tensor = lost @ direction.to(lost)
    return along


def _activations(model: PreTrainedModel, ids: Tensor) -> Tensor:
    """[layer, head, pos, d_head] float32 z for one row of `ids` [1, pos]."""
    z, _ = head_activations(model, ids)
    return torch.stack([geometry(model).split(layer[0].float()).transpose(0, 1).cpu() for layer in z])


def _placed(pair: ModelPair, pruned: Tensor, dense: Tensor) -> Tensor:
    """[layer, head, …] in the dense model's heads, zeros where one is gone."""
    return torch.stack(
        [pair.placed(layer, *both) for layer, both in enumerate(zip(pruned, torch.zeros_like(dense), strict=True))]
    )


@torch.no_grad()
def attention_weights(model: PreTrainedModel, ids: Tensor) -> Tensor:
    """[layer, head, query, key] float32 for one row of `ids` [1, pos]."""
    twin = showing_attention(model)
    output = twin(ids.to(device_of(twin)), use_cache=False, output_attentions=True, logits_to_keep=1)
    # Layers of other kinds give none.
    return torch.stack([layer[0].float().cpu() for layer in output.attentions if layer is not None])
