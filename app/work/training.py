"""A restoration as a job: train, measure on the whole evaluation text, keep the run. No screen in here."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from restorelcc.artifacts.export import fingerprint
from restorelcc.artifacts.folders import check_writable
from restorelcc.artifacts.runs import Run, runs_folder, save_run
from restorelcc.compensation.interface import compensated
from restorelcc.evaluation.perplexity import measure, perplexity
from restorelcc.progress import Progress
from restorelcc.restoration.training import Restoration, Settings, Training
from restorelcc.selection.picks import Selection
from restorelcc.text.calibration import sampled_windows, split_held_out
from restorelcc.text.sources import SELF
from restorelcc.text.tokens import Tokens
from restorelcc.workspace import Workspace

from ..values.recipes import recipe_written
from .jobs import Job, jobs
from .live import lane


def start(
    workspace: Workspace,
    selection: Selection,
    settings: Settings,
    name: str,
    owner: str,
    sampled: int = 0,
    names: dict[str, str] | None = None,
) -> Job:
    """Queue it. The job's notes are the dense model's held-out perplexity, then every `Step`; its result is the Run.

    sampled: windows to sample from the dense model and train on instead of the calibration text; 0: none. names: what
    the person calls components, by `layer.head.component`.

    Cancelling ends the training; what is best so far is measured and kept all the same.
    """

    def work(job: Job) -> Generator[Progress, None, Run | None]:
        check_writable(runs_folder())
        pair = yield from workspace.loading()
        text, held = yield from texts(workspace, sampled, settings.seed)
        trainer = Training(pair, workspace.lost, selection, text, held, settings)
        job.notes.append(perplexity((yield from measure(pair.dense, held))))
        pruned = perplexity((yield from measure(pair.pruned, held)))
        for step in trainer.steps():
            job.notes.append(step)
            yield Progress(f"step {step.step} of {settings.steps}", step.step, settings.steps)
            if job.stopping:
                break
        if not trainer.history:
            return None
        judged = trainer.judged()
        if judged is not None:
            job.notes[-1] = judged
        held_out = {"dense": job.notes[0].figures(), "pruned": pruned.figures()}
        source = {
            "source": SELF if sampled else workspace.recipe.calibration,
            "windows": len(text),
            "length": text.ids.shape[1],
        }
        given: dict[str, Any] = {"calibration": source} | ({"names": names} if names else {})
        return (yield from _kept(workspace, trainer.result(), name, given, held_out, job.stopping))

    device = workspace.recipe.loading.resolved_device()
    return jobs.submit(f"Restoring {name}", owner, device, work, keeps_on_cancel=True)


def texts(workspace: Workspace, sampled: int, seed: int) -> Generator[Progress, None, tuple[Tokens, Tokens]]:
    """(to train on, held out): of the calibration text, or of `sampled` windows that the dense model writes."""
    if not sampled:
        return workspace.training, workspace.held_out
    pair, length = (yield from workspace.loading()), workspace.findings.calibration.ids.shape[1]
    return split_held_out((yield from sampled_windows(pair.dense, pair.tokenizer, length, sampled, seed)))


def _kept(
    workspace: Workspace,
    restoration: Restoration,
    name: str,
    given: dict[str, Any],
    held_out: dict[str, Any],
    stopped: bool,
) -> Generator[Progress, None, Run]:
    pair, found = (yield from workspace.loading()), workspace.findings
    evaluation = found.evaluation
    restored = yield from measure(
        pair.pruned, evaluation, within=lambda: compensated(pair.pruned, restoration.compensation)
    )
    measured = yield from lane.against_both(workspace, restored)
    about: dict[str, Any] = {
        "dense": found.dense_name,
        "pruned": found.pruned_name,
        "pruning": getattr(pair.pruned.config, "pruning", None),
        "fingerprint": fingerprint(pair.pruned),
        "recipe": recipe_written(workspace.recipe),
        "evaluation": f"the evaluation text, {workspace.recipe.evaluation}",
        **given,
        "held_out": held_out,
        "parameters": found.dense_size.parameters,
        "stopped": stopped,
        "figures": {
            "dense": measured.dense.figures(),
            "pruned": measured.pruned.figures(),
            "restored": measured.picked.figures(),
            "gain": {"nats": measured.gain.nats, "stderr": measured.gain.stderr},
            "recovered_share": measured.share if measured.share == measured.share else None,
            "share_stderr": measured.share_error if measured.share == measured.share else None,
        },
    }
    return save_run(restoration, found.geometry, name, about, pruned=pair.pruned)
