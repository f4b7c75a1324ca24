"""Scores of heads and components that take more than the captured statistics: computed on request, kept for all.

No screen in here. Each is the work of a job; what measures one thing after another shows what it has on the way.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

from torch import Tensor

from restorelcc.artifacts.findings import Recipe
from restorelcc.compensation.constants import injected
from restorelcc.cores import one_each
from restorelcc.evaluation.perplexity import Difference
from restorelcc.hf.layout import device_of
from restorelcc.models.memory import activation_bytes, free_at
from restorelcc.models.pair import ModelPair
from restorelcc.progress import Progress
from restorelcc.restoration.bounds import bounds
from restorelcc.selection.joint_effect import together
from restorelcc.selection.measured_effect import Trial, of_components, tried
from restorelcc.selection.predicted_effect import SLOPES, PredictedEffect, Slopes, slopes_of
from restorelcc.selection.scores import CAPTURE, SCORES, ScoreInputs, offered
from restorelcc.selection.scoring import HeadScore, read, result_of
from restorelcc.workspace import Workspace

from ..values.picks import Picks
from .jobs import Job, jobs
from .live import lane

KEPT = 39  # results over all pairs; a pair has a dozen or so at most
GENTLE = 2  # texts at once, in the background: a measurement that begins meanwhile waits for no more
SPARE = 4  # times as much memory has to be free as the background takes
PAUSE = 0.05  # seconds between looks whether measurements are over
PATIENCE = 1.0  # seconds that a step lets measurements go first: who picks without a pause wants it most

Work = Generator[Progress, None, Any]
_lock = threading.Lock()
_kept: OrderedDict[tuple[Recipe, str], Any] = OrderedDict()


def known(recipe: Recipe, name: str) -> Any:
    """The result of a computation, or None."""
    with _lock:
        return _kept.get((recipe, name))


def keep(recipe: Recipe, name: str, value: Any) -> None:
    """Remember a result for everybody who asks, until others take its place."""
    with _lock:
        _kept[recipe, name] = value
        _kept.move_to_end((recipe, name))
        while len(_kept) > KEPT:
            _kept.popitem(last=False)


@dataclass(frozen=True)
class _Known:
    """What is known of a recipe, for computations that build on one another."""

    recipe: Recipe

    def get(self, name: str, /) -> Any:
        return known(self.recipe, name)

    def __setitem__(self, name: str, result: Any, /) -> None:
        keep(self.recipe, name, result)


# --- scores of heads --------------------------------------------------------------------------------------------


def inputs(workspace: Workspace, pair: ModelPair | None = None) -> ScoreInputs:
    """What scores of a pair are computed from; its models are `loaded`. pair: where the dense one need not compute."""
    return ScoreInputs(
        pair=workspace.pair() if pair is None else pair,
        statistics=workspace.findings.statistics,
        lost=workspace.lost,
        training=workspace.training,
        held_out=workspace.held_out,
        results=_Known(workspace.recipe),
    )


def compute(workspace: Workspace, name: str) -> Work:
    """The work of a score: what is measured one by one is kept as it comes."""
    yield from workspace.loading()
    return (yield from result_of(SCORES[name], inputs(workspace)))


def submit(workspace: Workspace, name: str, owner: str, label: str) -> None:
    """Queue the job that computes a score; one for all who ask, and for all scores that share the computation."""
    device = workspace.recipe.loading.resolved_device()
    jobs.submit(label, owner, device, lambda _: compute(workspace, name), key=key(workspace, name))


def key(workspace: Workspace, name: str) -> tuple[object, ...]:
    """Under which the job that computes a score is found."""
    return ("score", workspace.recipe, SCORES[name].computation.name)


def score(workspace: Workspace, name: str) -> HeadScore | None:
    """A measure of loss or a score; None if it is not there."""
    row = SCORES[name]
    result = workspace.loss if row.computation is CAPTURE else known(workspace.recipe, row.computation.name)
    return None if result is None else read(row, result)


def table(workspace: Workspace, name: str) -> Tensor | None:
    """[layer, head] float64: a measure of loss or a score; NaN where not measured yet, None if it is not there."""
    scored = score(workspace, name)
    return None if scored is None else scored.values


def errors(workspace: Workspace, name: str) -> Tensor | None:
    """[layer, head] standard errors of `table`, where it has them."""
    scored = score(workspace, name)
    return None if scored is None else scored.errors


def missing(workspace: Workspace, name: str) -> int:
    """How many heads a score is not known of."""
    values = table(workspace, name)
    return workspace.lost.shape[0] * workspace.lost.shape[1] if values is None else int(values.isnan().sum())


def there(workspace: Workspace) -> list[str]:
    """Measures and scores that are known of every head."""
    return [name for name in offered() if missing(workspace, name) == 0]


def order(workspace: Workspace, name: str) -> Tensor:
    """[layer, head], highest where a measure or score says to begin. Raises LookupError where it is not `there`."""
    values = table(workspace, name)
    if values is None:
        raise LookupError(f"{name} orders heads before it is computed")
    return SCORES[name].order(values)


# --- what picks will do ------------------------------------------------------------------------------------------


def foretold(workspace: Workspace, picks: Picks) -> Difference | None:
    """The change of the loss that these picks are predicted to make, nats per token, in milliseconds; None where the
    slopes are not known yet that it takes (see `foresee`)."""
    effect: PredictedEffect | None = known(workspace.recipe, "effect")
    slopes: Slopes | None = known(workspace.recipe, SLOPES) if effect is None else effect.slopes
    if slopes is None or len(picks) == 0:
        return None
    # Small products, while a browser and perhaps a measurement keep the cores busy: see `restorelcc.cores`.
    return _one_core().submit(lambda: together(slopes, injected(workspace.lost, picks.weights()).vectors)).result()


@cache
def _one_core() -> ThreadPoolExecutor:
    return one_each(1)


def foresee(workspace: Workspace) -> None:
    """Queue the pass that predictions of picks are made from, beside the device's other work: it lets measurements go
    first, and is left out where memory is scarce."""

    def work(job: Job) -> Work:
        pair = yield from workspace.loading(dense=False)
        tokens = GENTLE * workspace.training.ids.shape[1]
        free = free_at(device_of(pair.pruned))
        if free is not None and SPARE * activation_bytes(pair.pruned, tokens, pair.geometry.n_layers) > free:
            return
        steps = slopes_of(inputs(workspace, pair), GENTLE)
        keep(workspace.recipe, SLOPES, (yield from _after_measurements(steps, job)))

    if known(workspace.recipe, SLOPES) is None and known(workspace.recipe, "effect") is None:
        device = workspace.recipe.loading.resolved_device()
        title = "Preparing to predict picks"
        jobs.submit(title, "", device, work, key=("foresee", workspace.recipe), beside="prediction")


def _after_measurements(steps: Work, job: Job) -> Work:
    """Steps that are taken while nobody waits for a measurement, or where somebody always does, one in a while."""
    while True:
        until = time.monotonic() + PATIENCE
        while lane.busy and not job.stopping and time.monotonic() < until:
            time.sleep(PAUSE)
        try:
            yield next(steps)
        except StopIteration as end:
            return end.value


# --- what could come back at all --------------------------------------------------------------------------------


def submit_bounds(workspace: Workspace, owner: str, label: str) -> None:
    """Queue the job that computes the bounds, which are then `known` by that name; one for all who ask."""

    def work() -> Work:
        pair = yield from workspace.loading()
        work = bounds(pair, workspace.lost, workspace.training, workspace.held_out, workspace.findings.live)
        keep(workspace.recipe, "bounds", (yield from work))

    device = workspace.recipe.loading.resolved_device()
    jobs.submit(label, owner, device, lambda _: work(), key=bounds_key(workspace))


def bounds_key(workspace: Workspace) -> tuple[object, ...]:
    """Under which the job that computes the bounds is found."""
    return ("bounds", workspace.recipe)


# --- components of a head, one by one ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Alone:
    """Components put back alone, as far as they are measured."""

    changes: dict[tuple[int, int, int], Difference]
    """By (layer, head, component)."""


def submit_components(workspace: Workspace, layer: int, head: int, owner: str) -> None:
    """Queue the job that measures a head's components at their best magnitudes, one by one, most promising first."""
    device = workspace.recipe.loading.resolved_device()
    title = f"Measuring components of L{layer} H{head}"
    key = components_key(workspace, layer, head)
    jobs.submit(title, owner, device, lambda _: _head_components(workspace, layer, head), key=key)


