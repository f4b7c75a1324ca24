"""Pairs that the pair in view can be compared with: those that were opened, those of runs, and the same model pruned
otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from restorelcc.artifacts.findings import NUMBERS, Recipe, recipe_written
from restorelcc.artifacts.runs import list_runs
from restorelcc.errors import RestoreLCCError
from restorelcc.pruning.layerwise import Pruning
from restorelcc.pruning.methods import METHODS, narrows
from restorelcc.workspace import pruned_name

from ...values import run_facts
from ...values.words import short_name, text_name
from .. import open_pairs

SHARES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""Sparsities that are offered of a model that is pruned here."""
MOST = 30
OF_MODELS = ("dense", "pruned", "method", "prune", "allocation")
"""What of a recipe as text its name says."""


def others(recipe: Recipe) -> list[Recipe]:
    """Pairs beside which one of this recipe may be seen, those of the same dense model first, each once."""
    listed = dict.fromkeys([*open_pairs.seen(), *_of_runs(), *_pruned_otherwise(recipe)])
    listed.pop(recipe, None)
    return sorted(listed, key=lambda other: other.dense != recipe.dense)[:MOST]


def named(recipe: Recipe, beside: Recipe) -> str:
    """What a pair is called where another one stands beside it: all that it has of its own."""
    name = short_name(pruned_name(recipe))
    if recipe.dense != beside.dense:
        name = f"{short_name(recipe.dense)} → {name}"
    own, other = recipe_written(recipe), recipe_written(beside)
    differ = [key for key in own if key not in OF_MODELS and own[key] != other.get(key)]
    return ", ".join(
        [name, *(f"{own[key]} {key}" if key in NUMBERS else f"{key} {text_name(own[key])}" for key in differ)]
    )


def _of_runs() -> Iterator[Recipe]:
    with suppress(RestoreLCCError):
        for run in list_runs():
            recipe = run_facts.recipe_of(run)
            if recipe is not None:
                yield recipe


def _pruned_otherwise(recipe: Recipe) -> Iterator[Recipe]:
    """Another share by the same method, another method of the same share; nothing of a pair of two given models."""
    if recipe.pruned is not None:
        return
    for share in SHARES:
        yield replace(recipe, pruning=replace(recipe.pruning, pattern=None, sparsity=share))
    if not narrows(recipe.pruning.method):
        for method in METHODS:
            if not narrows(method):
                yield replace(recipe, pruning=replace(recipe.pruning, method=method))
        if recipe.pruning.allocation == Pruning.allocation:
            yield replace(recipe, pruning=replace(recipe.pruning, pattern="2:4"))
