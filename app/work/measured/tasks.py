"""The dense, the pruned and the restored model, asked the same questions."""

from __future__ import annotations

from collections.abc import Generator, Hashable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restorelcc.artifacts.export import adapter_fits
from restorelcc.artifacts.runs import Run, keep_measured, load_run
from restorelcc.compensation.interface import compensated
from restorelcc.errors import SettingError
from restorelcc.evaluation.comparison import Within
from restorelcc.evaluation.tasks.harness import answered, prepared
from restorelcc.evaluation.tasks.rows import Questions, questions, questions_in
from restorelcc.progress import Progress
from restorelcc.text.files import json_lines
from restorelcc.workspace import Workspace

from .. import allowed
from ..jobs import Job, jobs

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Figures = list[dict[str, Any]]
"""As `TaskResult.figures` has them, a task each."""


@dataclass(frozen=True)
class Asked:
    """What a visitor asks for."""

    known: tuple[str, ...]
    """Names of tasks."""
    file: str
    """Of questions, on the server; empty for none."""
    uploaded: tuple[str, bytes] | None
    """A file's name, and what is in it."""
    limit: int
    """Questions of each at most."""


def key(workspace: Workspace, run: Run) -> Hashable:
    """Of the job, so that whoever looks at the run sees it."""
    return ("tasks", workspace.recipe, run.folder.name)


def submit(workspace: Workspace, run: Run, asked: Asked, owner: str) -> Job:
    """Queue it. Raises SettingError for what this server does not do, TextError for rows that are no questions."""
    allowed.check_tasks(asked.known, asked.file)
    given = _given(asked)
    adapter, device = run.adapter(), workspace.recipe.loading.resolved_device()

    def work(job: Job) -> Generator[Progress, None, Figures]:
        pair = yield from workspace.loading()
        adapter_fits(adapter, pair.pruned)
        yield Progress("reading the questions", 0, 1)
        models: dict[str, tuple[PreTrainedModel, Within]] = {
            "dense": (pair.dense, nullcontext),
            "pruned": (pair.pruned, nullcontext),
            "restored": (pair.pruned, partial(compensated, pair.pruned, adapter.compensation)),
        }
        results = yield from answered(models, pair.tokenizer, prepared(given), asked.limit)
        figures = [result.figures() for result in results]
        if allowed.may_change(run, job.owner):
            keep_measured(run, {"tasks": together(known_of(load_run(run.folder)), figures)})
        return figures

    return jobs.submit(f"Asking {run.name}", owner, device, work, key(workspace, run))


def known_of(run: Run) -> Figures:
    """What is kept with a run."""
    kept: Figures = run.config.get("tasks") or []
    return kept


def together(before: Figures, now: Figures) -> Figures:
    """Of each task the newest."""
    names = {row["task"] for row in now}
    return [*(row for row in before if row["task"] not in names), *now]


def _given(asked: Asked) -> Sequence[str | Questions]:
    """All that is to be asked, its rows read."""
    given: list[str | Questions] = list(asked.known)
    if asked.file:
        given.append(questions_in(asked.file))
    if asked.uploaded is not None:
        name, content = asked.uploaded
        given.append(questions(name, json_lines(content, Path(name))))
    if not given:
        raise SettingError("Choose a task, or give a file of questions.")
    return given
