"""At which depth the pruned model's prediction departs from the dense one's.

What leaves a layer is read as if it were the last: through the final norm and the unembedding (the logit lens,
nostalgebraist 2020), each model by its own.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from ..evaluation.comparison import Distance, Within, distance
from ..evaluation.perplexity import TokenLoss, logits_of, losses
from ..hf.layout import decoder_layers, hooked
from ..hf.twins import StandIn, with_layers
from ..models.pair import ModelPair
from ..progress import Progress
from ..text.tokens import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel


DOING = "reading predictions layer by layer"


@dataclass(frozen=True)
class Departure:
    """How far a model's next-token distribution is from the dense model's, read after every decoder layer."""

    kl: Tensor
    """[layer, text, pos] float64, nats: KL(dense ‖ model) of the distribution that the token is predicted by; 0 where
    it is not scored. Of the last layer, that of the outputs."""
    scored: Tensor
    """[text, pos] bool."""

    @property
    def by_layer(self) -> list[Distance]:
        """The mean over scored tokens, with texts as the sample."""
        return [distance(TokenLoss(kl, self.scored, kl)) for kl in self.kl]

    def to_pandas(self) -> pd.DataFrame:
        """One row a layer: layer, kl, kl_error (nats per token)."""
        rows = [(layer, each.nats, each.stderr) for layer, each in enumerate(self.by_layer)]
        return pd.DataFrame(rows, columns=["layer", "kl", "kl_error"])


def departure(
    pair: ModelPair, tokens: Tokens, states: Sequence[Within] = (nullcontext,), batch: int = 4
) -> Generator[Progress, None, list[Departure]]:
    """Of the pruned model within each of `states`, such as `lambda: compensated(pair.pruned, c)`; yields after every
    batch of texts in every state. Hidden states of one batch are held, logits of one text. Raises NotFinite."""
    dense_lens, pruned_lens = _Lens(pair.dense), _Lens(pair.pruned)
    parts: list[list[Tensor]] = [[] for _ in states]
    for start in range(0, len(tokens), batch):
        some = tokens[start : start + batch]
        dense = _after_layers(pair.dense, some)
        for index, within in enumerate(states):
            yield Progress(DOING, start * len(states) + index * len(some), len(tokens) * len(states))
            with within():
                own = _after_layers(pair.pruned, some)
            parts[index].append(_distances(pair, (dense_lens, dense), (pruned_lens, own), some))
    yield Progress(DOING, len(tokens) * len(states), len(tokens) * len(states))
    return [Departure(torch.cat(part, dim=1), tokens.scored) for part in parts]


class _Lens:
    """A model that begins after its last layer."""

    def __init__(self, model: PreTrainedModel) -> None:
        layers = [StandIn(layer, lambda hidden: hidden) for layer in decoder_layers(model)]
        layers[-1] = StandIn(layers[-1], lambda _: self._state)
        self._state = torch.empty(0)
        self._model = with_layers(model, layers)

    def logits(self, state: Tensor, tokens: Tokens) -> Tensor:
        """[text, pos, vocabulary] of what left a layer on `tokens`."""
        self._state = state
        return logits_of(self._model, tokens)


@torch.no_grad()
def _after_layers(model: PreTrainedModel, tokens: Tokens) -> list[Tensor]:
    """[layer] of [text, pos, d_model]: what leaves every decoder layer."""
    states: list[Tensor] = []

    def keep(_: int, __: Tensor, output: Any) -> None:
        states.append(output[0] if isinstance(output, tuple) else output)

    with hooked(decoder_layers(model), keep):
        logits_of(model, tokens)
    return states


Seen = tuple[_Lens, list[Tensor]]


def _distances(pair: ModelPair, dense: Seen, pruned: Seen, tokens: Tokens) -> Tensor:
    """[layer, text, pos] float64."""
    layers = []
    for ours, theirs in zip(dense[1], pruned[1], strict=True):
        rows = []
        for row in range(len(tokens)):
            one, at = tokens[row : row + 1], slice(row, row + 1)
            teacher = dense[0].logits(ours[at], one)
            kl = losses(pair.pruned, pruned[0].logits(theirs[at], one), one, teacher).kl
            rows.append(torch.zeros(one.ids.shape) if kl is None else kl)
        layers.append(torch.cat(rows))
    return torch.stack(layers)
