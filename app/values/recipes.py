"""The recipe of a pair beside the one in view, as one parameter of a link."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

from restorelcc.artifacts.findings import Recipe, recipe_read, recipe_written
from restorelcc.errors import SettingError, shortened


def recipe_in_a_word(recipe: Recipe) -> str:
    """A recipe as one parameter of a link that is of another pair, such as `dense=demo&prune=0.5`; never empty."""
    return urlencode({"dense": recipe.dense} | recipe_written(recipe))


def recipe_of_a_word(text: str) -> Recipe:
    """What `recipe_in_a_word` wrote. Raises SettingError."""
    link = dict(parse_qsl(text, keep_blank_values=True))
    if "dense" not in link:
        raise SettingError(f"'{shortened(text, 40)}' names no pair.")
    return recipe_read(link)
