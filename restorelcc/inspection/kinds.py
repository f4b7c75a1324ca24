"""Which kinds of heads a model has, and what pruning left of them.

What a head's attention does is measured in the dense and in the pruned model: on text, and on random tokens that are
repeated once, where nothing but induction or the token itself can tell what comes (see `definitions`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import SettingError
from ..hf.layout import context_length, device_of, geometry, vocabulary_size
from ..hf.overflow import check_finite
from ..hf.twins import Attended, watching_attention
from ..models.pair import ModelPair
from ..progress import Progress
from ..text.spelling import known_tokens
from ..text.tokens import Tokens, lead
from .definitions import KINDS

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Read = Callable[[Tensor], dict[str, Tensor]]
"""What is read off the attention weights [text, head, query, key] of one layer: [text, head] by name."""

EARLY = 8
"""Positions at the beginning of a text that are left out: there is little else to look at."""
LONGEST = 256
"""Tokens of a window, at most: plain attention takes memory that grows with their square, of one layer at a time."""
REPEATED = 48
"""Tokens that are repeated, at most."""
SEQUENCES = 8
"""Random sequences."""
TEXTS = 16
"""Windows of text, at most."""
OF_A_KIND = 0.3
"""Attention from which on a head is called one of a kind; the threshold that Gu et al. 2024, *When Attention Sink
Emerges*, call a sink by."""


@dataclass(frozen=True)
class KindScores:
    """Of every head of a model, [layer, head] float64; `definitions` says what each is. 0 for a head that is gone."""

    previous_token: Tensor
    duplicate_token: Tensor
    induction: Tensor
    first_token: Tensor
    entropy: Tensor
    reach: Tensor


@dataclass(frozen=True)
class HeadKinds:
    """What heads do in both models of a pair, in the dense model's heads."""

    dense: KindScores
    pruned: KindScores

    @property
    def change(self) -> KindScores:
        """Pruned minus dense: below 0 where pruning took it."""
        return KindScores(**{name: getattr(self.pruned, name) - getattr(self.dense, name) for name in KINDS})

    def to_pandas(self) -> pd.DataFrame:
        """One row a head: layer, head, and of every kind <name>_dense and <name>_pruned."""
        layers, heads = self.dense.induction.shape
        index = [(layer, head) for layer in range(layers) for head in range(heads)]
        frame = pd.DataFrame(index, columns=["layer", "head"])
        sides = {"dense": self.dense, "pruned": self.pruned}
        return frame.assign(
            **{f"{name}_{side}": getattr(of, name).flatten().numpy() for name in KINDS for side, of in sides.items()}
        )


@dataclass(frozen=True)
class Member:
    """A head that is of a kind in the dense model, or, where none is, the one that is nearest."""

    kind: str
    """Of `KINDS`."""
    layer: int
    head: int
    dense: float
    pruned: float
    """How strongly, in either model."""
    nearest: bool = False
    """It is not of the kind, and no head is."""

    @property
    def kept(self) -> float:
        """The share of it that pruning left."""
        return self.pruned / self.dense if self.dense > 0 else 1.0


def members(kinds: HeadKinds, threshold: float = OF_A_KIND) -> list[Member]:
    """Every head that is of a kind in the dense model, at or above `threshold`, strongest first; of a kind that there
    is none of, the nearest."""
    rows: list[Member] = []
    for name in (name for name, kind in KINDS.items() if kind.plural):
        dense, pruned = getattr(kinds.dense, name), getattr(kinds.pruned, name)
        order = dense.flatten().argsort(descending=True, stable=True).tolist()
        count = int((dense >= threshold).sum())
        for layer, head in (divmod(index, dense.shape[1]) for index in order[: max(1, count)]):
            rows.append(Member(name, layer, head, float(dense[layer, head]), float(pruned[layer, head]), not count))
    return rows


def head_kinds(pair: ModelPair, tokens: Tokens, seed: int = 0, batch: int = 4) -> Generator[Progress, None, HeadKinds]:
    """Both models on the first windows of `tokens` and on random tokens repeated; yields after every batch of either.

    Raises SettingError for windows too short, UnsupportedModel where attention cannot be seen.
    """
    material: list[tuple[Tensor, Read]] = [
        (part.ids, partial(_on_text, real=part.real)) for part in _beginnings(tokens[:TEXTS]).batches(batch)
    ]
    texts = sum(len(ids) for ids, _ in material)
    material += [(ids, _on_repeated) for ids in repeated_tokens(pair, seed).split(batch)]
    dense = yield from _scores(pair.dense, material, texts, "the dense model")
    pruned = yield from _scores(pair.pruned, material, texts, "the pruned model")
    nothing = torch.zeros(pair.geometry.n_heads, dtype=torch.float64)
    placed = {
        name: torch.stack([pair.placed(layer, row, nothing) for layer, row in enumerate(rows)])
        for name, rows in pruned.items()
    }
    return HeadKinds(KindScores(**dense), KindScores(**placed))


