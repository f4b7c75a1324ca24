"""Which head of the dense model each head of a pruned model with fewer is: told beside the checkpoint, or recognised by
its weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import PairMismatch, UnsupportedModel
from ..foreign import document_of, foreign
from ..hf.layout import HeadGeometry, geometry
from ..hf.narrow import head_weights, kept_heads, pruning_record, with_kept_heads

if TYPE_CHECKING:
    from transformers import PreTrainedModel

KEPT_FILE = "kept_heads.json"
FORMAT = 1
MOST_HEADS = 2**31
HELP = f"Put a {KEPT_FILE} into the pruned model's folder, or give a pruned model that kept its heads."
COSINE, MARGIN = 0.5, 0.1
"""Least cosine with its partner, and least lead over any other head, of a head that counts as recognised. Heads of one
model have cosines within a few hundredths of 0; under grouped-query attention those that share values have 0.5."""


@dataclass(frozen=True)
class Match:
    """Heads of a pruned model and the heads of the dense model that they are."""

    heads: Tensor
    """[layer, head of the pruned model] number of the dense model's head."""
    dense_heads: int
    """Heads a layer of the dense model."""
    cosine: Tensor | None = None
    """[layer, head] between the weights of the two, mean of values and output projection; None where told."""
    margin: Tensor | None = None
    """[layer, head] cosine less that with the most similar other head."""

    def __str__(self) -> str:
        gone = f"{self.dense_heads - self.heads.shape[1]} of {self.dense_heads} heads a layer are gone"
        if self.cosine is None or self.margin is None:
            return f"{gone}; the checkpoint says which."
        return (
            f"{gone}; the others were recognised by their weights, with a cosine of at least "
            f"{float(self.cosine.min()):.2f}, {float(self.margin.min()):.2f} or more ahead of any other head."
        )


HeadWeights = Sequence[tuple[Tensor, Tensor]]
"""[layer] of what each head reads values by and writes by, [head, d_head, d_model] twice: see `narrow.head_weights`."""


def matched(
    dense: PreTrainedModel,
    pruned: PreTrainedModel,
    folder: Path | None = None,
    weights: Callable[[], tuple[HeadWeights, HeadWeights]] | None = None,
) -> Match | None:
    """Find out, and note it in the config of `pruned`; None where no head is gone or the shapes differ otherwise.

    By `kept_heads.json` in `folder`, where the pruned model came from; else by what its config says; else by the
    weights of both, dense first, which the models have, or `weights` where they are without. Only for a model that was
    just loaded and is nobody else's yet. Raises PairMismatch.
    """
    shape = geometry(dense)
    if not fewer_heads(shape, geometry(pruned)):
        return None
    if folder is not None and (folder / KEPT_FILE).is_file():
        _note(pruned, read_kept(folder / KEPT_FILE), shape.n_heads)
    found = told(shape, pruned)
    if found is None:
        try:
            both = weights() if weights else (head_weights(dense), head_weights(pruned))
        except UnsupportedModel as error:
            raise PairMismatch(
                "The pruned model has fewer heads than the dense one, and which are left cannot be told: "
                f"{error} {HELP}"
            ) from error
        found = recognised(*both)
        _note(pruned, found.heads.tolist(), shape.n_heads)
    return found


def _note(model: PreTrainedModel, kept: list[list[int]], dense_heads: int) -> None:
    model.config.pruning = with_kept_heads(getattr(model.config, "pruning", None), kept, dense_heads)


def fewer_heads(dense: HeadGeometry, pruned: HeadGeometry) -> bool:
    """Whether the shapes differ in that heads are gone, and in nothing else."""
    same = all(getattr(dense, name) == getattr(pruned, name) for name in ("n_layers", "d_head", "d_model"))
    return same and pruned.n_heads < dense.n_heads


def told(dense: HeadGeometry, pruned: PreTrainedModel) -> Match | None:
    """By the config of `pruned`; None where it says nothing. Raises PairMismatch where what it says cannot be."""
    kept, shape = kept_heads(pruned), geometry(pruned)
    if kept is None or (pruning_record(pruned) or {}).get("dense_heads") != dense.n_heads:
        return None  # Nothing is said, or of another model, such as one between two prunings.
    fits = kept.shape == (shape.n_layers, shape.n_heads) and 0 <= int(kept.min()) <= int(kept.max()) < dense.n_heads
    if not fits or any(len(set(row)) < len(row) for row in kept.tolist()):
        raise PairMismatch(
            f"The map of kept heads names {' x '.join(map(str, kept.shape))} heads up to {int(kept.max())}; the pruned "
            f"model has {shape.n_heads} in each of {shape.n_layers} layers, of {dense.n_heads} in the dense one, each "
            f"another. Mend {KEPT_FILE}, or take it away to have heads recognised by their weights."
        )
    return Match(kept, dense.n_heads)


def read_kept(path: Path) -> list[list[int]]:
    """[layer][head] of a file {"format": 1, "kept": [[head, …], …]}. Raises PairMismatch."""
    with foreign(
        lambda reason: PairMismatch(
            f"{path} cannot be read ({reason}). It should hold "
            '{"format": 1, "kept": [[head, …], …]}: for every layer, which heads of the dense model are left.'
        )
    ):
        data = document_of(path)
        kept: list[list[int]] = data["kept"]
        if data["format"] != FORMAT or len({len(heads) for heads in kept}) != 1:
            raise ValueError("another format, or layers that keep different numbers of heads")
        if not all(type(head) is int and 0 <= head < MOST_HEADS for heads in kept for head in heads):
            raise ValueError("heads that are no whole numbers from 0")
        return kept


def recognised(dense: HeadWeights, pruned: HeadWeights) -> Match:
    """By the weights: the pairing of most cosine in all, of each layer. Raises PairMismatch where it is not sure."""
    from scipy.optimize import linear_sum_assignment  # Takes a second to import, and most pairs never need it.

    heads, best, margins = [], [], []
    for ours, theirs in zip(pruned, dense, strict=True):
        cosine = _cosines(ours, theirs)
        partner = torch.as_tensor(linear_sum_assignment(-cosine.numpy())[1])
        own = cosine.gather(1, partner[:, None])[:, 0]
        others = cosine.scatter(1, partner[:, None], -torch.inf).amax(1)
        heads.append(partner)
        best.append(own)
        margins.append(own - others)
    found = Match(torch.stack(heads), len(dense[0][0]), torch.stack(best), torch.stack(margins))
    unsure = ((torch.stack(best) < COSINE) | (torch.stack(margins) < MARGIN)).nonzero().tolist()
    if unsure:
        layer, head = unsure[0]
        raise PairMismatch(
            f"The pruned model has fewer heads than the dense one, and {len(unsure)} of them resemble no head of it "
            f"clearly, first head {head} of layer {layer} (cosine {float(best[layer][head]):.2f}, "
            f"{float(margins[layer][head]):.2f} ahead of the next): which are left is not known. {HELP}"
        )
    return found


def _cosines(ours: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor]) -> Tensor:
    """[our head, their head] mean cosine of value rows and of output columns, each flattened."""
    unit = [[part.flatten(1) / part.flatten(1).norm(dim=1, keepdim=True) for part in parts] for parts in (ours, theirs)]
    return torch.stack([(a @ b.T).cpu() for a, b in zip(*unit, strict=True)]).mean(0).nan_to_num(0.0)
