"""How well a model predicts text: per-token NLL, perplexity with its standard error, paired differences.

All of it measures the model as it is called: compensated, inside a `with compensated(...)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import SettingError
from ..hf.layout import device_of, vocabulary_size
from ..hf.overflow import check_finite
from ..processes import from_all, turns
from ..progress import Progress, finish
from ..text.tokens import Tokens
from .losses import positions

if TYPE_CHECKING:
    from transformers import PreTrainedModel


LOGITS = 2**30
"""Bytes that the logits of texts that go through a model together would take in float32, at most: beyond that there
are fewer texts. They are in the model's own precision, and beside them there may be a teacher's and gradients."""


@dataclass(frozen=True)
class TokenLoss:
    """The negative log-likelihood (NLL) of every token of a text, under one model."""

    nll: Tensor
    """[text, pos] float64, nats: −ln p(token | those before it); 0 where the token is not scored."""
    scored: Tensor
    """[text, pos] bool."""
    kl: Tensor | None = None
    """[text, pos] float64, nats: KL(dense ‖ model) of the distribution that the token was drawn from; 0 where it is not
    scored. None where it was not measured (see `comparison`)."""


@dataclass(frozen=True)
class Perplexity:
    """exp of the mean NLL over scored tokens."""

    value: float
    """Perplexity."""
    nats: float
    """Mean NLL per token, nats: ln of the perplexity."""
    tokens: int
    """Tokens scored."""
    stderr: float
    """Standard error of the perplexity. Tokens of one text vary together, so texts (windows) are the sample."""

    def figures(self) -> dict[str, float | int]:
        """As it is written in JSON: perplexity, stderr, tokens."""
        return {"perplexity": self.value, "stderr": self.stderr, "tokens": self.tokens}


@dataclass(frozen=True)
class Difference:
    """Mean NLL of one model minus that of another on the same tokens; negative: the first is better."""

    nats: float
    stderr: float
    """Standard error of `nats`, paired by text: what both models find hard cancels out."""

    @property
    def z(self) -> float:
        """The difference in standard errors; 0 where its error is not known."""
        if self.stderr == 0:
            return math.copysign(math.inf, self.nats) if self.nats else 0.0
        return self.nats / self.stderr


def measure(
    model: PreTrainedModel,
    tokens: Tokens,
    batch: int = 8,
    within: Callable[[], AbstractContextManager[None]] = nullcontext,
    teacher: Callable[[int], Tensor] | None = None,
) -> Generator[Progress, None, TokenLoss]:
    """NLL of every scored token; yields after every `batch` texts, or as many as may be `at_once`. The model's dtype,
    summed in float32 and up.

    within: entered around every batch, such as `lambda: compensated(model, c)`, so that nothing is in place while the
    caller has the turn. teacher: the dense model's logits of the batch that begins with this text, to measure the
    distance to it too. Where several processes are at it, each takes its turns, and all get the whole.
    """
    parts, batch = list[TokenLoss](), at_once(model, tokens, batch)
    for start in turns(range(0, len(tokens), batch)):
        yield Progress("measuring perplexity", start, len(tokens))
        with within():
            some = tokens[start : start + batch]
            parts.append(losses(model, logits_of(model, some), some, None if teacher is None else teacher(start)))
    yield Progress("measuring perplexity", len(tokens), len(tokens))
    return joined(from_all(parts))


def at_once(model: PreTrainedModel, tokens: Tokens, batch: int) -> int:
    """How many of so many texts go through a model together, by what their logits would take in float32; at least one.
    The same for all models of a vocabulary."""
    return max(1, min(batch, LOGITS // max(1, 4 * tokens.ids.shape[1] * vocabulary_size(model))))


@torch.no_grad()
def logits_of(model: PreTrainedModel, tokens: Tokens) -> Tensor:
    """[text, pos, vocabulary] in the model's dtype."""
    logits: Tensor = model(tokens.ids.to(device_of(model)), use_cache=False).logits
    return logits


