"""Which weights of a layer belong to which heads: the linear maps around its attention, line by line.

A line is an input column of the output projection, which carries one number of one head's activation; of every other
map it is an output row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from .layout import HeadGeometry, attentions, decoder_layers, geometry, layers_with_heads, output_projections
from .weights import linear_maps, shape_of, weight_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Reach = Literal["output", "attention", "layer"]
"""Output projections alone; with the maps that attention reads by; with all other linear maps of the layer."""


@dataclass(frozen=True)
class Sliced:
    """A linear map whose weight is cut into the lines of heads."""

    name: str
    """Of its module in the model."""
    module: nn.Module
    owners: Tensor
    """[line, head] bool: the heads that compute with a line; several where they share keys and values."""
    is_output: bool
    """Whether lines are input columns, as the output projection has them."""

    def taken(self, heads: Tensor) -> Tensor:
        """[line] bool: those that any of `heads` [head] bool computes with."""
        taken: Tensor = (self.owners & heads).any(-1)
        return taken

    @property
    def weight(self) -> Tensor:
        """[line, …] a view of the weight, or its values (see `weights.weight_of`)."""
        return self.lines(weight_of(self.module).detach())

    def lines(self, weight: Tensor) -> Tensor:
        """[line, …] of a weight [output, input], and the other way round."""
        return weight.T if self.is_output else weight


def sliced(model: PreTrainedModel, reach: Reach) -> list[list[Sliced]]:
    """The linear maps of every layer with heads, the output projection first. Experts that share one parameter are left
    out, and so are routers. Raises UnsupportedModel."""
    shape, layers = geometry(model), decoder_layers(model)
    names = {module: name for name, module in model.named_modules()}
    every_head = torch.eye(shape.n_heads, dtype=torch.bool)
    found = []
    rows = zip(layers_with_heads(model), attentions(model), output_projections(model), strict=True)
    for index, attention, projection in rows:
        columns = every_head.repeat_interleave(shape.d_head, 0)
        maps = [Sliced(names[projection], projection, columns, True)]
        if reach != "output":
            inside = set(attention.modules())
            for module in linear_maps(layers[index]):
                if module is not projection and (reach == "layer" or module in inside):
                    owners = _owners(names[module], shape_of(module)[0], shape, module in inside)
                    maps.append(Sliced(names[module], module, owners, False))
        found.append(maps)
    return found


def _owners(name: str, rows: int, shape: HeadGeometry, in_attention: bool) -> Tensor:
    """[row, head] bool. Rows of a map that cannot be told apart, or that is none of attention, are everybody's."""
    last = name.rpartition(".")[2].lower()
    queries = torch.eye(shape.n_heads, dtype=torch.bool)
    group = shape.n_heads // shape.n_kv_heads
    shared = torch.eye(shape.n_kv_heads, dtype=torch.bool).repeat_interleave(group, 1)  # [key/value head, head]
    if not in_attention:
        units = None
    elif last == "query_key_value":  # GPT-NeoX, BLOOM, Falcon: each key/value head beside the queries that read it
        units = torch.cat([torch.cat([queries[own], own[None], own[None]]) for own in shared])
    elif last in ("c_attn", "qkv_proj", "wqkv", "qkv"):  # all queries, then all keys, then all values
        units = torch.cat([queries, shared, shared])
    else:
        first = last.split("_")[0]
        units = {"q": queries, "query": queries, "k": shared, "key": shared, "v": shared, "value": shared}.get(first)
    if units is None or rows % len(units):
        return torch.ones(rows, shape.n_heads, dtype=torch.bool)
    return units.repeat_interleave(rows // len(units), 0)
