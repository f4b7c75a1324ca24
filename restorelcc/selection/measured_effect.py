"""What putting something back does to the loss, measured: one head or component at a time."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from ..capture.components import LostComponents
from ..compensation.constants import Constants
from ..compensation.interface import compensated
from ..evaluation.perplexity import Difference, paired_difference
from ..evaluation.prefix import Prefix
from ..models.pair import ModelPair
from ..progress import Progress, finish
from ..text.tokens import Tokens
from .predicted_effect import PredictedEffect
from .scores import MEASURED, SCORES, ScoreInputs
from .scoring import HeadScore, result_of


@dataclass(frozen=True)
class Trial:
    """One thing to put back on its own."""

    layer: int
    head: int
    constant: Tensor
    """[d_head] activation units."""
    component: int | None = None
    """Which of the head's components it is of, if it is of one."""


def of_heads(constants: Tensor, order: Tensor | None = None) -> list[Trial]:
    """Every head with its constant of [layer, head, d_head]; those first whose `order` [layer, head] is lowest."""
    layers, heads = constants.shape[:2]
    places = [(layer, head) for layer in range(layers) for head in range(heads)]
    if order is not None:
        places = [places[index] for index in order.flatten().argsort(stable=True).tolist()]
    return [Trial(layer, head, constants[layer, head]) for layer, head in places]


def of_components(components: LostComponents, magnitudes: Tensor, picks: Sequence[tuple[int, int, int]]) -> list[Trial]:
    """Some components (layer, head, component), each with its magnitude of [layer, head, component]."""
    return [
        Trial(layer, head, magnitudes[layer, head, i] * components.directions[layer, head, i].float(), i)
        for layer, head, i in picks
    ]


def tried(
    pair: ModelPair, tokens: Tokens, trials: Sequence[Trial], batch: int = 8
) -> Iterator[tuple[Trial, Difference]]:
    """Each trial with the change of the mean NLL against the pruned model, paired, as soon as it is measured.

    Only the layers from the trial's on are computed. Stop by leaving the loop.
    """
    prefix = Prefix(pair.pruned, tokens, batch)
    plain = finish(prefix.measured())
    for trial in trials:
        back = Constants.of_head(pair.geometry, trial.layer, trial.head, trial.constant)
        loss = finish(prefix.again(trial.layer, within=partial(compensated, pair.pruned, back)))
        yield trial, paired_difference(loss, plain)


def measured(inputs: ScoreInputs) -> Generator[Progress, None, HeadScore]:
    """Change of the mean NLL with each head's predicted best constant alone in place, the most promising head first.

    Every head that is measured is kept among the results at once; those that are there already are left out.
    """
    effect: PredictedEffect = yield from result_of(SCORES["predicted"], inputs)
    score: HeadScore = inputs.results.get(MEASURED.name) or HeadScore.unknown(inputs.lost.shape[:2])
    trials = [
        trial
        for trial in of_heads(effect.constants, effect.of_head)
        if bool(score.values[trial.layer, trial.head].isnan())
    ]
    yield Progress("measuring the pruned model", 0, len(trials))
    for done, (trial, change) in enumerate(tried(inputs.pair, inputs.held_out, trials), start=1):
        score = score.with_change((trial.layer, trial.head), change)
        inputs.results[MEASURED.name] = score
        yield Progress(f"measured {done} of {len(trials)}", done, len(trials))
    return score
