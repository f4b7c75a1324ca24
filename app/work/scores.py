"""Scores of heads and components that take more than the captured statistics: computed on request, kept for all.

No screen in here. Each is the work of a job; what measures one thing after another shows what it has on the way.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from restorelcc.artifacts.findings import Recipe
from restorelcc.capture.head_loss import METRICS
from restorelcc.evaluation.perplexity import Difference
from restorelcc.progress import Progress
from restorelcc.restoration.bounds import bounds
from restorelcc.selection.measured_effect import Trial, of_components, of_heads, tried
from restorelcc.selection.predicted_effect import PredictedEffect
from restorelcc.selection.probing import Probing
from restorelcc.selection.scores import HeadScore, head_ceilings, of_effect, predicted_effect, probe_accuracy
from restorelcc.workspace import Workspace

from ..values.words import ALL_WORDS
from .jobs import jobs

KEPT = 24

Work = Generator[Progress, None, Any]
_lock = threading.Lock()
_kept: OrderedDict[tuple[Recipe, str], Any] = OrderedDict()


@dataclass(frozen=True)
class Alone:
    """Heads or components put back alone, as far as they are measured."""

    changes: dict[tuple[int, ...], Difference]
    """By (layer, head) or (layer, head, component)."""


def known(recipe: Recipe, group: str) -> Any:
    """What is computed, or None."""
    with _lock:
        return _kept.get((recipe, group))


def keep(recipe: Recipe, group: str, value: Any) -> None:
    """For everybody, until others take its place."""
    with _lock:
        _kept[recipe, group] = value
        _kept.move_to_end((recipe, group))
        while len(_kept) > KEPT:
            _kept.popitem(last=False)


# --- what there is ----------------------------------------------------------------------------------------------


def effect(workspace: Workspace, group: str = "effect") -> Work:
    """PredictedEffect, of the loss or (group `towards_dense`) of the distance to the dense model; computed once."""
    found: PredictedEffect | None = known(workspace.recipe, group)
    if found is None:
        towards_dense = group == "towards_dense"
        found = yield from predicted_effect(workspace.pair(), workspace.lost, workspace.training, towards_dense)
        keep(workspace.recipe, group, found)
    return found


def _probing(workspace: Workspace) -> Work:
    keep(workspace.recipe, "probing", (yield from probe_accuracy(workspace.pair())))


def _ceiling(workspace: Workspace) -> Work:
    keep(workspace.recipe, "ceiling", (yield from head_ceilings(workspace.pair(), workspace.findings.live)))


def _bounds(workspace: Workspace) -> Work:
    found = bounds(workspace.pair(), workspace.lost, workspace.training, workspace.held_out, workspace.findings.live)
    keep(workspace.recipe, "bounds", (yield from found))


def _measured(workspace: Workspace) -> Work:
    found, before = (yield from effect(workspace)), known(workspace.recipe, "measured")
    trials = of_heads(found.constants, found.of_head)
    done = before.changes if before else {}
    yield from measure_alone(workspace, "measured", [one for one in trials if (one.layer, one.head) not in done])


def measure_alone(workspace: Workspace, group: str, trials: list[Trial]) -> Work:
    """Each trial on the live set; what is measured is kept as it comes."""
    yield Progress("measuring the pruned model", 0, len(trials))
    for done, (trial, change) in enumerate(tried(workspace.pair(), workspace.findings.live, trials), start=1):
        place = (trial.layer, trial.head) if trial.component is None else (trial.layer, trial.head, trial.component)
        before = known(workspace.recipe, group)
        keep(workspace.recipe, group, Alone((before.changes if before else {}) | {place: change}))
        yield Progress(f"measured {done} of {len(trials)}", done, len(trials))


def _head_components(workspace: Workspace, layer: int, head: int) -> Work:
    found, before = (yield from effect(workspace)), known(workspace.recipe, "components")
    done = before.changes if before else {}
    picks = [(layer, head, i) for i in range(workspace.lost.shape[2]) if (layer, head, i) not in done]
    picks.sort(key=lambda pick: float(found.of_component[pick]))
    yield from measure_alone(workspace, "components", of_components(workspace.lost, found.best, picks))


def submit_components(workspace: Workspace, layer: int, head: int, owner: str) -> None:
    """Queue the job that measures a head's components at their best magnitudes, one by one, most promising first."""
    device = workspace.recipe.loading.resolved_device()
    title = f"Measuring components of L{layer} H{head}"
    key = components_key(workspace, layer, head)
    jobs.submit(title, owner, device, lambda _: _head_components(workspace, layer, head), key=key)


def components_key(workspace: Workspace, layer: int, head: int) -> tuple[object, ...]:
    """Of that job."""
    return ("components", workspace.recipe, layer, head)


GROUPS: dict[str, Callable[[Workspace], Work]] = {
    "effect": effect,
    "towards_dense": lambda workspace: effect(workspace, "towards_dense"),
    "probing": _probing,
    "ceiling": _ceiling,
    "measured": _measured,
    "bounds": _bounds,
}
GROUP_OF = {name: name for name in GROUPS} | {
    "predicted": "effect",
    "gradient": "effect",
    "together": "effect",
    "together_dense": "towards_dense",
}
"""Which work a score comes from."""


def submit(workspace: Workspace, name: str, owner: str, label: str) -> None:
    """Queue the job that computes a score, or the bounds; one for all who ask."""
    group = GROUP_OF[name]
    device = workspace.recipe.loading.resolved_device()
    jobs.submit(label, owner, device, lambda _: GROUPS[group](workspace), key=key(workspace, name))


def key(workspace: Workspace, name: str) -> tuple[object, ...]:
    """Of that job."""
    return ("score", workspace.recipe, GROUP_OF[name])


def score(workspace: Workspace, name: str) -> HeadScore | None:
    """A measure of loss or a score; None if it is not there."""
    if name in METRICS:
        return HeadScore(workspace.loss.table(name))
    found = known(workspace.recipe, GROUP_OF[name])
    if found is None or isinstance(found, HeadScore):
        return found
    if isinstance(found, Probing):
        return HeadScore(found.accuracy.double(), found.stderr.double())
    if isinstance(found, PredictedEffect):
        return of_effect(name, found)
    layers, heads, _ = workspace.lost.shape
    return HeadScore.of_changes({(place[0], place[1]): one for place, one in found.changes.items()}, (layers, heads))


def table(workspace: Workspace, name: str) -> Tensor | None:
    """[layer, head] float64: a measure of loss or a score; NaN where not measured yet, None if it is not there."""
    found = score(workspace, name)
    return None if found is None else found.values


def there(workspace: Workspace) -> list[str]:
    """Measures and scores that are known of every head."""
    return [name for name in ALL_WORDS if missing(workspace, name) == 0]


def order(workspace: Workspace, name: str) -> Tensor:
    """[layer, head], highest where a measure or score says to begin. Raises LookupError where it is not `there`."""
    found = table(workspace, name)
    if found is None:
        raise LookupError(f"{name} orders heads before it is computed")
    return -found if ALL_WORDS[name].lowest_first else found


def missing(workspace: Workspace, name: str) -> int:
    """How many heads a score is not known of."""
    found = table(workspace, name)
    return workspace.lost.shape[0] * workspace.lost.shape[1] if found is None else int(found.isnan().sum())


def errors(workspace: Workspace, name: str) -> Tensor | None:
    """[layer, head] standard errors of `table`, where it has them."""
    found = score(workspace, name)
    return None if found is None else found.errors
