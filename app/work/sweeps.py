"""A sweep as a job, and how long one takes. No screen in here."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass

from torch import Tensor

from restorelcc.artifacts.runs import list_runs
from restorelcc.errors import RestoreLCCError
from restorelcc.progress import Progress
from restorelcc.restoration.sweep import Failure, Grid, SweepResult, sweep
from restorelcc.workspace import Workspace

from ..values.recipes import recipe_written
from . import allowed
from .jobs import Job, jobs
from .training import texts


@dataclass(frozen=True, eq=False)
class Plan:
    """What a sweep was asked for: enough to train any of its points again."""

    grid: Grid
    score: Tensor
    """[layer, head]: the heads of highest score come first."""
    sampled: int = 0
    """Windows that the dense model writes, to train on and to judge by; 0: the calibration text."""


def start(workspace: Workspace, plan: Plan, owner: str) -> Job:
    """Queue it, as one job; whoever has one under way on this pair gets that. Its notes are the plan, then every
    result as it comes, which stay when it is cancelled."""

    def work(job: Job) -> Generator[Progress, None, None]:
        job.notes.append(plan)
        tokens = plan.sampled * workspace.findings.calibration.ids.shape[1]
        allowed.check_training(len(plan.grid.points()) * plan.grid.settings.steps, tokens, kept=False)
        pair = yield from workspace.loading()
        text, held_out = yield from texts(workspace, plan.sampled, plan.grid.settings.seed)
        for step in sweep(pair, workspace.lost, plan.score, text, held_out, plan.grid):
            if isinstance(step, Progress):
                yield step
            else:
                job.notes.append(step)

    title = f"Sweep of {len(plan.grid.points())} points"
    return jobs.submit(title, owner, workspace.recipe.loading.resolved_device(), work, key=_key(workspace, owner))


def newest(workspace: Workspace, owner: str) -> Job | None:
    """The owner's newest sweep of this pair: under way, or over and remembered."""
    return jobs.find(_key(workspace, owner))


def _key(workspace: Workspace, owner: str) -> tuple[object, ...]:
    return ("sweep", workspace.recipe, owner)


def plan_of(job: Job) -> Plan | None:
    """None until it begins to run."""
    return next((note for note in job.notes if isinstance(note, Plan)), None)


def results_of(job: Job) -> list[SweepResult | Failure]:
    """Those so far."""
    return [note for note in list(job.notes) if isinstance(note, SweepResult | Failure)]


def seconds(workspace: Workspace, grid: Grid, owner: str) -> float | None:
    """About how long a grid will take; None where nothing was trained on this pair yet."""
    pace = _pace(workspace, owner)
    return None if pace is None else len(grid.points()) * grid.settings.steps * grid.settings.batch * pace


def _pace(workspace: Workspace, owner: str) -> float | None:
    """Seconds a window trained on, measurements on the way included: of the last sweep, or else of the last run."""
    job = newest(workspace, owner)
    plan, results = (plan_of(job), results_of(job)) if job is not None else (None, [])
    trained = [result.seconds for result in results if isinstance(result, SweepResult)]
    if plan is not None and trained:
        return sum(trained) / (len(trained) * plan.grid.settings.steps * plan.grid.settings.batch)
    wanted = recipe_written(workspace.recipe)
    with suppress(RestoreLCCError, KeyError, IndexError, ZeroDivisionError):
        run = next((run for run in list_runs() if run.config.get("recipe") == wanted), None)
        if run is not None:
            last = run.metrics().iloc[-1]
            return float(last["seconds"]) / (int(last["step"]) * run.settings.batch)
    return None
