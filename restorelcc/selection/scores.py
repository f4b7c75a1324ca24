"""Reasons to pick a head, beside how much it lost: [layer, head] tables that take some computing."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..capture.components import LostComponents
from ..errors import SettingError
from ..evaluation.patching import Patch, patched
from ..evaluation.perplexity import Difference, paired_difference
from ..models.pair import ModelPair
from ..progress import Progress
from ..text.contrast import contrast_items
from ..text.sources import DEMO
from ..text.tokens import Tokens
from .measured_effect import of_heads, tried
from .predicted_effect import PredictedEffect, predicted, slopes
from .probing import Probing, probe

LOWEST_FIRST = {
    "together_dense": True,
    "together": True,
    "towards_dense": True,
    "predicted": True,
    "gradient": False,
    "probing": False,
    "ceiling": True,
    "measured": True,
}
"""Every score, and whether it is a change of the loss, so that the lowest is the one to pick."""
PREDICTION_TOKENS = 33_000  # more would say little that these do not


@dataclass(frozen=True)
class HeadScore:
    """One number a head. float64."""

    values: Tensor
    """[layer, head]; NaN where not measured."""
    errors: Tensor | None = None
    """[layer, head] standard errors."""

    def columns(self, name: str) -> dict[str, np.ndarray]:
        """For a table with a row a head: the values as `name`, their standard errors as `name_error`."""
        found = {name: self.values, f"{name}_error": self.errors}
        return {key: value.flatten().numpy() for key, value in found.items() if value is not None}

    @classmethod
    def of_changes(cls, changes: dict[tuple[int, int], Difference], shape: tuple[int, int]) -> HeadScore:
        """From changes of the mean NLL by (layer, head)."""
        values, errors = (torch.full(shape, torch.nan, dtype=torch.float64) for _ in range(2))
        for place, change in changes.items():
            values[place], errors[place] = change.nats, change.stderr
        return cls(values, errors)


def check_scores(names: Sequence[str]) -> None:
    """Raises SettingError for a name that is none of a score."""
    for name in names:
        if name not in LOWEST_FIRST:
            raise SettingError(f"Score '{name}' is not known: give some of {', '.join(LOWEST_FIRST)}.")


def predicted_effect(
    pair: ModelPair, lost: LostComponents, tokens: Tokens, towards_dense: bool = False
) -> Generator[Progress, None, PredictedEffect]:
    """Of every head and component on the loss, or on the distance to the dense model, from at most 33 000 tokens."""
    part = tokens[: max(2, PREDICTION_TOKENS // tokens.ids.shape[1])]
    return predicted((yield from slopes(pair, part, "kl" if towards_dense else "ce")), lost)


def probe_accuracy(pair: ModelPair, source: str = DEMO) -> Generator[Progress, None, Probing]:
    """Contrastive probing (RestoreLCC, Eq. 7) with the items of a source (see `contrast`)."""
    yield Progress("reading contrast items", 0, 1)
    return (yield from probe(pair, contrast_items(source)))


def head_ceilings(pair: ModelPair, tokens: Tokens) -> Generator[Progress, None, HeadScore]:
    """Change of the mean NLL where each head alone is patched with the dense model's."""
    shape = pair.geometry.n_layers, pair.geometry.n_heads
    places = [(layer, head) for layer in range(shape[0]) for head in range(shape[1])]
    plain, *losses = yield from patched(pair, tokens, [Patch(), *(Patch(frozenset({place})) for place in places)])
    changes = {place: paired_difference(loss, plain) for place, loss in zip(places, losses, strict=True)}
    return HeadScore.of_changes(changes, shape)


def measured_effect(pair: ModelPair, effect: PredictedEffect, tokens: Tokens) -> Generator[Progress, None, HeadScore]:
    """Change of the mean NLL with each head's predicted best constant alone in place."""
    trials, changes = of_heads(effect.constants, effect.of_head), {}
    for trial, change in tried(pair, tokens, trials):
        changes[trial.layer, trial.head] = change
        yield Progress("putting heads back alone", len(changes), len(trials))
    return HeadScore.of_changes(changes, (pair.geometry.n_layers, pair.geometry.n_heads))


def score_heads(
    name: str,
    pair: ModelPair,
    lost: LostComponents,
    training: Tokens,
    evaluation: Tokens,
    items: str = DEMO,
    kept: dict[bool, PredictedEffect] | None = None,
) -> Generator[Progress, None, HeadScore]:
    """The score of this name (see `LOWEST_FIRST`); predictions on `training`, measurements on `evaluation` text.

    kept: predictions made so far, by whether they are towards the dense model; hand the same to every call, and each is
    made once. Raises SettingError for a name that is not known, and what the parts raise.
    """
    if name == "probing":
        probing = yield from probe_accuracy(pair, items)
        return HeadScore(probing.accuracy.double(), probing.stderr.double())
    if name == "ceiling":
        return (yield from head_ceilings(pair, evaluation))
    check_scores([name])
    kept, towards_dense = {} if kept is None else kept, name in ("towards_dense", "together_dense")
    if towards_dense not in kept:
        kept[towards_dense] = yield from predicted_effect(pair, lost, training, towards_dense)
    effect = kept[towards_dense]
    if name == "measured":
        return (yield from measured_effect(pair, effect, evaluation))
    return of_effect(name, effect)


def of_effect(name: str, effect: PredictedEffect) -> HeadScore:
    """The score of this name that a prediction holds."""
    if name == "gradient":
        return HeadScore(effect.gradient_norm.double())
    if name in ("together", "together_dense"):
        return HeadScore(effect.in_turn)
    return HeadScore(effect.of_head.double(), effect.of_head_error.double())
