"""Which tasks are known by name: what lm-eval calls them, and which of its figures papers tell."""

from __future__ import annotations

from dataclasses import dataclass

from ...registry import Choice, table


@dataclass(frozen=True, kw_only=True)
class KnownTask(Choice):
    """A task of the hub, asked as lm-eval asks the one of that name, without examples before it."""

    metric: str
    """Its figure that is told first: `acc`, the likeliest answer, or `acc_norm`, the likeliest per character."""
    folder: str
    """Where lm-eval keeps it. Its index of all folders takes most of a minute to make."""


def _task(name: str, title: str, brief: str, metric: str, folder: str) -> KnownTask:
    return KnownTask(name=name, title=title, brief=brief, metric=metric, folder=folder)


TASKS = table(
    _task("boolq", "BoolQ", "yes or no, after a passage", "acc", "super_glue/boolq"),
    _task("rte", "RTE", "whether one sentence follows from another", "acc", "glue/rte"),
    _task("hellaswag", "HellaSwag", "how a scene goes on, of 4", "acc_norm", "hellaswag"),
    _task("winogrande", "WinoGrande", "whom a pronoun means, of 2", "acc", "winogrande"),
    _task("arc_easy", "ARC, easy", "science questions for schools, of 4", "acc_norm", "arc"),
    _task("arc_challenge", "ARC, challenge", "the harder ones of these", "acc_norm", "arc"),
    _task("openbookqa", "OpenBookQA", "elementary science, of 4", "acc_norm", "openbookqa"),
    _task("piqa", "PIQA", "how things are done, of 2", "acc_norm", "piqa"),
    _task("blimp", "BLiMP", "which of 2 sentences is grammatical, 67 kinds together", "acc", "blimp"),
)
METRICS = {
    "acc": "the likeliest answer",
    "acc_norm": "the likeliest answer per character",
}
"""How an answer is chosen, in words."""
