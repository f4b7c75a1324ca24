"""The recipe of a pair as a link has it; of one beside the pair in view, in one parameter."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode

from restorelcc.artifacts.findings import Recipe, recipe_written
from restorelcc.artifacts.findings import recipe_read as read
from restorelcc.errors import RestoreLCCError, SettingError, shortened


def recipe_read(link: Mapping[str, str]) -> Recipe:
    """What a link says of the pair in view. Raises SettingError."""
    try:
        return read(link)
    except RestoreLCCError:
        raise
    except (ValueError, TypeError) as error:
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
