"""The dense, the pruned and the restored model, timed in turn."""

from __future__ import annotations

from collections.abc import Generator, Hashable
from contextlib import nullcontext
from typing import Any

from restorelcc.artifacts.export import adapter_fits
from restorelcc.artifacts.runs import Run, keep_measured
from restorelcc.compensation.interface import in_one
from restorelcc.evaluation.speed.kernels import with_kernels
from restorelcc.evaluation.speed.timing import Load, timed
from restorelcc.hf.layout import context_length
from restorelcc.progress import Progress
from restorelcc.workspace import Workspace

from .. import allowed
from ..jobs import Job, jobs

LOAD = Load()


def key(workspace: Workspace, run: Run) -> Hashable:
    """Of the job, so that whoever looks at the run sees it."""
    return ("speed", workspace.recipe, run.folder.name)


def submit(workspace: Workspace, run: Run, owner: str) -> Job:
    """Queue it, behind whatever else computes on the device: side by side, both would be timed. Raises LoadError."""
    adapter, device = run.adapter(), workspace.recipe.loading.resolved_device()

    def work(job: Job) -> Generator[Progress, None, dict[str, Any]]:
        pair = yield from workspace.loading()
        adapter_fits(adapter, pair.pruned)
        yield Progress("folding what is put back", 0, 1)
        models = {
            "dense": (pair.dense, nullcontext),
            "pruned": (pair.pruned, nullcontext),
            "restored": in_one(pair.pruned, adapter.compensation),
        }
        speeds = yield from timed(with_kernels(models), _fitting(context_length(pair.dense)))
        figures = speeds.figures()
        if allowed.may_change(run, job.owner):
            keep_measured(run, {"speed": figures})
        return figures

    return jobs.submit(f"Timing {run.name}", owner, device, work, key(workspace, run))


def _fitting(context: int) -> Load:
    """Less is read where a model has no room for more."""
    return Load(max(1, min(LOAD.prompt, context - LOAD.new)), min(LOAD.new, context - 1), LOAD.rounds)


def known_of(run: Run) -> dict[str, Any]:
    """What is kept with a run; empty where nothing is."""
    kept: dict[str, Any] = run.config.get("speed") or {}
    return kept