def components_key(workspace: Workspace, layer: int, head: int) -> tuple[object, ...]:
    """Under which the job that measures a head's components is found."""
    return ("components", workspace.recipe, layer, head)


def _head_components(workspace: Workspace, layer: int, head: int) -> Work:
    effect: PredictedEffect = yield from compute(workspace, "predicted")
    picks = [(layer, head, i) for i in range(workspace.lost.shape[2]) if (layer, head, i) not in _measured(workspace)]
    picks.sort(key=lambda pick: float(effect.of_component[pick]))
    yield from _measure(workspace, of_components(workspace.lost, effect.best, picks))


def _measure(workspace: Workspace, trials: list[Trial]) -> Work:
    """Each component on held-out calibration text, as heads are; what is measured is kept as it comes."""
    pair = yield from workspace.loading()
    yield Progress("measuring the pruned model", 0, len(trials))
    for done, (trial, change) in enumerate(tried(pair, workspace.held_out, trials), start=1):
        place = (trial.layer, trial.head, trial.component or 0)
        keep(workspace.recipe, "components", Alone(_measured(workspace) | {place: change}))
        yield Progress(f"measured {done} of {len(trials)}", done, len(trials))


def _measured(workspace: Workspace) -> dict[tuple[int, int, int], Difference]:
    """Components that are measured already, of all heads."""
    alone: Alone | None = known(workspace.recipe, "components")
    return alone.changes if alone else {}
