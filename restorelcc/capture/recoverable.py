"""What a head lost, split by what could bring it back: a constant, a linear map of what is still computed, or nothing.

From streamed moments of δz and of the pruned model's activations z_p: a ridge regression of δz on z_p is fitted on
every second text and judged on the others, so that what is merely learnt by heart counts as gone.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import SettingError
from ..models.pair import ModelPair
from ..progress import Progress
from ..text.tokens import Tokens
from .statistics import head_activations

RIDGE = 1e-3
"""Added to the diagonal of the moments, as a share of its mean."""
MEMORY = 2**30
"""Bytes for the moments of whole layers; where they take more, heads are regressed on themselves alone."""


@dataclass(frozen=True)
class Recoverable:
    """Shares of mean ‖δz‖² on texts that nothing was fitted on; [layer, head] float64, 0 where nothing was lost."""

    constant: Tensor
    """What adding the mean of δz undoes."""
    head: Tensor
    """What an affine map of the head's own z_p undoes, the constant included."""
    layer: Tensor | None
    """What one of the z_p of all heads of its layer undoes; None where that took too much memory."""

    @property
    def gone(self) -> Tensor:
        """What none of these undoes."""
        return 1 - (self.head if self.layer is None else self.layer)


@dataclass
class _Moments:
    """Of one layer over some tokens, sums in float64."""

    inputs: Tensor
    """[…, input + 1, input + 1] of (z_p, 1) with itself; a block a head where layers are too wide."""
    cross: Tensor
    """[…, input + 1, head * d_head] of (z_p, 1) with δz; by head [head, input + 1, d_head]."""
    lost: Tensor
    """[head] of ‖δz‖²."""


def recoverable(
    pair: ModelPair, tokens: Tokens, batch: int = 4, memory: int = MEMORY
) -> Generator[Progress, None, Recoverable]:
    """The split of every head; yields after every batch of texts. Raises SettingError for a single text."""
    if len(tokens) < 2:
        raise SettingError("One text is too few: what is fitted on one is judged on another. Give two windows or more.")
    shape = pair.geometry
    width = shape.n_heads * shape.d_head
    whole = 4 * 8 * shape.n_layers * (width + 1) ** 2 <= memory
    halves: list[list[_Moments]] = [[], []]
    for half, found in enumerate(halves):
        texts = torch.arange(half, len(tokens), 2)
        for part in texts.split(batch):
            yield Progress("regressing what was lost", int(part[0]), len(tokens))
            for layer, moments in enumerate(_of_batch(pair, tokens[part], whole)):
                if layer == len(found):
                    found.append(moments)
                else:
                    found[layer].inputs += moments.inputs
                    found[layer].cross += moments.cross
                    found[layer].lost += moments.lost
    yield Progress("regressing what was lost", len(tokens), len(tokens))
    rows = [_shares(fit, check, shape.n_heads, whole) for fit, check in zip(*halves, strict=True)]
    constant, head, wide = (torch.stack(column) for column in zip(*rows, strict=True))
    # A map that does worse than less of it is not the one that anybody would take.
    constant = constant.clamp(min=0)
    head = torch.maximum(head, constant)
    return Recoverable(constant, head, torch.maximum(wide, head) if whole else None)


def _of_batch(pair: ModelPair, tokens: Tokens, whole: bool) -> list[_Moments]:
    shape = pair.geometry
    dense, _ = head_activations(pair.dense, tokens.ids)
    pruned, _ = head_activations(pair.pruned, tokens.ids)
    layers = []
    for layer, (ours, theirs) in enumerate(zip(dense, pruned, strict=True)):
        d = shape.split(ours[tokens.real].double().cpu()).transpose(0, 1)  # [head, token, d_head]
        p = theirs[tokens.real].double().cpu().unflatten(-1, (-1, shape.d_head)).transpose(0, 1)
        p = pair.placed(layer, p, torch.zeros_like(d))
        lost = d - p
        one = torch.ones(1, d.shape[1], 1, dtype=d.dtype)
        if whole:
            p, flat = p.transpose(0, 1).flatten(1)[None], lost.transpose(0, 1).flatten(1)[None]
        else:
            flat, one = lost, one.expand(len(d), -1, -1)
        inputs = torch.cat([p, one], -1)
        layers.append(_Moments(inputs.mT @ inputs, inputs.mT @ flat, lost.square().sum((1, 2))))
    return layers


def _shares(fit: _Moments, check: _Moments, n_heads: int, whole: bool) -> tuple[Tensor, Tensor, Tensor]:
    """[head] shares that the constant, the head's own map and the layer's undo on `check`, fitted on `fit`."""
    own_fit, own_check = (_by_head(moments, n_heads) if whole else moments for moments in (fit, check))
    last = own_fit.inputs[:, -1:, -1:], own_fit.cross[:, -1:]
    constant = own_fit.cross.new_zeros(own_fit.cross.shape)
    constant[:, -1:] = last[1] / last[0]
    head = _ridge(own_fit)
    undone = [_undone(each, own_check) for each in (constant, head)]
    if not whole:
        return undone[0], undone[1], undone[1]
    wide = _ridge(fit)[0].unflatten(1, (n_heads, -1)).transpose(0, 1)  # [head, input + 1, d_head]
    cross = check.cross[0].unflatten(1, (n_heads, -1)).transpose(0, 1)
    return undone[0], undone[1], _undone(wide, _Moments(check.inputs, cross, check.lost))


def _by_head(moments: _Moments, n_heads: int) -> _Moments:
    """The blocks of each head's own inputs."""
    width = moments.cross.shape[-1] // n_heads
    inputs, cross = [], []
    for head in range(n_heads):
        own = torch.cat([torch.arange(head * width, (head + 1) * width), torch.tensor([n_heads * width])])
        inputs.append(moments.inputs[0][own][:, own])
        cross.append(moments.cross[0][own, head * width : (head + 1) * width])
    return _Moments(torch.stack(inputs), torch.stack(cross), moments.lost)


def _ridge(moments: _Moments) -> Tensor:
    """[…, input + 1, output] the map of least squared error, its weights held small; not its constant."""
    diagonal = moments.inputs.diagonal(dim1=-2, dim2=-1)[..., :-1]
    penalty = torch.cat([diagonal.mean(-1, keepdim=True).clamp(min=1e-12).expand_as(diagonal) * RIDGE,
                         torch.zeros_like(diagonal[..., :1])], -1)  # fmt: skip
    solved: Tensor = torch.linalg.solve(moments.inputs + torch.diag_embed(penalty), moments.cross)
    return solved


def _undone(maps: Tensor, moments: _Moments) -> Tensor:
    """[head] 1 − E‖δz − A(z_p, 1)‖² / E‖δz‖²; 0 where nothing was lost."""
    left = moments.lost - 2 * (maps * moments.cross).sum((1, 2)) + ((moments.inputs @ maps) * maps).sum((1, 2))
    return torch.where(moments.lost > 0, 1 - left / moments.lost.clamp(min=1e-300), 0.0)
