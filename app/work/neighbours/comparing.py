"""Methods held against each other as a job, and how long one takes. No screen in here."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from datetime import UTC, datetime

from restorelcc.artifacts.experiments import (
    Experiment,
    experiment,
    experiments_folder,
    keep_experiment,
    list_experiments,
    new_file,
    shipped_experiments,
)
from restorelcc.artifacts.findings import Recipe
from restorelcc.errors import WriteError
from restorelcc.progress import Progress
from restorelcc.restoration.baselines.comparing import Failure, Outcome, compared, trainings
from restorelcc.restoration.baselines.methods import METHODS
from restorelcc.storage.folders import check_writable
from restorelcc.workspace import Workspace, pruned_name, to_compare

from ...values.words import short_name
from .. import allowed
from ..jobs import Job, jobs
from ..training import Unkept

BATCH = 4  # windows a step, as the command has it
PARTS = 1_000  # that the work of one method is counted in


@dataclass(frozen=True)
class Plan:
    """What is to be compared, and the budget of each."""

    methods: tuple[str, ...]
    steps: int
    seeds: int

    @property
    def trained(self) -> int:
        """Steps of all trainings together."""
        return self.steps * self.seeds * sum(METHODS[name].trains for name in self.methods)


def start(workspace: Workspace, plan: Plan, owner: str) -> Job:
    """Queue it, as one job; whoever has one under way on this pair gets that. What is known of it so far is its note,
    and a file that stays when it is cancelled, or the server ends."""

    def work(job: Job) -> Generator[Progress, None, None]:
        allowed.check_training(plan.trained)
        check_writable(experiments_folder())
        pair, recipe = (yield from workspace.loading()), workspace.recipe
        task, texts = to_compare(workspace, pair, plan.steps, BATCH)
        budget = {"steps": plan.steps, "batch": BATCH, "seeds": plan.seeds}
        names = map(short_name, (recipe.dense, pruned_name(recipe)))
        file, begun = new_file(" ".join(names)), datetime.now(UTC).isoformat()
        rows: list[Outcome | Failure] = []
        asked, part = trainings(plan.methods, plan.seeds), 0
        for step in compared(task, plan.methods, plan.seeds, texts):
            if isinstance(step, Progress):
                part = max(part, PARTS * step.done // max(1, step.total))
                what = f"{min(len(rows) + 1, asked)} of {asked}, {step.what}"
                yield Progress(what, PARTS * len(rows) + part, PARTS * asked)
            else:
                rows.append(step)
                part = 0
                found = experiment(recipe, budget, rows, asked, created=begun, owner=owner)
                try:
                    found = keep_experiment(found, file)
                except WriteError as error:  # What took long to compute is there to be seen in any case.
                    job.notes.append(Unkept(str(error)))
                job.notes.append(found)

    title = f"Comparing {len(plan.methods)} methods"
    return jobs.submit(title, owner, workspace.recipe.loading.resolved_device(), work, key=_key(workspace, owner))


def newest(workspace: Workspace, owner: str) -> Job | None:
    """The owner's newest comparison on this pair: under way, or over and remembered."""
    return jobs.find(_key(workspace, owner))


def _key(workspace: Workspace, owner: str) -> tuple[object, ...]:
    return ("neighbours", workspace.recipe, owner)


def so_far(job: Job) -> Experiment | None:
    """What is known of a comparison; None before the first method is done."""
    return next((note for note in reversed(job.notes) if isinstance(note, Experiment)), None)


def unkept(job: Job) -> str:
    """Why what is known could not be put on disk; empty where it could."""
    return next((note.reason for note in reversed(job.notes) if isinstance(note, Unkept)), "")


def there() -> tuple[list[Experiment], list[str]]:
    """(comparisons that are kept, newest first, and those that come along; what is wrong with files that are none)."""
    kept, wrong = list_experiments()
    return [*kept, *shipped_experiments()], wrong


def is_of(found: Experiment, recipe: Recipe) -> bool:
    """Whether it was made on the pair that this recipe opens."""
    return found.pair == (recipe.dense, recipe.pruned or str(recipe.pruning))


def seconds(plan: Plan, before: Experiment) -> float | None:
    """About how long it will take by what an earlier comparison took, measuring left out; None where that says nothing
    of a method."""
    took: dict[str, float] = {row["method"]: row["seconds"] for row in before.table().to_dict(orient="records")}
    if not set(plan.methods) <= took.keys():
        return None
    share = plan.steps / before.budget("steps")
    return sum(took[name] * share * plan.seeds if METHODS[name].trains else took[name] for name in plan.methods)
