"""What each head could win at most: the loss if nothing of it were lost."""

from __future__ import annotations

from collections.abc import Generator

from ..evaluation.patching import Patch, patched
from ..evaluation.perplexity import paired_difference
from ..progress import Progress
from .scores import ScoreInputs
from .scoring import HeadScore


def ceilings(inputs: ScoreInputs) -> Generator[Progress, None, HeadScore]:
    """Change of the mean NLL where each head alone is patched with the dense model's activation, token by token."""
    shape = inputs.pair.geometry.n_layers, inputs.pair.geometry.n_heads
    heads = [(layer, head) for layer in range(shape[0]) for head in range(shape[1])]
    patches = [Patch(), *(Patch(frozenset({head})) for head in heads)]
    plain, *losses = yield from patched(inputs.pair, inputs.held_out, patches)
    score = HeadScore.unknown(shape)
    for head, loss in zip(heads, losses, strict=True):
        score = score.with_change(head, paired_difference(loss, plain))
    return score
