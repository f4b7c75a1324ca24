"""A recipe as a few words of text, for links and for the runs that are kept: what is not at its default.

Permission to run foreign code is never among them: neither a link nor a run grants it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

from restorelcc.artifacts.findings import Recipe
from restorelcc.errors import RestoreLCCError, SettingError, shortened
from restorelcc.models.loading import Loading
from restorelcc.pruning.layerwise import Pruning

TEXTS = ("dense", "pruned", "calibration", "evaluation", "elsewhere")
NUMBERS = ("windows", "captured", "evaluated", "length")


def recipe_written(recipe: Recipe) -> dict[str, str]:
    """A recipe, without what is at its default."""
    plain = Recipe()
    link = {
        name: str(getattr(recipe, name))
        for name in (*TEXTS, *NUMBERS)
        if getattr(recipe, name) != getattr(plain, name) and getattr(recipe, name) is not None
    }
    if recipe.pruned is None and recipe.pruning != plain.pruning:
        link["method"] = recipe.pruning.method
        link["prune"] = recipe.pruning.pattern or str(recipe.pruning.sparsity)
        if recipe.pruning.allocation != plain.pruning.allocation:
            link["allocation"] = recipe.pruning.allocation
    if recipe.in_order:
        link["in_order"] = "1"
    for name in ("device", "dtype"):
        if getattr(recipe.loading, name) != getattr(plain.loading, name):
            link[name] = getattr(recipe.loading, name)
    if recipe.loading.revision:
        link["revision"] = recipe.loading.revision
    return link


def recipe_read(link: Mapping[str, str]) -> Recipe:
    """What `recipe_written` wrote. Raises SettingError."""
    try:
        given: dict[str, Any] = {name: link[name] for name in TEXTS if name in link}
        given |= {name: int(link[name]) for name in NUMBERS if name in link}
        loading = Loading(link.get("device", "auto"), link.get("dtype", "auto"), link.get("revision"))
        recipe = Recipe(**given, in_order=link.get("in_order") == "1", loading=loading)
        amount = link.get("prune")
        if amount is None:
            return recipe
        method = link.get("method", recipe.pruning.method)
        layers = link.get("allocation", recipe.pruning.allocation)
        share = {"pattern": amount} if ":" in amount else {"sparsity": float(amount)}
        return replace(recipe, pruning=Pruning(method, allocation=layers, **share))
    except (ValueError, TypeError) as error:
        if isinstance(error, RestoreLCCError):
            raise
        raise SettingError(f"The link cannot be read: {error}. The embedded pair is shown instead.") from error


def recipe_in_a_word(recipe: Recipe) -> str:
    """A recipe as one parameter of a link that is of another pair, such as `dense=demo&prune=0.5`; never empty."""
    return urlencode({"dense": recipe.dense} | recipe_written(recipe))


def recipe_of_a_word(text: str) -> Recipe:
    """What `recipe_in_a_word` wrote. Raises SettingError."""
    link = dict(parse_qsl(text, keep_blank_values=True))
    if "dense" not in link:
        raise SettingError(f"'{shortened(text, 40)}' names no pair.")
    return recipe_read(link)
