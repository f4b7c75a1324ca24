"""Where a head's loss comes from: from where it looks, or from what it carries.

A head writes Σ_k a(q, k) W_O v(k): its pattern a says where from, its values, with W_O, what (the QK and the OV circuit
of Elhage et al. 2021). Either alone is taken from the dense model at every token, the other left as pruned; both
together are the whole head patched.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import UnsupportedModel
from ..evaluation.perplexity import TokenLoss
from ..evaluation.prefix import Prefix
from ..hf.layout import HeadGeometry, device_of, geometry, hooked, output_projections
from ..hf.twins import Attended, watching_attention
from ..hf.weights import weight_of
from ..models.pair import ModelPair
from ..progress import Progress, finish
from ..text.tokens import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MEMORY = 2**31
"""Bytes of queries, keys, values and mixed activations that are held at once, and of attention weights of one layer."""
DOING = "patching where heads look and what they carry"
AGREES = 0.02
"""Share of its norm by which what attention gives may differ from what the output projection reads."""


@dataclass(frozen=True)
class Part:
    """Of one head, what the pruned model is given of the dense one."""

    layer: int
    head: int
    pattern: bool
    """Where it looks."""
    values: bool
    """What it carries, and how that is written."""


def patched_in_part(
    pair: ModelPair, tokens: Tokens, parts: Sequence[Part], batch: int = 8
) -> Generator[Progress, None, list[TokenLoss]]:
    """The pruned model's loss with each part in place, alone; yields after each part of each batch of texts.

    A head that pruning removed looks nowhere and carries nothing, so that either alone changes nothing. Raises
    UnsupportedModel where attention is more than weights times values.
    """
    batch = min(batch, _fitting(pair.dense, tokens.ids.shape[1]))
    losses: list[list[Tensor]] = [[] for _ in parts]
    batches = list(tokens.batches(batch))
    for number, some in enumerate(batches):
        mixed = _mixed(pair, some.ids)
        prefix = Prefix(pair.pruned, some, batch=len(some))
        finish(prefix.measured())
        for index, part in enumerate(parts):
            yield Progress(DOING, number * len(parts) + index, len(batches) * len(parts))
            loss = finish(prefix.again(part.layer, within=partial(_in_place, pair, mixed, part)))
            losses[index].append(loss.nll)
    yield Progress(DOING, len(batches) * len(parts), len(batches) * len(parts))
    return [TokenLoss(torch.cat(nll), tokens.scored) for nll in losses]


def _fitting(model: PreTrainedModel, length: int) -> int:
    """How many texts of `length` tokens `MEMORY` is enough for; one at least."""
    shape = geometry(model)
    held = 6 * length * shape.n_layers * shape.n_heads * shape.d_head * model.dtype.itemsize
    weights = 4 * shape.n_heads * length**2 * 4
    return max(1, MEMORY // (held + weights))


Mixture = dict[tuple[bool, bool], Tensor]
"""[text, pos, head of the dense model, d_head] by whether pattern and values are the dense model's."""


@torch.no_grad()
def _mixed(pair: ModelPair, ids: Tensor) -> list[Mixture]:
    """By layer; the weights of one layer exist at a time."""
    dense: list[Attended] = []
    _pass(pair.dense, ids, lambda _, attended: dense.append(attended))
    layers: list[Mixture] = []
    own: list[Tensor] = []

    def see(layer: int, pruned: Attended) -> None:
        ours = dense[layer]
        device = pruned.value.device
        weights, value = pruned.weigh(), pruned.value
        own.append(weights @ value)
        ours_weights, ours_value = ours.weigh().to(device), ours.value.to(device)
        weights, value = (_placed(pair, layer, *both) for both in ((weights, ours_weights), (value, ours_value)))
        patterns, carried = {True: ours_weights, False: weights}, {True: ours_value, False: value}
        layers.append({
            (pattern, values): (patterns[pattern] @ carried[values]).transpose(1, 2)
            for pattern, values in ((True, False), (False, True), (True, True))
        })  # fmt: skip

    z = _pass(pair.pruned, ids, see)
    for computed, read in zip(own, z, strict=True):
        apart = computed.transpose(1, 2).flatten(2) - read
        if float(apart.norm()) > AGREES * float(read.norm()):
            raise UnsupportedModel(
                f"The attention of {type(pair.pruned).__name__} does more than weigh values, so where its heads look "
                "and what they carry cannot be told apart."
            )
    return layers


def _pass(model: PreTrainedModel, ids: Tensor, see: Callable[[int, Attended], None]) -> list[Tensor]:
    """[layer] of [text, pos, head * d_head], what the output projections read. Raises UnsupportedModel."""
    z: list[Tensor] = []
    watched = watching_attention(model, see)
    with hooked(output_projections(watched), lambda _, inputs, __: z.append(inputs)):
        watched(ids.to(device_of(watched)), use_cache=False, logits_to_keep=1)
    return z


def _placed(pair: ModelPair, layer: int, pruned: Tensor, dense: Tensor) -> Tensor:
    """[text, head of the pruned model, …] in the dense model's heads, zeros where one is gone."""
    placed = pair.placed(layer, pruned.transpose(0, 1), torch.zeros_like(dense).transpose(0, 1))
    return placed.transpose(0, 1)


@contextmanager
def _in_place(pair: ModelPair, mixed: list[Mixture], part: Part) -> Iterator[None]:
    """Within the `with`, and in this thread, the pruned model computes with the part."""
    shape, layer = pair.geometry, part.layer
    projection = output_projections(pair.pruned)[layer]
    holder, _, own = pair.holder(layer, part.head)
    held = weight_of(output_projections(holder)[layer])[:, _columns(own, shape)]
    whose = weight_of(output_projections(pair.dense)[layer])[:, _columns(part.head, shape)] if part.values else held

    def change(_: int, z: Tensor, output: Tensor) -> Tensor | None:
        if not (part.pattern or part.values):
            return None
        z_part = mixed[layer][part.pattern, part.values][:, :, part.head]
        output = output + (z_part.to(whose) @ whose.T).to(output)
        if holder is pair.pruned:  # One that is gone writes nothing to take away.
            output = output - z[..., _columns(own, shape)] @ held.T
        return output

    with hooked([projection], change):
        yield


def _columns(head: int, shape: HeadGeometry) -> slice:
    return slice(head * shape.d_head, (head + 1) * shape.d_head)