def repeated_tokens(pair: ModelPair, seed: int = 0) -> Tensor:
    """[sequence, start + 2 n] what leads a text (one token, or none), then n different random tokens, twice."""
    ordinary = known_tokens(pair.tokenizer, vocabulary_size(pair.dense))
    ordinary[[token for token in pair.tokenizer.all_special_ids if token < len(ordinary)]] = False
    start = torch.tensor(lead(pair.tokenizer)[:1], dtype=torch.long)
    length = min(REPEATED, (context_length(pair.dense) - len(start)) // 2, int(ordinary.sum()))
    if length < 2:
        raise SettingError("Not even two tokens can be repeated within this model's context and vocabulary.")
    draw, rows = torch.Generator().manual_seed(seed), []
    for _ in range(SEQUENCES):
        once = ordinary.nonzero().flatten()
        once = once[torch.randperm(len(once), generator=draw)[:length]]
        rows.append(torch.cat([start, once, once]))
    return torch.stack(rows)


def _beginnings(tokens: Tokens) -> Tokens:
    """Of windows that are long enough. Raises SettingError where none is."""
    ids, real, scored, response = (
        part[:, :LONGEST] for part in (tokens.ids, tokens.real, tokens.scored, tokens.response)
    )
    cut = Tokens(ids, real, scored, response)
    long = cut.real[:, EARLY:].any(1)
    if not bool(long.any()):
        raise SettingError(
            f"Windows of {tokens.ids.shape[1]} tokens are too short to see what heads look at: more than {EARLY} are "
            "needed. Give longer windows (--length)."
        )
    return cut[long]


def _scores(
    model: PreTrainedModel, material: Sequence[tuple[Tensor, Read]], texts: int, whose: str
) -> Generator[Progress, None, dict[str, Tensor]]:
    """[layer, head] by name: means over all that is read of each name, every text counting alike.

    The weights of one layer exist at a time. material: ids [text, pos] with what reads them; texts: rows of real text.
    """
    shape = geometry(model)
    sums = {name: torch.zeros(shape.n_layers, shape.n_heads, dtype=torch.float64) for name in KINDS}
    read: Read = _on_repeated

    def see(layer: int, attended: Attended) -> None:
        for name, values in read(attended.weigh().float()).items():
            sums[name][layer] += values.sum(0).double().cpu()

    watched, done, total = watching_attention(model, see), 0, sum(len(ids) for ids, _ in material)
    for ids, reader in material:
        read = reader
        yield Progress(f"watching where {whose} looks", done, total)
        with torch.no_grad():
            watched(ids.to(device_of(watched)), use_cache=False, logits_to_keep=1)
        done += len(ids)
    repeated = {"duplicate_token", "induction"}
    means = {name: values / (total - texts if name in repeated else texts) for name, values in sums.items()}
    check_finite(torch.stack([values.sum() for values in means.values()]), model, material[0][0])
    return means


def _on_text(weights: Tensor, real: Tensor) -> dict[str, Tensor]:
    """[text, head] means over a text's tokens that are not early. weights: [text, head, query, key]."""
    late = real.to(weights.device).clone()
    late[:, :EARLY] = False
    share = (late / late.sum(1, keepdim=True))[:, None]  # [text, 1, query]
    at = torch.arange(weights.shape[-1], device=weights.device)
    rows = {
        "previous_token": F.pad(weights.diagonal(-1, -2, -1), (1, 0)),
        "first_token": weights[..., 0],
        "entropy": torch.special.entr(weights).sum(-1),
        "reach": (weights * (at[:, None] - at)).sum(-1),
    }
    return {name: (row * share).sum(-1) for name, row in rows.items()}


def _on_repeated(weights: Tensor) -> dict[str, Tensor]:
    """[sequence, head] means over the repetition's tokens but the last, whose follower is in the repetition itself."""
    length = weights.shape[-1] // 2
    start = weights.shape[-1] - 2 * length
    query = torch.arange(start + length, start + 2 * length - 1, device=weights.device)
    back = {"duplicate_token": length, "induction": length - 1}
    return {name: weights[..., query, query - steps].mean(-1) for name, steps in back.items()}
