"""Computing a score of heads by its name: what several scores share is computed once."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..capture.head_loss import HeadLoss, head_loss
from ..capture.recoverable import recoverable
from ..evaluation.perplexity import Difference, paired_difference
from ..inspection.kinds import HeadKinds, head_kinds
from ..inspection.origin import Part, patched_in_part
from ..progress import Progress
from ..registry import chosen
from .picks import random_score
from .scores import SCORES, Score, ScoreInputs


@dataclass(frozen=True)
class HeadScore:
    """One number a head. float64."""

    values: Tensor
    """[layer, head]; NaN where not measured."""
    errors: Tensor | None = None
    """[layer, head] standard errors."""
    notes: tuple[str, ...] = ()
    """What of its material was left out, a sentence each."""

    def columns(self, name: str) -> dict[str, np.ndarray]:
        """For a table with a row a head: the values as `name`, their standard errors as `name_error`."""
        tables = {name: self.values, f"{name}_error": self.errors}
        return {key: table.flatten().numpy() for key, table in tables.items() if table is not None}

    @classmethod
    def unknown(cls, shape: tuple[int, int]) -> HeadScore:
        """Of (layers, heads), none of them measured yet."""
        return cls(torch.full(shape, torch.nan).double(), torch.full(shape, torch.nan).double())

    def with_change(self, head: tuple[int, int], change: Difference) -> HeadScore:
        """With one head more: the change of the mean NLL, nats per token, and its standard error."""
        if self.errors is None:
            raise ValueError("This score has no errors, so a change cannot be entered in it.")
        values, errors = self.values.clone(), self.errors.clone()
        values[head], errors[head] = change.nats, change.stderr
        return HeadScore(values, errors)


def score_heads(name: str, inputs: ScoreInputs) -> Generator[Progress, None, HeadScore]:
    """The score of this name. Raises SettingError for a name that is not known, and what the computations raise."""
    score = chosen(name, SCORES, "Score")
    return read(score, (yield from result_of(score, inputs)))


def result_of(score: Score, inputs: ScoreInputs) -> Generator[Progress, None, Any]:
    """What the score is read from: computed, or finished, unless it is among the results already."""
    computation = score.computation
    result = inputs.results.get(computation.name)
    if result is None or bool(read(score, result).values.isnan().any()):
        result = yield from computation.run(inputs)
        inputs.results[computation.name] = result
    return result


def read(score: Score, result: Any) -> HeadScore:
    """The score in what its computation gave."""
    values: Tensor = _at(result, score.values)
    errors: Tensor | None = _at(result, score.errors)
    notes: tuple[str, ...] = getattr(result, "notes", ())
    return HeadScore(values.double(), None if errors is None else errors.double(), notes)


def _at(result: Any, place: str) -> Any:
    """An attribute of an attribute …, None where there is none."""
    return reduce(lambda part, name: getattr(part, name, None), place.split("."), result)


def captured(inputs: ScoreInputs) -> Generator[Progress, None, HeadLoss]:
    """All measures of loss: they come with the capture."""
    yield from ()
    return head_loss(inputs.statistics)


@dataclass(frozen=True)
class Split:
    """What each head lost, in three parts that add up to 1 where something was lost; [layer, head] float64."""

    constant: Tensor
    """Share of the energy of δz that its mean undoes."""
    weights: Tensor
    """What a linear map of what is still computed undoes beyond that."""
    gone: Tensor


SPLIT_BY = 32
"""Windows that the split is fitted and judged on, half and half."""


def split(inputs: ScoreInputs) -> Generator[Progress, None, Split]:
    """What each head lost, by what could bring it back."""
    parts = yield from recoverable(inputs.pair, inputs.training[:SPLIT_BY])
    most = parts.head if parts.layer is None else parts.layer
    return Split(parts.constant, most - parts.constant, parts.gone)


def kinds(inputs: ScoreInputs) -> Generator[Progress, None, HeadKinds]:
    """What each head does, in both models."""
    return (yield from head_kinds(inputs.pair, inputs.training, inputs.seed))


@dataclass(frozen=True)
class Origin:
    """Change of the mean NLL where of each head alone the dense model's part is in place."""

    pattern: HeadScore
    """Where it looks."""
    values: HeadScore
    """What it carries."""


def origin(inputs: ScoreInputs) -> Generator[Progress, None, Origin]:
    """Where each head's loss comes from."""
    shape = inputs.lost.shape[:2]
    heads = [(layer, head) for layer in range(shape[0]) for head in range(shape[1])]
    parts = [Part(0, 0, pattern=False, values=False)]
    parts += [Part(*head, pattern=pattern, values=not pattern) for head in heads for pattern in (True, False)]
    plain, *losses = yield from patched_in_part(inputs.pair, inputs.held_out, parts)
    pattern = values = HeadScore.unknown(shape)
    for head, looks, carries in zip(heads, losses[::2], losses[1::2], strict=True):
        pattern = pattern.with_change(head, paired_difference(looks, plain))
        values = values.with_change(head, paired_difference(carries, plain))
    return Origin(pattern, values)


def drawn(inputs: ScoreInputs) -> Generator[Progress, None, HeadScore]:
    """Heads in random order."""
    yield from ()
    return HeadScore(random_score(inputs.lost.shape, inputs.seed))
