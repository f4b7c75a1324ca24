"""Measures of heads as this session has them: those of the registry, and those that it was given as files, which stay
in the session: nobody else sees them."""

from __future__ import annotations

from torch import Tensor

from restorelcc.selection.own import OwnScore, own_score
from restorelcc.selection.scores import SCORES, Score, offered
from restorelcc.workspace import Workspace

from ..work import scores
from .state import session

MOST = 12
"""Own scores that a session keeps."""


def own() -> dict[str, OwnScore]:
    """What this session was given, by name."""
    return session().own


def take(workspace: Workspace, file: str, content: bytes) -> OwnScore:
    """Keep what a file says of the pair's heads, in place of what one of that name said, and look at it. Raises
    SettingError."""
    tab = session()
    given = own_score(file, content, workspace.lost.shape[:2])
    kept = {name: each for name, each in tab.own.items() if name != given.row.name}
    tab.own = dict([*kept.items()][1 - MOST :]) | {given.row.name: given}
    tab.metric = given.row.name
    return given


def turn(name: str, lowest: bool) -> None:
    """Have an own score begin at this end."""
    session().own[name] = session().own[name].from_lowest(lowest)


def drop(name: str) -> None:
    """Forget an own score, wherever it is looked at."""
    tab = session()
    tab.own = {other: each for other, each in tab.own.items() if other != name}
    if tab.metric == name:
        tab.metric = type(tab).metric


def rows() -> dict[str, Score]:
    """All measures that can be looked at, by name."""
    return offered() | {name: each.row for name, each in own().items()}


def row(name: str) -> Score:
    """The measure of this name. Raises KeyError."""
    return own()[name].row if name in own() else SCORES[name]


def table(workspace: Workspace, name: str) -> Tensor | None:
    """[layer, head] float64: NaN where it is not known, None if nothing of it is there."""
    return own()[name].scored.values if name in own() else scores.table(workspace, name)


def errors(workspace: Workspace, name: str) -> Tensor | None:
    """[layer, head] standard errors of `table`, where it has them."""
    return None if name in own() else scores.errors(workspace, name)


def there(workspace: Workspace) -> list[str]:
    """Measures that heads can be ordered by: those known of every head, and one's own."""
    return [*scores.there(workspace), *own()]


def order(workspace: Workspace, name: str) -> Tensor:
    """[layer, head], highest where a measure says to begin; heads of which it says nothing come last. Raises
    LookupError where it is not `there`."""
    if name not in own():
        return scores.order(workspace, name)
    return own()[name].order()
