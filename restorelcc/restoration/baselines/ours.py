"""What this package does, and what the paper's code does, as methods among others."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from functools import partial

from ...compensation.interface import compensated, folded
from ...progress import Progress
from ..settings import DEFAULTS, PRESETS, Settings
from ..training import directions, prepared
from .rival import Rival, Task


def constants(task: Task) -> Generator[Progress, None, Rival]:
    """Constants of the picked heads, at the settings that everybody gets."""
    return (yield from _restored(task, DEFAULTS))


def weights(task: Task) -> Generator[Progress, None, Rival]:
    """All surviving weights of layers with a picked head."""
    return (yield from _restored(task, replace(DEFAULTS, kind="weights", where="all")))


def paper(task: Task) -> Generator[Progress, None, Rival]:
    """Constants as the paper's code trains them, for as many steps as all others have."""
    return (yield from _restored(task, replace(PRESETS["paper"].settings, epochs=0.0)))


def _restored(task: Task, settings: Settings) -> Generator[Progress, None, Rival]:
    settings = replace(settings, steps=task.steps, batch=task.batch, seed=task.seed)
    lost = yield from directions(task.pair, task.lost, task.tokens, settings)
    training = yield from prepared(task.pair, lost, task.picks, task.tokens, task.held_out, settings)
    restoration = yield from training.run()
    pruned, put_back = task.pair.pruned, restoration.compensation
    return Rival(
        model=pruned,
        trained=restoration.trained_parameters,
        tokens=restoration.history[-1].tokens,
        within=partial(compensated, pruned, put_back),
        merged=partial(folded, pruned, put_back),
    )
