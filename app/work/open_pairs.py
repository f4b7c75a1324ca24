"""Workspaces that are open on this server: a few, shared by all sessions. No screen in here."""

from __future__ import annotations

import gc
import threading
from collections import OrderedDict
from collections.abc import Generator

import torch

from restorelcc.artifacts.findings import Recipe
from restorelcc.progress import Progress
from restorelcc.workspace import Workspace, open_workspace, pruned_name

from .jobs import Job, State, jobs

MOST = 3  # pairs in memory; the one longest unused goes first
_lock = threading.Lock()
_open: OrderedDict[Recipe, Workspace] = OrderedDict()


def workspace(recipe: Recipe) -> Workspace | None:
    """If it is open."""
    with _lock:
        if recipe in _open:
            _open.move_to_end(recipe)
        return _open.get(recipe)


def opening(recipe: Recipe, owner: str) -> Job:
    """The job that opens it: the one under way, or a new one."""

    def work(job: Job) -> Generator[Progress, None, Recipe]:
        if workspace(recipe) is None:
            opened = yield from open_workspace(recipe)
            with _lock:
                _open[recipe] = opened
                forgotten = [_open.popitem(last=False) for _ in range(len(_open) - MOST)]
            if forgotten:  # Looking through all of memory takes a tenth of a second.
                forgotten.clear()
                gc.collect()
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
        return recipe

    title = f"Opening {recipe.dense} and {pruned_name(recipe)}"
    return jobs.submit(title, owner, recipe.loading.resolved_device(), work, key=("open", recipe))


def awaited(recipe: Recipe, owner: str) -> Job:
    """The job to wait for: one that failed or was cancelled too, so that nothing starts anew by itself."""
    job = jobs.find(("open", recipe))
    # Done, yet no longer open: others took its place. Nobody's: this is the first to wait for it.
    if job is None or job.state == State.DONE or not job.owner:
        return opening(recipe, owner)
    return job
