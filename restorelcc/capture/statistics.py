"""One pass over text through the dense and the pruned model: what every head lost, as streamed statistics.

A head's activation z is its slice of the input of the attention output projection; its loss at one token is
δz = z_dense − z_pruned (RestoreLCC, Eq. 2). The mean and the second moment of δz are all that the components of
Eq. 3 and the magnitudes of Eq. 4 need, so memory does not grow with the text.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from ..errors import SettingError
from ..hf.layout import HeadGeometry, Stop, geometry, hooked, output_projections, run_until_stop
from ..hf.overflow import check_finite
from ..hf.weights import weight_of
from ..models.pair import ModelPair
from ..processes import from_each, turns
from ..progress import Progress
from ..text.tokens import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Positions = Literal["all", "last"]
HELD = 2**29
"""Bytes of the dense model's activations that wait for the pruned model's, at most, but for those of one text."""


@dataclass(frozen=True)
class Samples:
    """A bounded random choice of positions, the same for all heads, kept for plots."""

    text: Tensor
    """[sample] row of the tokens."""
    pos: Tensor
    """[sample] position in the row."""
    lost: Tensor
    """[layer, head, sample, d_head] float32: δz."""
    dense: Tensor
    """[layer, head, sample, d_head] float32: z of the dense model."""
    priority: Tensor
    """[sample] int64; the positions with the lowest are kept, whatever order they come in."""

    def lowest(self, most: int) -> Samples:
        """The `most` samples of lowest priority, in order of it."""
        keep = self.priority.argsort()[:most]
        return Samples(
            self.text[keep], self.pos[keep], self.lost[:, :, keep], self.dense[:, :, keep], self.priority[keep]
        )

    def joined(self, other: Samples) -> Samples:
        """Both, in order; not bounded."""
        return Samples(
            torch.cat([self.text, other.text]),
            torch.cat([self.pos, other.pos]),
            torch.cat([self.lost, other.lost], dim=2),
            torch.cat([self.dense, other.dense], dim=2),
            torch.cat([self.priority, other.priority]),
        )


@dataclass(frozen=True)
class HeadStatistics:
    """Means over tokens of what each head computes in the dense model (d) and the pruned one (p). float64."""

    geometry: HeadGeometry
    positions: Positions
    count: int
    """Tokens averaged over."""
    mean: Tensor
    """[layer, head, d_head] mean of δz."""
    second_moment: Tensor
    """[layer, head, d_head, d_head] mean of δz δzᵀ, not centred: a shift of the mean is loss too."""
    dense_energy: Tensor
    """[layer, head] mean of ‖z_d‖²."""
    pruned_energy: Tensor
    """[layer, head] mean of ‖z_p‖²."""
    inner: Tensor
    """[layer, head] mean of z_d · z_p."""
    written_loss: Tensor
    """[layer, head] mean of ‖W_O,h δz‖²: what the loss changes in the residual stream, W_O of the pruned model, of the
    dense one for a head that is gone."""
    attention_energy: Tensor
    """[layer] mean of ‖attention output of the dense model‖², all heads and the bias together."""
    present: Tensor
    """[layer, head] bool: False where pruning removed the head, so that z_p = 0 and it is lost whole."""
    samples: Samples

    @property
    def lost_energy(self) -> Tensor:
        """[layer, head] mean of ‖δz‖²."""
        return self.second_moment.diagonal(dim1=-2, dim2=-1).sum(-1)

    def merged(self, other: HeadStatistics, samples: int) -> HeadStatistics:
        """The statistics of both texts together, exactly. Raises SettingError if they are of different things."""
        if (self.geometry, self.positions) != (other.geometry, other.positions):
            raise SettingError("Statistics of different shapes or positions cannot be merged.")
        total = self.count + other.count
        share = self.count / total
        means = {name: getattr(self, name) * share + getattr(other, name) * (other.count / total) for name in MEANS}
        reservoir = self.samples.joined(other.samples).lowest(samples)
        return HeadStatistics(self.geometry, self.positions, total, present=self.present, samples=reservoir, **means)


MEANS = (
    "mean",
    "second_moment",
    "dense_energy",
    "pruned_energy",
    "inner",
    "written_loss",
    "attention_energy",
)


@dataclass(frozen=True)
class Choice:
    """Which tokens count, and which of them are kept for plots."""

    positions: Positions = "all"
    """`all` real tokens, or the `last` of every question, which is what the paper uses: of a text that asks nothing,
    its last."""
    samples: int = 256
    """How many are kept, at most."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.positions not in ("all", "last"):
            raise SettingError(f"positions '{self.positions}' is not known: give all or last.")

    def mask(self, tokens: Tokens) -> Tensor:
        """[text, pos] bool: the tokens that count."""
        if self.positions == "all":
            return tokens.real
        chosen = torch.zeros_like(tokens.real)
        # An answer begins with its first token that is scored; a text without a question is its own answer.
        end = torch.where(tokens.asks, tokens.response.int().argmax(1), tokens.real.sum(1)) - 1
        chosen[torch.arange(len(tokens)), end] = True
        return chosen