@torch.no_grad()
def losses(model: PreTrainedModel, logits: Tensor, tokens: Tokens, teacher: Tensor | None = None) -> TokenLoss:
    """Of the logits [text, pos, vocabulary] that `model` gave; with its distance to those of a `teacher`, if there is
    one. Raises NotFinite."""
    nll, kl = torch.zeros(tokens.ids.shape, dtype=torch.float64), torch.zeros(tokens.ids.shape, dtype=torch.float64)
    # Piece by piece: float32 logits of a whole batch would be the largest tensor of all.
    every = torch.ones(logits.shape[1] - 1, dtype=torch.bool)
    for row, at in ((row, at) for row in range(len(logits)) for at in positions(every, logits.shape[-1])):
        own = logits[row, at].float().log_softmax(-1)
        nll[row, at + 1] = F.nll_loss(own, tokens.ids[row, at + 1].to(own.device), reduction="none").cpu().double()
        if teacher is not None:
            other = teacher[row, at].to(own.device).float().log_softmax(-1)
            share = other.exp()
            # A token that the dense model rules out counts for nothing: 0 · ∞ is 0 here.
            kl[row, at + 1] = torch.where(share > 0, share * (other - own), 0.0).sum(-1).cpu().double()
    nll, kl = torch.where(tokens.scored, nll, 0.0), torch.where(tokens.scored, kl, 0.0)
    check_finite(nll, model, tokens.ids)
    if teacher is not None:
        check_finite(kl, model, tokens.ids, "its distance to the dense model")
    return TokenLoss(nll, tokens.scored, None if teacher is None else kl)


def joined(parts: Sequence[TokenLoss]) -> TokenLoss:
    """The losses of several texts as one."""
    kl = [part.kl for part in parts]
    return TokenLoss(
        torch.cat([part.nll for part in parts]),
        torch.cat([part.scored for part in parts]),
        None if any(part is None for part in kl) else torch.cat([part for part in kl if part is not None]),
    )


def token_loss(model: PreTrainedModel, tokens: Tokens, batch: int = 8) -> TokenLoss:
    """`measure`, run to its end."""
    return finish(measure(model, tokens, batch))


def perplexity(loss: TokenLoss) -> Perplexity:
    """Perplexity with its standard error (delta method: stderr of the mean NLL times the perplexity)."""
    mean, error, count = clustered(loss.nll, loss.scored)
    value = math.exp(min(mean, 700.0))  # A broken model's loss can pass what exp() can hold.
    return Perplexity(value=value, nats=mean, tokens=count, stderr=value * error)


def paired_difference(loss: TokenLoss, reference: TokenLoss) -> Difference:
    """Mean NLL of `loss` minus that of `reference`, token by token. Raises SettingError for different tokens."""
    if loss.scored.shape != reference.scored.shape or not torch.equal(loss.scored, reference.scored):
        raise SettingError("A paired difference needs both models measured on the same tokens.")
    mean, error, _ = clustered(loss.nll - reference.nll, loss.scored)
    return Difference(mean, error)


def clustered(values: Tensor, scored: Tensor) -> tuple[float, float, int]:
    """(mean over scored tokens, its standard error with texts as clusters, scored tokens).

    The ratio estimator's: √(W/(W−1) Σ_w (S_w − n_w m)²) / N for text sums S_w of n_w tokens. One text alone has no
    spread to show, so its tokens stand in for texts, which is too small an error where tokens vary together; one token
    alone says nothing of its own error, which is infinite then. Raises SettingError where no token is scored.
    """
    sums, counts = (values * scored).sum(1), scored.sum(1).double()
    if int((counts > 0).sum()) == 1:
        sums, counts = values[scored], torch.ones(int(scored.sum()), dtype=torch.float64)
    clusters, total = int((counts > 0).sum()), float(counts.sum())
    if total == 0:
        raise SettingError("No token of this text is scored, so nothing can be measured on it. Give a longer text.")
    mean = float(sums.sum()) / total
    if clusters == 1:
        return mean, math.inf, 1
    spread = float((sums - counts * mean).square().sum())
    error = math.sqrt(spread * clusters / max(1, clusters - 1)) / total
    return mean, error, int(total)


def recovered_share(dense: Perplexity, pruned: Perplexity, restored: Perplexity) -> float:
    """Share of the lost log-likelihood won back: (ln P_pruned − ln P_restored) / (ln P_pruned − ln P_dense).

    0 where nothing came back, 1 at the dense model's perplexity; NaN if pruning lost nothing.
    """
    lost = pruned.nats - dense.nats
    return (pruned.nats - restored.nats) / lost if lost > 0 else math.nan
