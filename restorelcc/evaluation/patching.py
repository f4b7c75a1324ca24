"""Activation patching: how much would come back if nothing were lost at some place.

What a head writes into the residual stream in the pruned model, W_O z_p, is replaced token by token by what it writes
in the dense model on the same text: as if nothing were lost there. A constant is the same for every token, so it falls
short of this, unless it is trained to make up for damage elsewhere.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..hf.layout import HeadGeometry, device_of, geometry, hooked, mlps, output_projections
from ..hf.weights import weight_of
from ..models.pair import ModelPair
from ..processes import apart, from_all, turns
from ..progress import Progress, finish
from ..text.tokens import Tokens
from .perplexity import TokenLoss, at_once, joined
from .prefix import Prefix

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Head = tuple[int, int]
MEMORY = 2**32
"""Bytes of outputs of the dense model that are held at once."""


@dataclass(frozen=True)
class Patch:
    """Where the pruned model is given the dense model's output of the same token. Layers are those with heads."""

    heads: frozenset[Head] = frozenset()
    """(layer, head): what the head writes."""
    mlps: frozenset[int] = frozenset()
    """Layers: what the MLP writes."""

    @property
    def first(self) -> int:
        """The lowest layer that is touched; 0 if none is."""
        return min([layer for layer, _ in self.heads] + list(self.mlps), default=0)


def all_heads(shape: HeadGeometry, *layers: int) -> Patch:
    """All heads of these layers; of every layer if none is named."""
    chosen = layers or range(shape.n_layers)
    return Patch(frozenset((layer, head) for layer in chosen for head in range(shape.n_heads)))


def everything(shape: HeadGeometry) -> Patch:
    """All heads and MLPs: this computes what the dense model does."""
    return Patch(all_heads(shape).heads, frozenset(range(shape.n_layers)))


def patched(
    pair: ModelPair, tokens: Tokens, patches: Sequence[Patch], batch: int = 8, distances: bool = False
) -> Generator[Progress, None, list[TokenLoss]]:
    """The pruned model's loss under every patch; yields after each patch of each batch of texts. Where several
    processes are at it, each takes its turns, and all get the whole.

    distances: measure how far the dense model is, too, which takes its logits of a batch. Memory: for one batch, what
    every attention and MLP of the dense model computes; at most `MEMORY`, so where texts are long and the model is
    large a batch is smaller. Layers below a patch are not computed again.
    """
    batch = at_once(pair.dense, tokens, min(batch, _fitting(pair.dense, tokens.ids.shape[1])))
    parts: list[list[TokenLoss]] = [[] for _ in patches]
    batches = turns(tokens.batches(batch))
    for number, part in enumerate(batches):
        dense = _read(pair.dense, part.ids, 0 if distances else 1)
        teacher = dense.logits if distances else None
        prefix = Prefix(pair.pruned, part, len(part), teacher=None if teacher is None else partial(_same, teacher))
        with apart():  # A batch is one process's.
            finish(prefix.measured())
        for index, patch in enumerate(patches):
            yield Progress("patching", number * len(patches) + index, len(batches) * len(patches))
            within = partial(_in_place, pair, dense, patch)
            with apart():
                parts[index].append(finish(prefix.again(patch.first, within=within)))
    yield Progress("patching", len(batches) * len(patches), len(batches) * len(patches))
    return [joined(from_all(of_patch)) for of_patch in parts]


def _same(teacher: Tensor, _: int) -> Tensor:
    """The dense model's logits of the one batch there is."""
    return teacher


def _fitting(model: PreTrainedModel, length: int) -> int:
    """How many texts of `length` tokens `MEMORY` holds the outputs of; one at least."""
    shape = geometry(model)
    each = shape.n_heads * shape.d_head + 2 * shape.d_model  # z, what attention writes, what the MLP writes
    return max(1, MEMORY // (length * shape.n_layers * each * model.dtype.itemsize))


@dataclass(frozen=True)
class _Outputs:
    """What a model computes for some texts, layer by layer, each [batch, pos, …]."""

    z: list[Tensor]
    attention: list[Tensor]
    mlp: list[Tensor]
    logits: Tensor
    """[batch, pos, vocabulary], of the last positions alone where no more were asked for."""


@torch.no_grad()
def _read(model: PreTrainedModel, ids: Tensor, last: int) -> _Outputs:
    """last: positions whose logits are computed; 0: all."""
    z, attention, mlp = list[Tensor](), list[Tensor](), list[Tensor]()

    def keep(_: int, inputs: Tensor, output: Tensor) -> None:
        z.append(inputs)
        attention.append(output)

    def keep_mlp(_: int, __: Tensor, output: Any) -> None:
        mlp.append(_first(output))

    with hooked(output_projections(model), keep), hooked(mlps(model), keep_mlp):
        logits = model(ids.to(device_of(model)), use_cache=False, logits_to_keep=last).logits
    return _Outputs(z, attention, mlp, logits)


@contextmanager
def _in_place(pair: ModelPair, dense: _Outputs, patch: Patch) -> Iterator[None]:
    """Within the `with`, and in this thread, the pruned model computes with the patch."""
    shape = pair.geometry
    w_pruned, w_dense = (list(map(weight_of, output_projections(model))) for model in (pair.pruned, pair.dense))
    chosen = {layer: sorted(head for at, head in patch.heads if at == layer) for layer, _ in patch.heads}

    def attention(layer: int, z: Tensor, output: Tensor) -> Tensor | None:
        heads = chosen.get(layer, [])
        if len(heads) == shape.n_heads:
            return dense.attention[layer].to(output)  # to the last bit, and the bias is the same
        for head in heads:
            columns = _columns(head, shape)
            output = output + (dense.z[layer][..., columns] @ w_dense[layer][:, columns].T).to(output)
            holder, _, own = pair.holder(layer, head)
            if holder is pair.pruned:  # One that is gone writes nothing to take away.
                columns = _columns(own, shape)
                output = output - z[..., columns] @ w_pruned[layer][:, columns].T
        return output

    def mlp(layer: int, _: Tensor, output: Any) -> Any:
        if layer not in patch.mlps:
            return None
        whole = dense.mlp[layer].to(_first(output))
        return (whole, *output[1:]) if isinstance(output, tuple) else whole  # experts tell of their routing too

    with hooked(output_projections(pair.pruned), attention), hooked(mlps(pair.pruned), mlp):
        yield


def _columns(head: int, shape: HeadGeometry) -> slice:
    return slice(head * shape.d_head, (head + 1) * shape.d_head)


def _first(output: Any) -> Tensor:
    tensor: Tensor = output[0] if isinstance(output, tuple) else output
    return tensor
