"""The command `compare`: a restoration against what else repairs a pruned model, on equal budget."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pandas as pd

from ...artifacts.findings import Recipe
from ...errors import SettingError
from ...evaluation.comparison import Share
from ...progress import Progress
from ...progress_bar import watched
from ...registry import chosen
from ...restoration.baselines.comparing import Failure, Outcome, compared
from ...restoration.baselines.methods import METHODS
from ...restoration.baselines.rival import Task
from ...selection.picks import everything
from ...storage.folders import check_csv, write_csv
from ...workspace import open_workspace, second_text
from ..console import note, say, show_json, show_table, shown


@dataclass(frozen=True)
class Asked:
    """What is to be compared, and the budget of each method."""

    recipe: Recipe
    methods: str
    """Names with commas between them; empty: all."""
    steps: int
    batch: int
    seeds: int
    csv: Path | None


def names(methods: str) -> list[str]:
    """Of a list with commas, each once. Raises SettingError for one that is not known."""
    listed = [name.strip() for name in methods.split(",") if name.strip()] or list(METHODS)
    return [chosen(name, METHODS, "Method").name for name in dict.fromkeys(listed)]


def compare(asked: Asked, as_json: bool) -> None:
    """Every method with every seed; what is done when it ends for whatever reason is told."""
    check_csv(asked.csv)
    methods = names(asked.methods)
    workspace = watched(open_workspace(asked.recipe))
    pair, findings = workspace.pair(), workspace.findings
    for remark in (*workspace.remarks(), *findings.notes):
        note(remark)
    texts = {"there": findings.evaluation}
    elsewhere = second_text(workspace, pair) if asked.recipe.elsewhere else None
    if elsewhere is not None:
        texts["elsewhere"] = elsewhere
    picks = everything(workspace.lost.shape).within(workspace.lost.present)
    task = Task(pair, workspace.lost, picks, workspace.training, workspace.held_out, asked.steps, asked.batch)
    rows: list[Outcome | Failure] = []
    try:
        watched(_collected(compared(task, methods, asked.seeds, texts), rows, asked.csv))
    except KeyboardInterrupt:
        if not rows:
            raise
    finally:
        if rows:
            stopped = len(rows) < _count(methods, asked.seeds)
            (_tell_json if as_json else _tell)(rows, asked, stopped)


def _count(methods: list[str], seeds: int) -> int:
    """How many trainings and solutions there are to be."""
    return sum(seeds if METHODS[name].trains else 1 for name in methods)


def _collected(
    work: Iterator[Progress | Outcome | Failure], rows: list[Outcome | Failure], csv: Path | None
) -> Generator[Progress, None, None]:
    """Into `rows` as they come, and into the table."""
    for step in work:
        if isinstance(step, Progress):
            yield step
            continue
        rows.append(step)
        if csv is not None:
            write_csv(pd.json_normalize([row.figures() for row in rows], sep="."), csv)


def _tell_json(rows: list[Outcome | Failure], asked: Asked, stopped: bool) -> None:
    """What is done, for programs."""
    recipe = asked.recipe
    texts = {"calibration": recipe.calibration, "there": recipe.evaluation, "elsewhere": recipe.elsewhere or None}
    budget = {"steps": asked.steps, "batch": asked.batch, "seeds": asked.seeds}
    pair = {"dense": recipe.dense, "pruned": recipe.pruned or str(recipe.pruning)}
    found = [row.figures() for row in rows]
    show_json({"pair": pair, "texts": texts, "budget": budget, "results": found, "stopped": stopped})


def _tell(rows: list[Outcome | Failure], asked: Asked, stopped: bool) -> None:
    """What is done, for people: a row a method, means over seeds."""
    done = [row for row in rows if isinstance(row, Outcome)]
    recipe, grouped = asked.recipe, _by_method(done)
    if done:
        ends = done[0].there
        say(f"{recipe.evaluation}, {ends.windows} windows: dense {shown(ends.dense)}, pruned {shown(ends.pruned)}")
        title = f"{asked.steps} steps of {asked.batch} windows, means of {asked.seeds} seeds"
        columns = ["", "recovered", "nearer", "recovered elsewhere", "nearer elsewhere"]
        show_table(title, columns, [_judgement(name, group) for name, group in grouped.items()])
        columns = ["", "values", "seconds", "MB", "zeros kept", "at inference"]
        show_table("What it takes", columns, [_cost(name, group) for name, group in grouped.items()])
        say(
            "± is the standard error of one restoration over windows, and behind it, in brackets, that of the mean "
            "over seeds. Recovered: of the log-likelihood that pruning lost. Nearer: of the distance to the dense "
            "model, KL of the next token. Zeros kept: of the pruned model's, once all is in its weights."
        )
    for row in rows:
        if isinstance(row, Failure):
            say(f"{METHODS[row.method].title}, seed {row.seed}: {row.reason}")
    if stopped:
        say(f"Stopped after {len(rows)} of {_count(names(asked.methods), asked.seeds)}.")


def _by_method(rows: list[Outcome]) -> dict[str, list[Outcome]]:
    """In the order in which they were first done."""
    grouped: dict[str, list[Outcome]] = {}
    for row in rows:
        grouped.setdefault(row.method, []).append(row)
    return grouped


def _judgement(name: str, group: list[Outcome]) -> list[str]:
    """(method, recovered and nearer there, the same elsewhere)."""
    shares = [row.there for row in group], [row.elsewhere for row in group if row.elsewhere is not None]
    return [
        METHODS[name].title,
        *(_mean([share for share in kind if share.known]) for text in shares
          for kind in ([each.recovered for each in text], [each.nearer for each in text])),
    ]  # fmt: skip


def _mean(shares: list[Share]) -> str:
    if not shares:
        return "–"
    over = f" ({100 * stdev(share.value for share in shares) / len(shares) ** 0.5:.1f})" if len(shares) > 1 else ""
    value, error = (mean(getattr(share, part) for share in shares) for part in ("value", "stderr"))
    return f"{100 * value:.1f} ± {100 * error:.1f}{over} %"


def _cost(name: str, group: list[Outcome]) -> list[str]:
    """(method, numbers trained, seconds, peak memory, zeros kept, cost of a forward pass)."""
    first, peaks = group[0], [row.peak_bytes for row in group if row.peak_bytes is not None]
    beside = f"{first.beside:,} products a token, or dense" if first.beside else "dense where zeros are gone"
    return [
        METHODS[name].title,
        f"{first.trained:,}",
        f"{mean(row.seconds for row in group):.0f}",
        f"{max(peaks) / 1e6:.0f}" if peaks else "",
        f"{first.kept_zeros / first.zeros:.0%}" if first.zeros else "–",
        "free" if first.free else beside,
    ]


def recipe_of(model: str, dense: str | None, pruned: str | None, **rest: Any) -> Recipe:
    """Of a pair by two names, or of the embedded one. Raises SettingError for half a pair."""
    if (dense is None) != (pruned is None):
        raise SettingError("Half a pair: give both --dense and --pruned, or neither for the embedded pair.")
    if model != "demo":
        raise SettingError(f"'{model}' is no pair: give demo, or a pair by --dense and --pruned.")
    return Recipe(**rest) if dense is None else Recipe(dense=dense, pruned=pruned, **rest)
