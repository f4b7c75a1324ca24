"""Structured pruning: whole attention heads and MLP channels go, and the matrices become smaller.

A head or channel is a group of input columns of the matrix that it ends in, the output projection or the down
projection. Groups go by the error that their removal makes in the output of that matrix once the remaining columns make
up for it: optimal brain surgeon by groups, in the manner of SlimGPT (Ling et al., NeurIPS 2024, arXiv 2412.18110).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import SettingError
from ..hf.layout import decoder_layers, geometry
from ..hf.narrow import CHANNELS_END, HEADS_END, Narrowing, channels_of, check_narrowing, rebuilt, rows, shrink
from ..hf.weights import prunable
from ..progress import Progress
from ..text.tokens import Tokens
from .hessian import inverse_factor
from .stream import Stream

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROUNDS = 8
"""Of what is still to go, one part in so many goes at once, at least one group: coarse first, one by one at the end.
SlimGPT's dynamic group size, by halves from 1 024 channels, is the same idea."""


def narrowed(
    model: PreTrainedModel, tokens: Tokens, ratio: float, batch: int
) -> Generator[Progress, None, tuple[PreTrainedModel, list[list[int]]]]:
    """(a model without `ratio` of its heads and MLP channels, [layer][head] numbers of the query heads it kept).

    The same number in every layer, so that an ordinary config describes it. Under grouped-query attention whole
    key/value heads go with the query heads that read them; `ratio` of them to the nearest whole number, and at least
    one stays. `model` is used up. Yields after every layer. Raises SettingError where nothing would go,
    UnsupportedModel for a model that is not Llama-shaped.
    """
    shape, channels = geometry(model), channels_of(model)
    fewer_heads, fewer_channels = (min(round(ratio * count), count - 1) for count in (shape.n_kv_heads, channels))
    if fewer_heads == fewer_channels == 0:
        raise SettingError(
            f"A ratio of {ratio:g} removes no whole head or channel: layers have {shape.n_kv_heads} key/value heads "
            f"and {channels} MLP channels. Give a larger one."
        )
    plan = Narrowing(shape, shape.n_kv_heads - fewer_heads, channels - fewer_channels)
    check_narrowing(model, plan)
    layers, kept = decoder_layers(model), []
    stream = Stream(model, tokens, batch)
    for index, layer in enumerate(layers):
        yield Progress(f"pruning layer {index + 1} of {len(layers)}", index, len(layers))
        matrices = {name: matrix for name, matrix in prunable(layer).items() if name in (HEADS_END, CHANNELS_END)}
        inputs = stream.read(layer, matrices, "hessian")
        width = plan.group * shape.d_head
        kv, output = without_groups(matrices[HEADS_END].weight, inputs.pop(HEADS_END), width, fewer_heads)
        stays, down = without_groups(matrices[CHANNELS_END].weight, inputs.pop(CHANNELS_END), 1, fewer_channels)
        shrink(layer, shape, kv, output, stays, down)
        kept.append([int(head) for head in rows(kv, plan.group)])
        stream.advance(layer)
    return rebuilt(model, plan), kept


def without_groups(weight: Tensor, hessian: Tensor, width: int, count: int) -> tuple[Tensor, Tensor]:
    """(numbers of the groups that stay, in order; [output, their columns] float32) after `count` groups went.

    weight: [output, input], the columns of a group next to each other, `width` of them. hessian: [input, input].
    With P = H⁻¹ of the columns still there, removing the columns G costs tr(W_G P_GG⁻¹ W_Gᵀ) (half of it, in H's
    units) when the others become W − W_G P_GG⁻¹ P_G,: , which is their least-squares solution; P loses
    P_:,G P_GG⁻¹ P_G,:. Groups of one round are chosen by their cost alone and removed together.
    """
    left = weight.float()
    factor = inverse_factor(hessian)
    inverse = factor.T @ factor
    kept = torch.arange(weight.shape[1] // width, device=weight.device)
    while count > 0:
        now = max(1, count // ROUNDS)
        stays = torch.ones_like(kept, dtype=torch.bool)
        stays[_costs(left, inverse, width).argsort(stable=True)[:now]] = False
        columns = stays.repeat_interleave(width)
        share = torch.linalg.solve(inverse[~columns][:, ~columns], inverse[~columns][:, columns])
        left = left[:, columns] - left[:, ~columns] @ share
        inverse = inverse[columns][:, columns] - inverse[columns][:, ~columns] @ share
        kept, count = kept[stays], count - now
    return kept, left


def _costs(weight: Tensor, inverse: Tensor, width: int) -> Tensor:
    """[group] tr(W_G P_GG⁻¹ W_Gᵀ)."""
    groups = weight.shape[1] // width
    columns = weight.T.unflatten(0, (groups, width))  # [group, width, output]
    blocks = inverse.view(groups, width, groups, width).diagonal(dim1=0, dim2=2).movedim(-1, 0)
    costs: Tensor = (torch.linalg.solve(blocks, columns) * columns).sum((1, 2))
    return costs