@dataclass(frozen=True)
class DenseBatch:
    """What the statistics of a batch need of the dense model."""

    z: Sequence[Tensor] | Tensor
    """[layer] of [token, head * d_head]: the activations of the tokens that count, in the model's own precision."""
    attention_energy: Tensor
    """[layer] mean of ‖attention output‖² over them."""
    projections: Sequence[Tensor]
    """[layer] of [d_model, head * d_head]: its output projections; not looked at where the pruned model has all heads.
    """


@dataclass(frozen=True)
class Captured(Progress):
    """Where a capture stands, with what it found until then."""

    so_far: HeadStatistics


def capture(
    pair: ModelPair,
    tokens: Tokens,
    positions: Positions = "all",
    samples: int = 256,
    seed: int = 0,
    batch: int = 8,
    within: Callable[[], AbstractContextManager[None]] = nullcontext,
    added: Tensor | None = None,
) -> Generator[Progress, None, HeadStatistics]:
    """Statistics of every head over `tokens`; yields after every batch of texts, what they are so far too.

    Where several processes are at it, each takes its turns, and all get the whole.

    positions: `all` real tokens, or the `last` of every question (see `Choice`), which is what the paper uses.
    samples: how many positions to keep for plots. batch: texts a forward pass, fewer where what is held of all layers
    would take more than `HELD`. within: entered around every batch,
    such as `lambda: compensated(pair.pruned, c)`. added: [layer, head, d_head] what counts as part of each activation
    of the pruned model although it is put in behind it, as constants are.
    """
    choice = Choice(positions, samples, seed)
    gone = pair.match is not None
    result: HeadStatistics | None = None
    width = pair.geometry.n_layers * pair.geometry.n_heads * pair.geometry.d_head * pair.dense.dtype.itemsize
    batch = max(1, min(batch, HELD // max(1, tokens.ids.shape[1] * width)))
    for start in turns(range(0, len(tokens), batch)):
        step = ("reading head activations", start, len(tokens))
        yield Progress(*step) if result is None else Captured(*step, result)
        some, z = tokens[start : start + batch], list[Tensor]()
        with within():
            energy = read_dense(pair.dense, some, choice, z.append)
            dense = DenseBatch(z, energy, list(map(weight_of, output_projections(pair.dense))) if gone else [])
            part = batch_statistics(pair, pair.pruned, dense, some, start, choice, added)
        result = part if result is None else result.merged(part, samples)
    yield Progress("reading head activations", len(tokens), len(tokens))
    return of_all(result, samples)


def of_all(share: HeadStatistics | None, samples: int) -> HeadStatistics:
    """What each process found, together. Raises SettingError where that is nothing."""
    whole: HeadStatistics | None = None
    for part in from_each(share):
        if part is not None:
            whole = part if whole is None else whole.merged(part, samples)
    if whole is None:
        raise SettingError("There are no tokens to read head activations from.")
    return whole


@torch.no_grad()
def _watch(model: PreTrainedModel, ids: Tensor, see: Callable[[int, Tensor, Tensor], None]) -> None:
    """For `ids` [batch, pos] call `see(layer, z [batch, pos, head * d_head], attention output [batch, pos, d_model])`.

    The forward pass ends after the last attention: no last MLP, no unembedding.
    """
    projections = output_projections(model)

    def hook(layer: int, inputs: Tensor, output: Tensor) -> None:
        see(layer, inputs, output)
        if layer == len(projections) - 1:
            raise Stop

    with hooked(projections, hook):
        run_until_stop(model, ids)


def head_activations(model: PreTrainedModel, ids: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """(z [batch, pos, head * d_head], attention output [batch, pos, d_model]) of every layer for `ids` [batch, pos]."""
    z: list[Tensor] = []
    out: list[Tensor] = []

    def keep(layer: int, inputs: Tensor, output: Tensor) -> None:
        z.append(inputs)
        out.append(output)

    _watch(model, ids, keep)
    return z, out


def read_dense(model: PreTrainedModel, tokens: Tokens, choice: Choice, keep: Callable[[Tensor], Any]) -> Tensor:
    """[layer] mean of ‖attention output‖² over the tokens that count. `keep` is handed their z [token, head * d_head],
    layer after layer, so that no more than one layer's need be held."""
    chosen = choice.mask(tokens)
    energy: list[Tensor] = []

    def see(layer: int, inputs: Tensor, output: Tensor) -> None:
        keep(inputs[chosen])
        norms = torch.linalg.vector_norm(output[chosen], dim=-1, dtype=torch.float32)
        energy.append(norms.square().mean().cpu())

    _watch(model, tokens.ids, see)
    means = torch.stack(energy).double()
    check_finite(means, model, tokens.ids)
    return means


def batch_statistics(
    pair: ModelPair,
    pruned: PreTrainedModel,
    dense: DenseBatch,
    tokens: Tokens,
    first_text: int,
    choice: Choice,
    added: Tensor | None = None,
) -> HeadStatistics:
    """Of one batch of texts, layer after layer while `pruned` computes. Products are float32's, over some
    hundred tokens that stay in the cache, and their sums float64's: that loses 2e-7 of each mean at most, on models 256
    and 1 024 wide, and takes less time. first_text: number of the batch's first.
    added: as `capture` takes it.

    pair: asked for its shape and for which heads are gone, for nothing that is in its weights.
    """
    shape, own, projections = pair.geometry, geometry(pruned), output_projections(pruned)
    chosen = choice.mask(tokens)
    texts, pos = chosen.nonzero(as_tuple=True)
    texts = texts + first_text
    priority = _priority(texts, pos, choice.seed)
    kept = priority.argsort()[: choice.samples]
    rows: dict[str, list[Tensor]] = {name: [] for name in (*MEANS, "lost", "dense") if name != "attention_energy"}

    def by_head(layer: int, z_dense: Tensor, z_pruned: Tensor) -> tuple[Tensor, Tensor]:
        """[head, token, d_head] float32 of both, of some tokens' [token, head * d_head]."""
        d, p = (split(z.float()).transpose(0, 1) for split, z in ((shape.split, z_dense), (own.split, z_pruned)))
        if pair.match is not None:
            p = pair.placed(layer, p, torch.zeros_like(d))
        if added is not None:
            p = p + (added[layer] * pair.present[layer, :, None]).to(p)[:, None]
        return d, p

    def see(layer: int, inputs: Tensor, output: Tensor) -> None:
        device = inputs.device
        z_dense, z_pruned = dense.z[layer].to(device), inputs[chosen]
        sums: dict[str, Tensor] = {}
        size = BLOCK if device.type == "cpu" else len(z_pruned)
        for ours, theirs in zip(z_pruned.split(size), z_dense.split(size), strict=True):
            for name, part in _sums(*by_head(layer, theirs, ours)).items():
                part = part.to(_wide(part))
                sums[name] = part if name not in sums else sums[name].add_(part)
        means = {name: total / len(z_pruned) for name, total in sums.items()}
        w = own.split(weight_of(projections[layer]).to(device).float()).transpose(0, 1)  # [head, d_model, d_head]
        if pair.match is not None:
            w = pair.placed(layer, w, shape.split(dense.projections[layer].to(device).float()).transpose(0, 1))
        # ‖W δz‖² averaged is tr(W M Wᵀ): one product a head instead of one a token.
        means["written_loss"] = ((w @ means["second_moment"].float()) * w).sum((1, 2))
        d, p = by_head(layer, z_dense[kept], z_pruned[kept])
        for name, values in (means | {"lost": d - p, "dense": d}).items():
            rows[name].append(values)

    _watch(pruned, tokens.ids, see)
    stacked = {name: torch.stack([row.cpu() for row in layers]) for name, layers in rows.items()}
    check_finite(torch.stack([stacked[name].sum() for name in rows]), pruned, tokens.ids)
    reservoir = Samples(texts[kept], pos[kept], stacked.pop("lost"), stacked.pop("dense"), priority[kept])
    means = {name: value.double() for name, value in stacked.items()} | {"attention_energy": dense.attention_energy}
    return HeadStatistics(shape, choice.positions, len(texts), present=pair.present, samples=reservoir, **means)


BLOCK = 512
"""Tokens whose float32 copies are in a processor's cache at once; a GPU takes all of a batch."""


def _sums(d: Tensor, p: Tensor) -> dict[str, Tensor]:
    """Over some tokens, of what `HeadStatistics` has the means of, [head, …] each. d, p: [head, token, d_head] float32,
    z of the dense and the pruned model. Three products alike, so that of two that are equal nothing is lost."""
    lost = d - p
    return {
        "mean": lost.sum(1),
        "second_moment": lost.transpose(1, 2) @ lost,
        "dense_energy": (d * d).sum((1, 2)),
        "pruned_energy": (p * p).sum((1, 2)),
        "inner": (d * p).sum((1, 2)),
    }


def _wide(like: Tensor) -> torch.dtype:
    """float64 but on mps, which has none."""
    return torch.float32 if like.device.type == "mps" else torch.float64


def _priority(texts: Tensor, pos: Tensor, seed: int) -> Tensor:
    """[sample] int64 that looks random and depends on (text, position, seed) alone, so that the choice of samples is
    the same however the texts are split into batches. The mixing steps are those of splitmix64 (Steele et al. 2014).
    """
    x = texts * 1_000_003 + pos + seed * 7_919
    for shift, factor in ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15), (31, 1)):
        # int64 wraps as it should; masking the shift makes it a logical one.
        x = (x ^ ((x >> shift) & ((1 << (64 - shift)) - 1))) * factor
    return x
