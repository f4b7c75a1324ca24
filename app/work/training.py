"""A restoration as a job: train, measure on the whole evaluation text, keep the run. No screen in here."""

from __future__ import annotations

from collections.abc import Generator, Hashable
from dataclasses import dataclass
from typing import Any

from restorelcc import judging
from restorelcc.artifacts.findings import Recipe
from restorelcc.artifacts.runs import Run, run_bytes, runs_folder, save_run
from restorelcc.artifacts.unfinished import PAIR, Keeper, Unfinished, find_unfinished, kept, pair_facts
from restorelcc.evaluation.perplexity import Perplexity, measure, perplexity
from restorelcc.models.loading import DEMO
from restorelcc.models.pair import ModelPair
from restorelcc.progress import Progress
from restorelcc.restoration.parameters import Held, training_bytes, training_seconds
from restorelcc.restoration.settings import Settings
from restorelcc.restoration.training import Restoration, Step, Training, directions, prepared
from restorelcc.restoration.weights import counted
from restorelcc.selection.picks import Selection
from restorelcc.storage.folders import check_room, check_writable
from restorelcc.text.tokens import Tokens
from restorelcc.workspace import Workspace, second_text

from ..values import rules
from ..values.picks import Picks
from . import allowed
from .jobs import Job, Work, jobs
from .launched.handing import is_at_it, loadable, trained


@dataclass(frozen=True)
class Unkept:
    """A note of a job: that its training cannot be kept on its way."""

    reason: str
    """Empty once it can be kept again."""


@dataclass(frozen=True)
class Cost:
    """What a training will take."""

    numbers: int
    """That are trained."""
    memory: int
    """Bytes, about, beside the models."""
    seconds: float | None
    """About; None before anything was measured on this pair."""


def cost(workspace: Workspace, selection: Selection, settings: Settings) -> Cost:
    """Of some picks, the models being in memory."""
    key = workspace.recipe, selection, settings.kind, settings.where, settings.constants, settings.learned
    pair, present = workspace.pair(dense=False), selection.within(workspace.lost.present)
    if key not in _counted:
        while len(_counted) >= 64:
            _counted.pop(next(iter(_counted)), None)
        _counted[key] = counted(pair, present, settings)
    length, pace = workspace.training.ids.shape[1], workspace.pace
    tokens = settings.batch * length
    held: Held = "layer" if settings.by_blocks == settings.steps else "whole"
    layers = sorted({layer for layer, _ in present.heads})
    memory = training_bytes(pair.pruned, _counted[key], tokens, layers, held)
    held_out = len(workspace.held_out)
    seconds = None if pace is None else training_seconds(settings, length, held_out, pace)
    return Cost(_counted[key], memory, seconds)


_counted: dict[Hashable, int] = {}
"""Numbers that are trained: counting surviving weights looks through all of them."""


def start(
    workspace: Workspace,
    picks: Picks,
    settings: Settings,
    name: str,
    owner: str,
    sampled: int = 0,
    names: dict[str, str] | None = None,
) -> Job:
    """Queue it. The job's notes are the dense model's held-out perplexity, the settings as they are trained with,
    then every `Step`; its result is the Run.

    picks: what is trained; their magnitudes count where `settings.start` is what is picked, and are kept with the run.
    sampled: windows to sample from the dense model and train on instead of the calibration text; 0: none. names: what
    the person calls components, by `layer.head.component`.

    Cancelling ends the training; what is best so far is measured and kept all the same. It is kept on its way too, so
    that it can be gone on with should the server end (see `go_on`).
    """

    def work(job: Job) -> Generator[Progress, None, Run | None]:
        length = workspace.findings.calibration.ids.shape[1]
        counted = settings.counted(sampled or len(workspace.training))
        allowed.check_training(counted.steps, sampled * length)
        check_writable(runs_folder())
        pair = yield from workspace.loading()
        second_text(workspace, pair)  # What cannot be read, or is a copy, is said before the training.
        text, held_out = yield from judging.texts(workspace, sampled, settings.seed)
        lost = yield from directions(pair, workspace.lost, text, settings)
        trainer = yield from prepared(pair, lost, picks.selection, text, held_out, settings, picks.weights())
        check_room((runs_folder(), run_bytes(trainer)))
        about = judging.about_run(workspace, pair, text, held_out, sampled) | {
            **({"names": names} if names else {}),
            **({"picks": picks.to_text()} if picks.factors else {}),
            "owner": owner,
        }
        with kept(trainer, name, about, _names(workspace, pair)) as keeper:
            if not is_handed_over(workspace, pair) or keeper.fault:
                return (yield from _finished(job, workspace, trainer, keeper, name, about))
            job.key = "go on", keeper.folder.name  # From here on it is one that is gone on with.
        del trainer  # The processes have their own.
        return (yield from _handed_over(job, workspace, find_unfinished(keeper.folder.name), held_out))

    return _submitted(workspace, name, owner, work)


