"""A pair as the app opens it: by a recipe, which decides what its runs are trained on and judged by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import typer

from ...artifacts.findings import Recipe, recipe_read, recipe_written
from ...artifacts.sweep_runs import JUDGED_BY
from ...errors import LoadError
from ...foreign import foreign
from ...models.loading import DEMO
from ...text.sources import SELF
from ..choices import is_given
from .files import READ, in_all, part

OPENING = ("dense", "pruned", "calibration", "windows", "length", "elsewhere", "device", "dtype")
"""Options that say of what a pair and its texts are."""


@dataclass(frozen=True)
class InApp:
    """How the app opened the pair of a run, and made the run."""

    recipe: Recipe
    sampled: int = 0
    """Windows that the dense model wrote to be trained on; 0: the calibration text."""
    by_held_out: bool = False
    """Judged by the held-out windows alone, as points of a sweep are; else by the evaluation text and the second one.
    """

    def written(self) -> dict[str, Any]:
        """As JSON keeps it."""
        return {"recipe": recipe_written(self.recipe), "sampled": self.sampled, "by_held_out": self.by_held_out}

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> InApp:
        """What `written` gave. Raises LoadError, SettingError."""
        with foreign(lambda reason: LoadError(f"How the pair was opened is damaged ({reason}).")):
            return cls(_recipe(written["recipe"]), int(written["sampled"]), bool(written["by_held_out"]))

    def given(self, typed: Mapping[str, Any]) -> InApp:
        """With what is `typed` on the command line in place of what the recipe says, by the names of options."""
        texts = {name: typed[name] for name in ("dense", "pruned", "calibration", "elsewhere", "windows", "length")
                 if name in typed}  # fmt: skip
        if texts.get("pruned") == DEMO == texts.get("dense", self.recipe.dense):
            texts |= {"pruned": None, "pruning": Recipe.pruning}
        how = {name: typed[name] for name in ("device", "dtype", "allow_pickle", "trust_remote_code") if name in typed}
        recipe = replace(self.recipe, **texts, loading=replace(self.recipe.loading, **how))
        sampled = self.sampled if "calibration" not in texts else 0
        return replace(self, recipe=recipe, sampled=texts.get("windows", sampled) if sampled else 0)


def in_app(data: Mapping[str, Any]) -> InApp | None:
    """How the app opened the pair of a run, or the command line after it; None for a run that it has no part in. Raises
    LoadError."""
    asked = part(data, "asked")
    if asked:
        return InApp.read(asked["in_app"]) if isinstance(asked.get("in_app"), Mapping) else None
    if not isinstance(data.get("recipe"), Mapping):
        return None
    with foreign(lambda reason: LoadError(f"How the pair of this run was opened is damaged ({reason}).")):
        recipe, text = _recipe(data["recipe"]), part(data, "calibration")
        alike = text.get("source") != SELF or recipe.calibration == SELF
        sampled = text.get("sampled", 0 if alike else in_all(text.get("windows")) or 0)
        return InApp(recipe, int(sampled), data.get("evaluation") == JUDGED_BY)


def typed(context: typer.Context) -> dict[str, Any]:
    """What is typed of a pair and its texts, by the names of options; of permissions, those that are given."""
    said = context.params
    flags = {name: True for name in ("allow_pickle", "trust_remote_code") if said.get(name)}
    return flags | {name: said[name] for name in OPENING if name in said and is_given(context, name)}


def opened_by(context: typer.Context) -> InApp | None:
    """How the file that --config names opens the pair, but for what is typed; None where it is of no run of the app and
    of no comparison. Raises LoadError."""
    how = in_app(context.meta[READ]) if READ in context.meta else None
    return None if how is None else how.given(typed(context))


def recipe_by(context: typer.Context, named: Mapping[str, str]) -> Recipe | None:
    """The recipe of `opened_by`. named: its fields by the names of further options."""
    how = opened_by(context)
    if how is None:
        return None
    return replace(how.recipe, **{field: context.params[name] for name, field in named.items()
                                  if is_given(context, name)})  # fmt: skip


def _recipe(written: Mapping[str, Any]) -> Recipe:
    return recipe_read({str(name): str(value) for name, value in written.items()})
