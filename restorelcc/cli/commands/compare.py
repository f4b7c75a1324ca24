"""The command `compare`: a restoration against what else repairs a pruned model, on equal budget."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from math import isnan
from pathlib import Path
from typing import Any

import pandas as pd

from ...artifacts.experiments import Experiment, experiment
from ...artifacts.findings import Recipe
from ...errors import SettingError
from ...models.loading import DEMO
from ...progress import Progress
from ...progress_bar import watched
from ...registry import chosen
from ...restoration.baselines.comparing import Failure, Outcome, compared, trainings
from ...restoration.baselines.methods import METHODS
from ...restoration.training import Stepped
from ...storage.folders import check_csv, write_csv
from ...workspace import open_workspace, to_compare
from ..console import note, say, show_json, show_table, shown
from ..tracking import Log, came_to, check_tracker, logged


@dataclass(frozen=True)
class Budget:
    """Of each method."""

    steps: int
    batch: int
    seeds: int


@dataclass(frozen=True)
class Asked:
    """What is to be compared."""

    recipe: Recipe
    methods: str
    """Names with commas between them; empty: all."""
    budget: Budget
    csv: Path | None
    log_with: str = ""
    """The tracker that every training is handed to, of `tracking.TRACKERS`; empty: none."""


def names(methods: str) -> list[str]:
    """Of a list with commas, each once. Raises SettingError for one that is not known."""
    listed = [name.strip() for name in methods.split(",") if name.strip()] or list(METHODS)
    return [chosen(name, METHODS, "Method").name for name in dict.fromkeys(listed)]


def compare(asked: Asked, as_json: bool) -> None:
    """Every method with every seed; what is done when it ends for whatever reason is told."""
    check_csv(asked.csv)
    check_tracker(asked.log_with)
    methods, budget = names(asked.methods), asked.budget
    workspace = watched(open_workspace(asked.recipe))
    pair, findings = workspace.pair(), workspace.findings
    for remark in (*workspace.remarks(), *findings.notes):
        note(remark)
    task, texts = to_compare(workspace, pair, budget.steps, budget.batch)
    rows: list[Outcome | Failure] = []
    try:
        with logged(asked.log_with, f"comparison of {datetime.now():%Y-%m-%d %H.%M.%S}", note) as log:
            watched(_collected(compared(task, methods, budget.seeds, texts), rows, asked.csv, log))
    except KeyboardInterrupt:
        if not rows:
            raise
    finally:
        if rows:
            found = experiment(asked.recipe, asdict(budget), rows, trainings(methods, budget.seeds))
            if as_json:
                show_json(found.facts)
            else:
                _tell(found, rows, trainings(methods, budget.seeds))


def _collected(
    work: Iterator[Progress | Outcome | Failure], rows: list[Outcome | Failure], csv: Path | None, log: Log
) -> Generator[Progress, None, None]:
    """Into `rows` as they come, into the table, and into the tracker: a run a training, and one a method that is solved
    for."""
    for step in work:
        if isinstance(step, Progress):
            done = step.detail
            if isinstance(done, Stepped) and isinstance(done.of, tuple):
                log.steps(_run_name(*done.of), done)
            yield step
            continue
        rows.append(step)
        _log(step, log)
        if csv is not None:
            write_csv(pd.json_normalize([row.figures() for row in rows], sep="."), csv)


def _run_name(method: str, seed: int) -> str:
    """What a tracker calls one method with one seed."""
    return f"{method}, seed {seed}" if METHODS[method].trains else method


def _log(row: Outcome | Failure, log: Log) -> None:
    """What came of a method, into its run; one that failed has what it had."""
    run = _run_name(row.method, row.seed)
    if isinstance(row, Failure):
        log.end({})
        return
    if not log.knows(run):  # It took no steps.
        log.begin(run, {"method": row.method})
    kept = row.kept_zeros / row.zeros if row.zeros else None
    facts = {"trained_parameters": row.trained, "seconds": row.seconds, "peak_bytes": row.peak_bytes}
    log.end(came_to(row.there, row.elsewhere, **facts, zeros_kept=kept))


def _tell(found: Experiment, rows: list[Outcome | Failure], asked: int) -> None:
    """What is done, for people: a row a method, means over seeds."""
    done = [row for row in rows if isinstance(row, Outcome)]
    if done:
        ends, table = done[0].there, found.table().to_dict(orient="records")
        say(f"{found.text('there')}, {ends.windows} windows: dense {shown(ends.dense)}, pruned {shown(ends.pruned)}")
        steps, batch, seeds = (found.budget(name) for name in ("steps", "batch", "seeds"))
        title = f"{steps} steps of {batch} windows, means of {seeds} seeds"
        columns = ["", "recovered", "nearer", "recovered elsewhere", "nearer elsewhere"]
        shares = ("recovered", "nearer", "elsewhere", "nearer_elsewhere")
        show_table(title, columns, [[row["title"], *(_share(row, name) for name in shares)] for row in table])
        columns = ["", "values", "seconds", "MB", "zeros kept", "at inference"]
        show_table("What it takes", columns, [_cost(row) for row in table])
        say(
            "± is the standard error of one restoration over windows, and behind it, in brackets, that of the mean "
            "over seeds. Recovered: of the log-likelihood that pruning lost. Nearer: of the distance to the dense "
            "model, KL of the next token. Zeros kept: of the pruned model's, once all is in its weights."
        )
    for row in rows:
        if isinstance(row, Failure):
            say(f"{METHODS[row.method].title}, seed {row.seed}: {row.reason}")
    if found.stopped:
        say(f"Stopped after {len(rows)} of {asked}.")


def _share(row: dict[Any, Any], name: str) -> str:
    if isnan(row[name]):
        return "–"
    over = "" if isnan(row[f"{name}_seeds"]) else f" ({100 * row[f'{name}_seeds']:.1f})"
    return f"{100 * row[name]:.1f} ± {100 * row[f'{name}_stderr']:.1f}{over} %"


def _cost(row: dict[Any, Any]) -> list[str]:
    """(method, numbers trained, seconds, peak memory, zeros kept, cost of a forward pass)."""
    beside = f"{row['beside']:,} products a token, or dense" if row["beside"] else "dense where zeros are gone"
    return [
        row["title"],
        f"{row['trained']:,}",
        f"{row['seconds']:.0f}",
        "" if isnan(row["peak"]) else f"{row['peak'] / 1e6:.0f}",
        "–" if isnan(row["kept"]) else f"{row['kept']:.0%}",
        "free" if row["free"] else beside,
    ]


def recipe_of(model: str, dense: str | None, pruned: str | None, **rest: Any) -> Recipe:
    """Of a pair by two names, or of the embedded one. Raises SettingError for half a pair."""
    if (dense is None) != (pruned is None):
        raise SettingError("Half a pair: give both --dense and --pruned, or neither for the embedded pair.")
    if model != "demo":
        raise SettingError(f"'{model}' is no pair: give demo, or a pair by --dense and --pruned.")
    if dense is None or dense == pruned == DEMO:
        return Recipe(**rest)
    return Recipe(dense=dense, pruned=pruned, **rest)
