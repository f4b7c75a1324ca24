"""The dense, the pruned and the restored model on one text: what came back of the loss, and how far the dense model is.

Two shares say different things. *Recovered*: of the log-likelihood that pruning lost on the text. *Nearer*: of the
distance to the dense model, KL(dense ‖ model) of the next-token distribution. What merely learns the text recovers
without coming nearer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from ..processes import from_all, turns
from ..progress import Progress
from ..text.tokens import Tokens
from .perplexity import (
    Difference,
    Perplexity,
    TokenLoss,
    at_once,
    clustered,
    joined,
    logits_of,
    losses,
    paired_difference,
    perplexity,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Within = Callable[[], AbstractContextManager[None]]
NOISE = 2.0
"""Standard errors within which a difference may be chance."""


@dataclass(frozen=True)
class Share:
    """A part of what pruning did that is undone: 0 where nothing is, 1 where all of it, below 0 where it grew."""

    value: float
    """NaN where pruning did nothing, so that there is nothing to undo."""
    stderr: float

    @property
    def known(self) -> bool:
        """Whether there was anything to undo."""
        return not math.isnan(self.value)

    def __str__(self) -> str:
        return f"{self.value:.1%} ± {self.stderr:.1%}" if self.known else "–"


@dataclass(frozen=True)
class Distance:
    """Mean over scored tokens of KL(dense ‖ model) of the next-token distribution, with texts as the sample."""

    nats: float
    stderr: float


@dataclass(frozen=True)
class Comparison:
    """Three states of one model on one text, in figures."""

    dense: Perplexity
    pruned: Perplexity
    restored: Perplexity
    gain: Difference
    """Restored minus pruned, paired by window; nats per token, negative is better."""
    lost: Difference
    """Pruned minus dense, paired."""
    recovered: Share
    """Of the log-likelihood that pruning lost."""
    pruned_distance: Distance
    """Of the pruned model to the dense one."""
    restored_distance: Distance
    nearer: Share
    """Of the pruned model's distance to the dense one that is gone."""
    windows: int

    @property
    def learns_the_text(self) -> bool:
        """The likelihood rises and the distance to the dense model grows, both beyond noise: what was put back has
        learnt the text instead of what was lost."""
        return learns_the_text(self.gain, self.nearer)

    def figures(self) -> dict[str, Any]:
        """As it is written in JSON; None where a share is not known."""
        return {
            "dense": self.dense.figures(),
            "pruned": self.pruned.figures(),
            "restored": self.restored.figures(),
            "kl": {"pruned": asdict(self.pruned_distance), "restored": asdict(self.restored_distance)},
            "gain": {"nats": self.gain.nats, "stderr": self.gain.stderr},
            **_share("recovered_share", "share_stderr", self.recovered),
            **_share("nearer", "nearer_stderr", self.nearer),
        }


def learns_the_text(gain: Difference, nearer: Share) -> bool:
    """See `Comparison.learns_the_text`."""
    return gain.z < -NOISE and nearer.known and nearer.value < -NOISE * nearer.stderr


def _share(name: str, error: str, share: Share) -> dict[str, float | None]:
    known = share.known and math.isfinite(share.stderr)
    return {name: share.value if share.known else None, error: share.stderr if known else None}


def side_by_side(
    dense: PreTrainedModel, tokens: Tokens, others: Sequence[tuple[PreTrainedModel, Within]], batch: int = 8
) -> Generator[Progress, None, list[TokenLoss]]:
    """Loss of the dense model, and of each of the others with its distance to it; yields after every `batch` texts.

    others: models, and what is entered around each of their forward passes. Nothing is in place while the caller has
    the turn. Raises NotFinite.
    """
    states = [(dense, nullcontext), *others]
    parts: list[list[TokenLoss]] = [[] for _ in states]
    batch = at_once(dense, tokens, batch)
    for start in turns(range(0, len(tokens), batch)):
        some, teacher = tokens[start : start + batch], None
        for state, (model, within) in enumerate(states):
            yield Progress("measuring perplexity", start * len(states) + state * len(some), len(tokens) * len(states))
            with within(), torch.no_grad():
                logits = logits_of(model, some)
                parts[state].append(losses(model, logits, some, teacher))
            teacher = logits if teacher is None else teacher
    yield Progress("measuring perplexity", len(tokens) * len(states), len(tokens) * len(states))
    return [joined(from_all(of_state)) for of_state in parts]


def compare(dense: TokenLoss, pruned: TokenLoss, restored: TokenLoss) -> Comparison:
    """Three measurements of the same tokens, put together. Raises SettingError for those of different ones."""
    gain, lost = paired_difference(restored, pruned), paired_difference(pruned, dense)
    share = Share(0.0 - gain.nats / lost.nats, gain.stderr / lost.nats) if lost.nats > 0 else NOTHING
    return Comparison(
        dense=perplexity(dense),
        pruned=perplexity(pruned),
        restored=perplexity(restored),
        gain=gain,
        lost=lost,
        recovered=share,
        pruned_distance=distance(pruned),
        restored_distance=distance(restored),
        nearer=nearer(pruned, restored),
        windows=len(pruned.nll),
    )


NOTHING = Share(math.nan, math.nan)


def distance(loss: TokenLoss) -> Distance:
    """Mean KL to the dense model; NaN where it was not measured."""
    if loss.kl is None:
        return Distance(math.nan, math.nan)
    return Distance(*clustered(loss.kl, loss.scored)[:2])


def nearer(pruned: TokenLoss, restored: TokenLoss) -> Share:
    """1 − KL(dense ‖ restored) / KL(dense ‖ pruned). Its error is the ratio's, paired by text: that of the mean of
    KL_restored − r KL_pruned over the mean KL_pruned, at the ratio r."""
    if pruned.kl is None or restored.kl is None:
        return NOTHING
    before, after = float(pruned.kl.sum()), float(restored.kl.sum())
    if before <= 0:
        return NOTHING
    ratio = after / before
    _, error, count = clustered(restored.kl - ratio * pruned.kl, pruned.scored)
    return Share(1 - ratio, error * count / before)


def measured(
    dense: PreTrainedModel, pruned: PreTrainedModel, tokens: Tokens, within: Within
) -> Generator[Progress, None, Comparison]:
    """Compare both models, and the pruned one inside `within`, such as `lambda: compensated(pruned, c)`."""
    states = yield from side_by_side(dense, tokens, [(pruned, nullcontext), (pruned, within)])
    return compare(*states)
