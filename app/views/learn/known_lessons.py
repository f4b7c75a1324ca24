"""What the steps show of the embedded pair as it comes, from a file beside it: there at once, whatever is computed on
this server. `tests/benchmarks/lessons.py` wrote it with what the page itself computes with (`app/work/lessons.py`)."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import torch

from restorelcc.evaluation.comparison import Distance, Share
from restorelcc.evaluation.perplexity import Difference, Perplexity
from restorelcc.models.loading import DEMO_FOLDER

from ...work.lessons import Damage, Facts, Lesson, MergeCheck, Plane
from ...work.live import Measured

LESSONS = DEMO_FOLDER / "lessons.json"
WHOLE: dict[str, Any] = {
    "dense": Perplexity,
    "pruned": Perplexity,
    "restored": Perplexity,
    "gain": Difference,
    "lost": Difference,
    "recovered": Share,
    "pruned_distance": Distance,
    "restored_distance": Distance,
    "nearer": Share,
}
"""Of what class each part of a measurement is."""


@cache
def _file() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(LESSONS.read_text(encoding="utf-8"))
    return found


@cache
def facts() -> Facts:
    """Of the pair itself."""
    found = _file()["facts"]
    layers, heads, components = found["shape"]
    return Facts(
        shape=(layers, heads, components),
        parameters=found["parameters"],
        pruned_name=found["pruned_name"],
        **{name: torch.tensor(found[name]).double() for name in ("relative_error", "constant_share", "energy")},
        plane=_plane,
    )


def _plane(head: tuple[int, int]) -> Plane:
    found = _file()["facts"]["plane"]["{}.{}".format(*head)]
    dense, pruned, *middles = (torch.tensor(rows) for rows in (found["dense"], found["pruned"], *found["middles"]))
    return Plane(dense, pruned, found["held"], (middles[0], middles[1]))


def damage(label: str) -> Damage:
    """What pruning to a sparsity does."""
    found = _file()["harm"]["at"][label]
    return Damage(
        torch.tensor(found["relative_error"]).double(),
        Perplexity(**found["dense"]),
        Perplexity(**found["pruned"]),
        Difference(**found["lost"]),
        found["sparsity"],
    )


def continuations(label: str) -> tuple[str, str]:
    """How the dense model goes on from the prompt, and how the one pruned to a sparsity does; likeliest tokens."""
    harm = _file()["harm"]
    return harm["dense"], harm["at"][label]["text"]


def put_back(scope: str, head: tuple[int, int], count: int) -> Measured | None:
    """What the first components do untrained; None where that is of another head than the one it is known of."""
    if count == 0 or (scope == "head" and head != facts().plainest):
        return None
    return _measured(_file()["put_back"][scope][str(count)])


def nothing_put_back() -> Measured:
    """The pruned model, beside itself."""
    any_other = _measured(_file()["put_back"]["all"]["1"])
    same = {"restored": any_other.pruned, "restored_distance": any_other.pruned_distance}
    nothing = {"gain": Difference(0.0, 0.0), "recovered": Share(0.0, 0.0), "nearer": Share(0.0, 0.0)}
    return Measured(**vars(any_other) | same | nothing)


def lesson(loss: str) -> Lesson:
    """What the short training against a teacher came to."""
    found = _file()["trained"][loss]
    return Lesson(
        tuple(found["steps"]),
        tuple(found["held_out"]),
        found["dense"],
        _measured(found["measured"]),
        (found["distance"][0], found["distance"][1]),
        Difference(**found["closer"]),
    )


def merge_check(factor: float) -> MergeCheck:
    """Hook against bias, on part of the vocabulary."""
    found = dict(_file()["merged"][f"{factor:g}"])
    logits = {name: torch.tensor(found.pop(name)) for name in ("plain", "hooked", "folded")}
    return MergeCheck(**found | logits | {"zeros": tuple(found["zeros"])})


def _measured(found: dict[str, Any]) -> Measured:
    parts = {name: kind(**found[name]) for name, kind in WHOLE.items()}
    return Measured(**parts, windows=found["windows"])
