"""What a component of a head says: the words it promotes and suppresses, and the tokens where it was lost most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .capture import Samples
from .layout import final_norm, geometry, output_projections, unembedding
from .text import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@torch.no_grad()
def vocabulary_effect(model: PreTrainedModel, layer: int, head: int, direction: Tensor) -> Tensor:
    """[vocabulary] float32: how one unit along `direction` [d_head] moves each logit, times the RMS of the residual
    stream: U (γ ⊙ W_O,h v), with the final norm's gain γ folded in. The direct path alone: what later layers make of
    it is left out (as in the logit lens, nostalgebraist 2020).
    """
    shape = geometry(model)
    weight = output_projections(model)[layer].weight
    written = shape.split(weight)[:, head].float() @ direction.to(weight.device).float()
    effect: Tensor = unembedding(model).float() @ (final_norm(model).float() * written)
    return effect.cpu()


@dataclass(frozen=True)
class Moment:
    """One token at which a component was lost."""

    before: str
    token: str
    after: str
    value: float
    """δz · v at that token, activation units."""


def strongest_moments(
    samples: Samples,
    tokens: Tokens,
    tokenizer: PreTrainedTokenizerBase,
    layer: int,
    head: int,
    direction: Tensor,
    most: int = 8,
    around: int = 8,
) -> list[Moment]:
    """The sampled tokens with the largest |δz · v|, in `around` tokens of context, strongest first.

    samples: of a capture over `tokens`. direction: [d_head].
    """
    values = samples.lost[layer, head] @ direction.float()
    return [
        Moment(
            *context(tokens, tokenizer, int(samples.text[index]), int(samples.pos[index]), around), float(values[index])
        )
        for index in values.abs().argsort(descending=True)[:most].tolist()
    ]


def context(
    tokens: Tokens, tokenizer: PreTrainedTokenizerBase, text: int, pos: int, around: int = 8
) -> tuple[str, str, str]:
    """(text before, the token, text after) of one position."""
    row = tokens.ids[text][tokens.real[text]]
    parts = (row[max(0, pos - around) : pos], row[pos : pos + 1], row[pos + 1 : pos + 1 + around])
    before, token, after = (str(tokenizer.decode(part)) for part in parts)
    return before, token, after
