"""`evaluate --tasks`: how many questions a model answers right, beside the dense model and with what is put back."""

from __future__ import annotations

from ....evaluation.tasks.harness import answered, prepared
from ....evaluation.tasks.known import METRICS
from ....evaluation.tasks.results import Accuracy, TaskResult
from ....evaluation.tasks.rows import asked_for
from ....models.loading import Loading
from ....progress_bar import watched
from ...console import say, show_json, show_table
from .states import Named, opened


def ask(named: Named, tasks: str, limit: int | None, loading: Loading, as_json: bool) -> None:
    """Every task of a list with commas, of every model that is named. limit: questions of each, the first."""
    ready = prepared(asked_for(tasks))  # before models are loaded, which takes longer
    models, tokenizer = opened(named, loading)
    results = watched(answered(models, tokenizer, ready, limit))
    if as_json:
        show_json({"limit": limit, "tasks": [result.figures() for result in results]})
        return
    _tell(results, list(models))


def _tell(results: list[TaskResult], models: list[str]) -> None:
    columns = ["", "questions", "chance", *models]
    show_table("Answered right, without examples", columns, [_row(result, models) for result in results], names=True)
    pairs = [_difference(result, *pair) for result in results for pair in result.compared()]
    if pairs:
        show_table("Differences, by question", ["", "", "points", "gained", "lost", "p"], pairs, names=True)
    used = dict.fromkeys(result.metric for result in results)
    say("; ".join(f"{metric}: {METRICS[metric]}" for metric in used) + ", as lm-eval scores it. ± is a standard error.")
    if pairs:
        say("p: McNemar's exact test of gained against lost, one task at a time.")
    if any(result.accuracy(model).within_chance for result in results for model in models):
        say("* within chance: no further from guessing than 2 standard errors of guessing.")


def _row(result: TaskResult, models: list[str]) -> list[str]:
    shares = [_share(result.accuracy(model)) for model in models]
    return [f"{result.task} ({result.metric})", f"{result.questions:,}", f"{result.chance:.1%}", *shares]


def _share(found: Accuracy) -> str:
    return f"{100 * found.value:.1f} ± {100 * found.stderr:.1f}{' *' if found.within_chance else ''}"


def _difference(result: TaskResult, model: str, against: str) -> list[str]:
    found = result.difference(model, against)
    points = f"{100 * found.value:+.1f} ± {100 * found.stderr:.1f}"
    return [result.task, f"{model} − {against}", points, str(found.gained), str(found.lost), f"{found.p:.2g}"]
