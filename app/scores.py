"""Scores of heads and components that take more than the captured statistics: computed on request, kept for all.

No screen in here. Each is the work of a job; what measures one thing after another shows what it has on the way.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from restorelcc.ceilings import Patch, patched
from restorelcc.contrast import contrast_items
from restorelcc.effect import Against, PredictedEffect, predicted, slopes
from restorelcc.evaluate import Difference, paired_difference
from restorelcc.findings import Recipe
from restorelcc.head_loss import METRICS
from restorelcc.probing import Probing, probe
from restorelcc.progress import Progress
from restorelcc.trials import Trial, of_heads, tried
from restorelcc.workspace import Workspace

from .jobs import jobs

KEPT = 24
PREDICTION_TOKENS = 33_000  # more would say little that these do not

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
        tokens = workspace.training[: max(2, PREDICTION_TOKENS // workspace.training.ids.shape[1])]
        against: Against = "kl" if group == "towards_dense" else "ce"
        found = predicted((yield from slopes(workspace.pair(), tokens, against)), workspace.lost)
        keep(workspace.recipe, group, found)
    return found


def _probing(workspace: Workspace) -> Work:
    yield Progress("reading the contrast items", 0, 1)
    keep(workspace.recipe, "probing", (yield from probe(workspace.pair(), contrast_items())))


def _ceiling(workspace: Workspace) -> Work:
    layers, heads, _ = workspace.lost.shape
    places = [(layer, head) for layer in range(layers) for head in range(heads)]
    patches = [Patch(), *(Patch(frozenset({place})) for place in places)]
    plain, *losses = yield from patched(workspace.pair(), workspace.findings.live, patches)
    changes: dict[tuple[int, ...], Difference] = {
        place: paired_difference(loss, plain) for place, loss in zip(places, losses, strict=True)
    }
    keep(workspace.recipe, "ceiling", Alone(changes))


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


GROUPS: dict[str, Callable[[Workspace], Work]] = {
    "effect": effect,
    "towards_dense": lambda workspace: effect(workspace, "towards_dense"),
    "probing": _probing,
    "ceiling": _ceiling,
    "measured": _measured,
}
GROUP_OF = {
    name: "effect" if name in ("predicted", "gradient") else name for name in (*GROUPS, "predicted", "gradient")
}
"""Which work a score comes from."""


def submit(workspace: Workspace, name: str, owner: str, label: str) -> None:
    """Queue the job that computes a score; one for all who ask."""
    group = GROUP_OF[name]
    device = workspace.recipe.loading.resolved_device()
    jobs.submit(label, owner, device, lambda _: GROUPS[group](workspace), key=key(workspace, name))


def key(workspace: Workspace, name: str) -> tuple[object, ...]:
    """Of that job."""
    return ("score", workspace.recipe, GROUP_OF[name])


def table(workspace: Workspace, name: str) -> Tensor | None:
    """[layer, head] float64: a measure of loss or a score; NaN where not measured yet, None if it is not there."""
    if name in METRICS:
        return workspace.loss.table(name)
    found = known(workspace.recipe, GROUP_OF[name])
    if found is None:
        return None
    if isinstance(found, Probing):
        return found.accuracy.double()
    if isinstance(found, PredictedEffect):
        return (found.gradient_norm if name == "gradient" else found.of_head).double()
    values = torch.full(workspace.lost.shape[:2], torch.nan, dtype=torch.float64)
    for (layer, head), change in found.changes.items():
        values[layer, head] = change.nats
    return values


def missing(workspace: Workspace, name: str) -> int:
    """How many heads a score is not known of."""
    found = table(workspace, name)
    return workspace.lost.shape[0] * workspace.lost.shape[1] if found is None else int(found.isnan().sum())


def errors(workspace: Workspace, name: str) -> Tensor | None:
    """[layer, head] standard errors of `table`, where it has them."""
    found = None if name in METRICS or name == "gradient" else known(workspace.recipe, GROUP_OF[name])
    if isinstance(found, Probing):
        return found.stderr.double()
    if isinstance(found, PredictedEffect):
        return found.of_head_error.double()
    if isinstance(found, Alone):
        values = torch.full(workspace.lost.shape[:2], torch.nan, dtype=torch.float64)
        for (layer, head), change in found.changes.items():
            values[layer, head] = change.stderr
        return values
    return None