def go_on(workspace: Workspace, interrupted: Unfinished, owner: str) -> Job:
    """Queue the rest of a training of this pair, which was interrupted; notes and result as those of `start`."""

    def work(job: Job) -> Generator[Progress, None, Run | None]:
        allowed.check_training(interrupted.steps)
        check_writable(runs_folder())
        pair = yield from workspace.loading()
        if PAIR in interrupted.facts and is_handed_over(workspace, pair):
            return (yield from _handed_over(job, workspace, interrupted, interrupted.training(pair).held_out))
        with interrupted.taken_up() as keeper:
            trainer, about = interrupted.training(pair), interrupted.facts["about"]
            return (yield from _finished(job, workspace, trainer, keeper, interrupted.name, about))

    return _submitted(workspace, interrupted.name, owner, work, key=_key(interrupted))


def _names(workspace: Workspace, pair: ModelPair) -> dict[str, Any]:
    """By which another process opens the pair, where one can."""
    recipe = workspace.recipe
    return {PAIR: pair_facts(pair, recipe.loading)} if loadable(recipe, pair) else {}


def is_handed_over(workspace: Workspace, pair: ModelPair) -> bool:
    """Whether processes beside the server train it, as whoever started that says."""
    return rules.given().processes > 1 and loadable(workspace.recipe, pair)


def handed_to(recipe: Recipe) -> int:
    """How many processes train such a pair, as far as is known without its models; 1: the server."""
    return rules.given().processes if recipe.pruned is not None or recipe.dense == DEMO else 1


def _handed_over(
    job: Job, workspace: Workspace, interrupted: Unfinished, held_out: Tokens
) -> Generator[Progress, None, Run | None]:
    """`_finished`, with the training by other processes."""
    pair, about = (yield from workspace.loading()), interrupted.facts["about"]
    dense = perplexity((yield from measure(pair.dense, held_out)))
    job.notes += [dense, Settings(**interrupted.facts["settings"]), *interrupted.history()]
    pruned = perplexity((yield from measure(pair.pruned, held_out)))
    begun = yield from trained(job, interrupted, workspace.recipe.loading, rules.given().processes)
    with interrupted.taken_up() as keeper:
        if not begun:
            keeper.over()
            return None
        result = interrupted.again().training(pair).result()
        facts = {"held_out": {"dense": dense.figures(), "pruned": pruned.figures()}, "stopped": job.stopping}
        return (yield from _kept(workspace, result, keeper, interrupted.name, about | facts))


def goes_on(interrupted: Unfinished) -> bool:
    """Whether a job of this server goes on with it, or will."""
    job = jobs.find(_key(interrupted))
    return (job is not None and not job.finished) or is_at_it(interrupted)


def _key(interrupted: Unfinished) -> tuple[str, str]:
    return "go on", interrupted.folder.name


def _submitted(workspace: Workspace, name: str, owner: str, work: Work, key: tuple[str, str] | None = None) -> Job:
    device = workspace.recipe.loading.resolved_device()
    return jobs.submit(f"Restoring {name}", owner, device, work, key, keeps_on_cancel=True)


def _finished(
    job: Job, workspace: Workspace, trainer: Training, keeper: Keeper, name: str, about: dict[str, Any]
) -> Generator[Progress, None, Run | None]:
    """Trained to the end or until the job is stopped, measured, and kept as a run; None where no step was done."""
    dense, pruned = yield from _trained(job, trainer, keeper)
    if not trainer.history:
        keeper.over()
        return None
    facts = {"held_out": {"dense": dense.figures(), "pruned": pruned.figures()}, "stopped": job.stopping}
    return (yield from _kept(workspace, trainer.result(), keeper, name, about | facts))


def _trained(job: Job, trainer: Training, keeper: Keeper) -> Generator[Progress, None, tuple[Perplexity, Perplexity]]:
    """Train until the end, or until the job is stopped; returns held-out perplexities: dense, pruned."""
    dense = perplexity((yield from measure(trainer.pair.dense, trainer.held_out)))
    job.notes += [dense, trainer.settings]
    pruned = perplexity((yield from measure(trainer.pair.pruned, trainer.held_out)))
    steps, said = trainer.settings.steps, ""
    job.notes.extend(trainer.history)
    for step in trainer.steps():
        job.notes.append(step)
        keeper.keep(trainer)
        if keeper.fault != said:
            said = keeper.fault
            job.notes.append(Unkept(said))
        yield Progress(f"step {step.step} of {steps}", step.step, steps)
        if job.stopping:
            break
    judged = trainer.judged() if trainer.history else None
    if judged is not None:
        place = max(index for index, note in enumerate(job.notes) if isinstance(note, Step))
        job.notes[place] = judged
    return dense, pruned


def _kept(
    workspace: Workspace, restoration: Restoration, keeper: Keeper, name: str, about: dict[str, Any]
) -> Generator[Progress, None, Run]:
    """Measure a restoration on the whole evaluation text and keep it as a run: without its figures where measuring
    fails, which is raised then. about: what is known of it so far."""
    pair, shape, folder = (yield from workspace.loading()), workspace.findings.geometry, keeper.folder.name
    try:
        about["figures"] = yield from _figures(workspace, restoration)
    except Exception:
        save_run(restoration, shape, name, about, pruned=pair.pruned, folder=folder)
        keeper.over()
        raise
    run = save_run(restoration, shape, name, about, pruned=pair.pruned, folder=folder)
    keeper.over()
    return run


def _figures(workspace: Workspace, restoration: Restoration) -> Generator[Progress, None, dict[str, Any]]:
    """Of the whole evaluation text, and of the second one, as a run's config has them."""
    return (yield from judging.judged(workspace, restoration)).figures()
