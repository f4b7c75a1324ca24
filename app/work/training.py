"""A restoration as a job: train, measure on the whole evaluation text, keep the run. No screen in here."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import Any

from restorelcc.artifacts.export import made_for
from restorelcc.artifacts.runs import Run, runs_folder, save_run
from restorelcc.compensation.interface import compensated
from restorelcc.evaluation.comparison import measured
from restorelcc.evaluation.perplexity import Perplexity, measure, perplexity
from restorelcc.hf.narrow import pruning_record
from restorelcc.progress import Progress
from restorelcc.restoration.training import Restoration, Settings, Training
from restorelcc.storage.folders import check_writable
from restorelcc.text.calibration import ELSEWHERE_WINDOWS, evaluation_tokens, sampled_windows, split_held_out
from restorelcc.text.sources import SELF
from restorelcc.text.tokens import Tokens
from restorelcc.workspace import Workspace

from ..values.picks import Picks
from ..values.recipes import recipe_written
from .jobs import Job, jobs


def start(
    workspace: Workspace,
    picks: Picks,
    settings: Settings,
    name: str,
    owner: str,
    sampled: int = 0,
    names: dict[str, str] | None = None,
) -> Job:
    """Queue it. The job's notes are the dense model's held-out perplexity, then every `Step`; its result is the Run.

    picks: what is trained; their magnitudes count where `settings.start` is what is picked, and are kept with the run.
    sampled: windows to sample from the dense model and train on instead of the calibration text; 0: none. names: what
    the person calls components, by `layer.head.component`.

    Cancelling ends the training; what is best so far is measured and kept all the same.
    """

    def work(job: Job) -> Generator[Progress, None, Run | None]:
        check_writable(runs_folder())
        pair = yield from workspace.loading()
        text, held_out = yield from texts(workspace, sampled, settings.seed)
        trainer = Training(pair, workspace.lost, picks.selection, text, held_out, settings, picks.weights())
        dense, pruned = yield from _trained(job, trainer)
        if not trainer.history:
            return None
        facts: dict[str, Any] = {
            "calibration": {
                "source": SELF if sampled else workspace.recipe.calibration,
                "windows": len(text),
                "length": text.ids.shape[1],
            },
            **({"names": names} if names else {}),
            **({"picks": picks.to_text()} if picks.factors else {}),
            "held_out": {"dense": dense.figures(), "pruned": pruned.figures()},
            "stopped": job.stopping,
        }
        return (yield from _kept(workspace, trainer.result(), name, facts))

    device = workspace.recipe.loading.resolved_device()
    return jobs.submit(f"Restoring {name}", owner, device, work, keeps_on_cancel=True)


def _trained(job: Job, trainer: Training) -> Generator[Progress, None, tuple[Perplexity, Perplexity]]:
    """Train until the end, or until the job is stopped; returns held-out perplexities: dense, pruned."""
    dense = perplexity((yield from measure(trainer.pair.dense, trainer.held_out)))
    job.notes.append(dense)
    pruned = perplexity((yield from measure(trainer.pair.pruned, trainer.held_out)))
    steps = trainer.settings.steps
    for step in trainer.steps():
        job.notes.append(step)
        yield Progress(f"step {step.step} of {steps}", step.step, steps)
        if job.stopping:
            break
    judged = trainer.judged() if trainer.history else None
    if judged is not None:
        job.notes[-1] = judged
    return dense, pruned


def texts(workspace: Workspace, sampled: int, seed: int) -> Generator[Progress, None, tuple[Tokens, Tokens]]:
    """(to train on, held out): of the calibration text, or of `sampled` windows that the dense model writes."""
    if not sampled:
        return workspace.training, workspace.held_out
    pair, length = (yield from workspace.loading()), workspace.findings.calibration.ids.shape[1]
    return split_held_out((yield from sampled_windows(pair.dense, pair.tokenizer, length, sampled, seed)))


def _kept(
    workspace: Workspace, restoration: Restoration, name: str, facts: dict[str, Any]
) -> Generator[Progress, None, Run]:
    """Measure a restoration on the whole evaluation text and keep it as a run: without its figures where measuring
    fails, which is raised then. facts: what is known of it so far."""
    pair, findings = (yield from workspace.loading()), workspace.findings
    about: dict[str, Any] = {
        "dense": findings.dense_name,
        "pruned": findings.pruned_name,
        "pruning": pruning_record(pair.pruned),
        **made_for(pair.pruned),
        "recipe": recipe_written(workspace.recipe),
        "notes": [*pair.remarks(), *findings.notes],
        "evaluation": f"the evaluation text, {workspace.recipe.evaluation}",
        **facts,
        "parameters": findings.dense_size.parameters,
    }
    try:
        about["figures"] = yield from _figures(workspace, restoration)
    except Exception:
        save_run(restoration, findings.geometry, name, about, pruned=pair.pruned)
        raise
    return save_run(restoration, findings.geometry, name, about, pruned=pair.pruned)


def _figures(workspace: Workspace, restoration: Restoration) -> Generator[Progress, None, dict[str, Any]]:
    """Of the whole evaluation text, and of the second one, as a run's config has them."""
    pair, recipe = (yield from workspace.loading()), workspace.recipe
    within = partial(compensated, pair.pruned, restoration.compensation)
    judged = yield from measured(pair.dense, pair.pruned, workspace.findings.evaluation, within)
    if recipe.elsewhere in (recipe.calibration, recipe.evaluation):
        return judged.figures()
    length = workspace.findings.evaluation.ids.shape[1]
    tokens = evaluation_tokens(recipe.elsewhere, pair.dense, pair.tokenizer, length, most=ELSEWHERE_WINDOWS)
    elsewhere = yield from measured(pair.dense, pair.pruned, tokens, within)
    return judged.figures() | {"elsewhere": {"text": recipe.elsewhere} | elsewhere.figures()}
