"""Pairs that are open on this server: a few, shared by all sessions; their opening, and the loading of their models, as
jobs. No screen in here."""

from __future__ import annotations

import gc
import threading
from collections import OrderedDict
from collections.abc import Generator
from contextlib import closing
from dataclasses import asdict, replace
from weakref import WeakSet

import torch

from restorelcc.artifacts.findings import Recipe, is_kept
from restorelcc.capture.statistics import Captured
from restorelcc.models.loading import DEMO
from restorelcc.progress import Progress
from restorelcc.workspace import Workspace, open_workspace, pruned_name, stamp_of

from ..values import permits
from . import allowed, scores
from .jobs import Job, State, jobs

MOST = 3  # pairs in memory; the one longest unused goes first
REMEMBERED = 12  # pairs that were opened since the server began, by name alone
WARM_UP = 3.0  # seconds from the first page to the loading of models that nobody asked for
_lock = threading.Lock()
_open: OrderedDict[Recipe, Workspace] = OrderedDict()
_seen: OrderedDict[Recipe, None] = OrderedDict()
_warmed: WeakSet[Workspace] = WeakSet()


def workspace(recipe: Recipe) -> Workspace | None:
    """The pair that this recipe opens, if it is open; used now, it stays longest."""
    with _lock:
        if recipe in _open:
            _open.move_to_end(recipe)
        return _open.get(recipe)


def seen() -> list[Recipe]:
    """Pairs that were opened since the server began, open or not, the last first."""
    with _lock:
        return list(reversed(_seen))


def opening(recipe: Recipe, owner: str) -> Job:
    """The job that opens a pair: the one under way, or a new one. Its result is the recipe."""

    def work(job: Job) -> Generator[Progress, None, Recipe]:
        if workspace(recipe) is None or changed(recipe):
            with _lock:
                before = _open.pop(recipe, None)
            if before is not None:
                before.forget_models()
            _forget_beyond(MOST - 1)  # First: there may be room for so many pairs, and for no more.
            trusted = permitted(recipe)
            # What is computed from a pair is kept by its recipe, and with this no longer for other files of that name.
            opened = yield from _shown(job, open_workspace(replace(trusted, stamp=stamp_of(trusted))), recipe.in_order)
            with _lock:
                _open[recipe] = opened
                _seen[recipe] = None
                _seen.move_to_end(recipe)
                while len(_seen) > REMEMBERED:
                    _seen.popitem(last=False)
            _forget_beyond(MOST)
        return recipe

    title = f"Opening {recipe.dense} and {pruned_name(recipe)}"
    # What is kept of a pair is read in a moment and computes nothing, so it waits for no training.
    beside = "reading" if is_kept(recipe) else ""
    return jobs.submit(title, owner, recipe.loading.resolved_device(), work, key=("open", recipe), beside=beside)


def swapped(recipe: Recipe) -> Recipe | None:
    """With either model in the other's place; None where one of them is made here."""
    return None if recipe.pruned is None else replace(recipe, dense=recipe.pruned, pruned=recipe.dense)


def _shown(
    job: Job, work: Generator[Progress, None, Workspace], in_order: bool
) -> Generator[Progress, None, Workspace]:
    """The work, with what it found so far of the heads as the job's only note while it goes on. in_order: layers are
    measured one by one, and what a pass finds of the others is not what is looked for."""
    try:
        with closing(work):
            while True:
                try:
                    step = next(work)
                except StopIteration as end:
                    opened: Workspace = end.value
                    return opened
                if isinstance(step, Captured) and not in_order:
                    job.notes[:] = [step.so_far]
                    step = Progress(step.what, step.done, step.total)  # A job's last progress is remembered.
                yield step
    finally:
        job.notes.clear()


def changed(recipe: Recipe) -> bool:
    """Whether files of a pair that is open changed on disk since it was opened."""
    opened = workspace(recipe)
    return opened is not None and bool(opened.recipe.stamp) and stamp_of(opened.recipe) != opened.recipe.stamp


def permitted(recipe: Recipe) -> Recipe:
    """With the permissions of this server, whatever the recipe itself says; the embedded pair needs none. Raises
    SettingError for what this server's rules forbid, TextError for a file that nobody may have read by naming it."""
    allowed.check_recipe(recipe)
    if recipe.dense == DEMO and recipe.pruned is None:
        return recipe
    return replace(recipe, loading=replace(recipe.loading, **asdict(permits.given())))


def _forget_beyond(most: int) -> None:
    """Let go of all but the `most` pairs used last, and of their memory."""
    with _lock:
        forgotten = [_open.popitem(last=False)[1] for _ in range(len(_open) - most)]
    for each in forgotten:
        each.forget_models()  # The callbacks of pages that show it hold on to the rest of it.
    if forgotten:  # Looking through all of memory takes a tenth of a second.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def awaited(recipe: Recipe, owner: str) -> Job:
    """The job of `opening` to wait for: one that failed or was cancelled too, so that nothing starts anew by itself."""
    job = jobs.find(("open", recipe))
    # Done, yet no longer open: others took its place. Nobody's: this is the first to wait for it.
    if job is None or job.state == State.DONE or not job.owner:
        return opening(recipe, owner)
    return job


# --- the models of a pair that is open --------------------------------------------------------------------------


def loading(opened: Workspace, owner: str) -> Job:
    """The job that loads the models of a pair that was opened from what is kept of it: the one under way, or a new one.

    It runs beside the device's other work, since a page waits for it.
    """

    def work(job: Job) -> Generator[Progress, None, None]:
        yield from opened.loading(dense=False)
        _prepare(opened)

    device = opened.recipe.loading.resolved_device()
    return jobs.submit("Loading the models", owner, device, work, key=("load", opened.recipe), beside="loading")


def awaited_load(opened: Workspace, owner: str) -> Job:
    """The job of `loading` to wait for: one that failed or was cancelled too, so that nothing starts anew by itself."""
    job = jobs.find(("load", opened.recipe))
    # Done, yet not loaded: it was of a workspace that had to make room for others since.
    if job is None or job.state == State.DONE or not job.owner:
        return loading(opened, owner)
    return job


def warm_up(opened: Workspace) -> None:
    """Have the models loaded and the live set read while nobody waits for them: a little later, since the browser draws
    the first page now and may share the processor. Whoever needs the models before loads them then."""
    with _lock:
        if opened in _warmed:
            return
        _warmed.add(opened)
    timer = threading.Timer(WARM_UP, _warmed_up, args=(opened,))
    timer.daemon = True
    timer.start()


def _warmed_up(opened: Workspace) -> None:
    if opened.loaded:
        _prepare(opened)
    else:
        loading(opened, owner="")


def _prepare(opened: Workspace) -> None:
    """Queue the pass over the live set that measurements of picks begin with, and then that by which picks are
    predicted. Who asks for one before joins it."""

    def work(job: Job) -> Generator[Progress, None, None]:
        yield from opened.preparing()  # Not returned: a job's result is remembered, and the models with it.
        scores.foresee(opened)

    device = opened.recipe.loading.resolved_device()
    jobs.submit("Reading the live set", "", device, work, key=("prepare", opened.recipe), beside="loading")
