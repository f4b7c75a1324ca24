"""A sweep as a job, and how long one takes. No screen in here."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from torch import Tensor

from restorelcc import judging
from restorelcc.artifacts.findings import recipe_written
from restorelcc.artifacts.runs import list_runs
from restorelcc.artifacts.sweep_runs import keep_point, sweep_tag
from restorelcc.errors import RestoreLCCError
from restorelcc.models.pair import ModelPair
from restorelcc.progress import Progress
from restorelcc.restoration.sweep import Failure, Grid, SweepResult, sweep
from restorelcc.text.tokens import Tokens
from restorelcc.workspace import Workspace

from ..values import rules
from . import allowed, scores
from .jobs import Job, jobs
from .launched.points import swept
from .training import is_handed_over


@dataclass(frozen=True, eq=False)
class Plan:
    """What a sweep was asked for: enough to train any of its points again."""

    grid: Grid
    score: Tensor | str
    """[layer, head]: the heads of highest score come first; or the name of a score that is to be computed first."""
    sampled: int = 0
    """Windows that the dense model writes, to train on and to judge by; 0: the calibration text."""


def start(workspace: Workspace, plan: Plan, owner: str) -> Job:
    """Queue it, as one job; whoever has one under way on this pair gets that. Its notes are the plan, then every
    result as it comes, which stay when it is cancelled."""

    def work(job: Job) -> Generator[Progress, None, None]:
        job.notes.append(plan)
        tokens = plan.sampled * workspace.findings.calibration.ids.shape[1]
        allowed.check_training(_steps(workspace, plan.grid, plan.sampled), tokens, kept=False)
        pair = yield from workspace.loading()
        text, held_out = yield from judging.texts(workspace, plan.sampled, plan.grid.settings.seed)
        if isinstance(plan.score, str):
            if scores.missing(workspace, plan.score):
                yield from scores.compute(workspace, plan.score)
            job.notes[0] = replace(plan, score=scores.order(workspace, plan.score))
        about = judging.about_run(workspace, pair, text, held_out, plan.sampled) | {
            "owner": owner,
            "tags": [sweep_tag(datetime.now())],
        }
        for step in _swept(workspace, pair, ordered(plan_of(job)), text, held_out, plan.grid, about):
            if isinstance(step, Progress):
                yield step
            else:
                folder = _kept(step, pair, workspace, about)
                job.notes.append(replace(step, restoration=None) if isinstance(step, SweepResult) else step)
                job.notes += [Kept(folder)] if folder else []

    title = f"Sweep of {len(plan.grid.points())} points"
    return jobs.submit(title, owner, workspace.recipe.loading.resolved_device(), work, key=_key(workspace, owner))


def _swept(
    workspace: Workspace,
    pair: ModelPair,
    score: Tensor,
    text: Tokens,
    held_out: Tokens,
    grid: Grid,
    about: dict[str, Any],
) -> Iterator[Progress | SweepResult | Failure]:
    """Every point, trained here, or by processes beside the server where it hands trainings over."""
    given = pair, workspace.lost, score, text, held_out, grid
    if not is_handed_over(workspace, pair):
        return sweep(*given)
    return swept(*given, about, workspace.recipe.loading, rules.given().processes)


@dataclass(frozen=True)
class Kept:
    """A note of a job: a point of its sweep was kept as this run."""

    folder: str


def _kept(step: SweepResult | Failure, pair: ModelPair, workspace: Workspace, about: dict[str, Any]) -> str:
    """A point is a run, as any restoration is, where runs may be kept and there is room: its folder, or nothing. Its
    figures stay in any case."""
    if isinstance(step, SweepResult):
        with suppress(RestoreLCCError):
            allowed.check_training(0)
            run = keep_point(step, pair, workspace.findings.pruned_name, about)
            return run.folder.name if run is not None else ""
    return ""


def ordered(plan: Plan | None) -> Tensor:
    """The order in which a sweep that began takes heads."""
    if plan is None or isinstance(plan.score, str):
        raise LookupError("a sweep orders heads before it is known how")
    return plan.score


def kept_of(job: Job) -> list[str]:
    """Folders of the runs that its points were kept as."""
    return [note.folder for note in list(job.notes) if isinstance(note, Kept)]


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
    return None if pace is None else _steps(workspace, grid) * grid.settings.batch * pace


def _steps(workspace: Workspace, grid: Grid, sampled: int = 0) -> int:
    """About how many all points take together."""
    return len(grid.points()) * grid.settings.counted(sampled or len(workspace.training)).steps


def _pace(workspace: Workspace, owner: str) -> float | None:
    """Seconds a window trained on, measurements on the way included: of the last sweep, or else of the last run."""
    job = newest(workspace, owner)
    plan, results = (plan_of(job), results_of(job)) if job is not None else (None, [])
    trained = [result.seconds for result in results if isinstance(result, SweepResult)]
    if plan is not None and trained:
        taken = _steps(workspace, plan.grid, plan.sampled) / len(plan.grid.points())
        return sum(trained) / (len(trained) * taken * plan.grid.settings.batch)
    wanted = recipe_written(workspace.recipe)
    with suppress(RestoreLCCError, KeyError, IndexError, ZeroDivisionError):
        run = next((run for run in list_runs() if run.config.get("recipe") == wanted), None)
        if run is not None:
            last = run.metrics().iloc[-1]
            return float(last["seconds"]) / (int(last["step"]) * run.settings.batch)
    return None
