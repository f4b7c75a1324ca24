"""What a component of a head says: the words it promotes and suppresses, and the tokens where it was lost most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..hf.layout import (
    attention_norm,
    decoder_layers,
    final_norm,
    geometry,
    layers_with_heads,
    output_projections,
    residual_scale,
    unembedding,
)
from ..hf.weights import weight_of
from ..text.spelling import known_tokens, token_string, token_strings
from ..text.tokens import Tokens
from .statistics import Samples

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@torch.no_grad()
def vocabulary_effect(model: PreTrainedModel, layer: int, head: int, direction: Tensor) -> Tensor:
    """[vocabulary] float32: how one unit along `direction` [d_head] moves each logit, times the RMS that the final
    norm divides by: U N(W_O,h v). The direct path alone: what later layers make of it is left out (as in the logit
    lens, nostalgebraist 2020). layer: counted among those with heads.

    N is the linear part of the norm: its gain, and for LayerNorm the subtraction of the mean. Where another norm stands
    between attention and the residual stream (Gemma 2 and 3, OLMo 2) its linear part comes first, and the effect is
    times its RMS as well. That an RMS changes with what is written, along the vector it is of, is left out, and
    so is a cap on the logits (Gemma), which shrinks large ones and keeps their order. Raises UnsupportedModel.
    """
    shape = geometry(model)
    weight = weight_of(output_projections(model)[layer])
    written = shape.split(weight)[:, head].float() @ direction.to(weight.device).float()
    own = attention_norm(decoder_layers(model)[layers_with_heads(model)[layer]])
    if own is not None:
        written = linear_part(own, written)
    written = linear_part(final_norm(model), written * residual_scale(model))
    effect: Tensor = unembedding(model).float() @ written
    return effect.cpu()


def strongest_words(
    effect: Tensor, tokenizer: PreTrainedTokenizerBase, most: int
) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
    """(promoted, suppressed): the `most` tokens whose logits rise most, and fall most, with the change. effect:
    [vocabulary]; its rows that are no tokens are passed over."""
    ids = known_tokens(tokenizer, len(effect)).nonzero().flatten()
    order = ids[effect[ids].argsort(descending=True)].tolist()
    words = [
        [(token_string(tokenizer, token), float(effect[token])) for token in side[:most]]
        for side in (order, order[::-1])
    ]
    return words[0], words[1]


@torch.no_grad()
def written_alike(model: PreTrainedModel, directions: Tensor, layer: int, head: int, component: int) -> Tensor:
    """[layer, component] cosine between what one component writes into the residual stream, W_O v, and what the
    components of the same head in every layer do. Signs of components are arbitrary, so the size is what counts.

    directions: [layer, head, component, d_head]. Compared where they are written, since heads of different layers have
    no axes in common. Scales and norms on the way are the same for all of a layer, and left out.
    """
    shape, rows = geometry(model), []
    for at, projection in enumerate(output_projections(model)):
        weight = shape.split(weight_of(projection))[:, head].float()
        written = directions[at, head].to(weight.device).float() @ weight.T
        rows.append(torch.nn.functional.normalize(written, dim=-1).cpu())
    cosines: Tensor = torch.stack(rows) @ rows[layer][component]
    return cosines


def linear_part(norm: nn.Module, x: Tensor) -> Tensor:
    """[d_model] float32: what a norm makes of `x` [d_model] but for the division by its RMS and the bias.

    Found by asking it, since weights mean different things (Gemma multiplies by 1 + weight): ±1 in turn has mean 0 and
    RMS 1, so its image is the gain and the bias; adding 1 to it changes nothing if the mean is subtracted.
    """
    parameter = next(norm.parameters(), x)
    device = x.device if parameter.is_meta else parameter.device  # Its weight may come for the forward pass alone.
    signs = torch.ones_like(x, device=device, dtype=parameter.dtype)
    signs[1::2] = -1
    up, down, shifted = (norm(values).float() for values in (signs, -signs, signs + 1))
    centred = x - x.mean() if torch.allclose(up, shifted, rtol=0.05, atol=1e-3) else x
    image: Tensor = (up - down) / 2 * signs.float() * centred
    return image


@dataclass(frozen=True)
class Moment:
    """One token at which a component was lost."""

    before: str
    token: str
    after: str
    value: float
    """δz · v at that token, activation units."""
    parts: tuple[str, str, str] = ("", "", "")
    """The three as they stand in the running text, whose spaces may be nobody's: joined, they give it back."""


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
    moments = []
    for index in values.abs().argsort(descending=True)[:most].tolist():
        place = int(samples.text[index]), int(samples.pos[index])
        bare, parts = (read(tokens, tokenizer, *place, around) for read in (context, in_context))
        moments.append(Moment(*bare, float(values[index]), parts))
    return moments


def context(
    tokens: Tokens, tokenizer: PreTrainedTokenizerBase, text: int, pos: int, around: int = 8
) -> tuple[str, str, str]:
    """(text before, the token, text after) of one position, each read alone."""
    row = tokens.ids[text][tokens.real[text]].tolist()
    parts = (row[max(0, pos - around) : pos], row[pos : pos + 1], row[pos + 1 : pos + 1 + around])
    before, token, after = ("".join(token_strings(tokenizer, part)) for part in parts)
    return before, token, after


def in_context(
    tokens: Tokens, tokenizer: PreTrainedTokenizerBase, text: int, pos: int, around: int = 8
) -> tuple[str, str, str]:
    """(text before, the token, text after) of one position, as they stand in the running text: joined, they are it."""
    row = tokens.ids[text][tokens.real[text]].tolist()
    first = max(0, pos - around)
    start = max(0, first - 1)  # one more, so that the first has its space
    spelled = token_strings(tokenizer, row[start : pos + 1 + around])
    at = pos - start
    return (
        "".join(spelled[first - start : at]),
        spelled[at] or token_string(tokenizer, row[pos]),
        "".join(spelled[at + 1 :]),
    )
