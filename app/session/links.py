"""The view as query parameters: what is not at its default, readable by people, nothing secret and no trust granted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from operator import ge

from restorelcc.artifacts.findings import recipe_written
from restorelcc.errors import SettingError, shortened
from restorelcc.selection.scores import offered
from restorelcc.workspace import Workspace

from ..values import names
from ..values.picks import WHOLE, Picks
from ..values.recipes import recipe_in_a_word, recipe_of_a_word, recipe_read
from .axes import Axes
from .state import Session

LONGEST = 1_500  # characters of picks; browsers and chat programs cut much longer links
MOST_NAMED = 3  # of several that cannot be read


def written(session: Session) -> dict[str, str]:
    """The session's view. A recipe's permission to run foreign code is left out: a link must not grant it."""
    link = recipe_written(session.recipe)
    if session.metric != Session.metric and session.metric in offered():  # One's own is nobody else's.
        link["metric"] = session.metric
    if session.head is not None:
        link["head"] = "{}.{}".format(*session.head)
    if session.axes.to_text():
        link["axes"] = session.axes.to_text()
    if session.look:
        link["look"] = session.look
    if session.beside is not None and len(beside := recipe_in_a_word(session.beside)) <= LONGEST:
        link["beside"] = beside
    if session.component:
        link["component"] = str(session.component)
    if session.run:
        link["run"] = session.run
    if session.theme:
        link["theme"] = session.theme
    if session.lesson:
        link["learn"] = "~".join(f"{name}:{chosen}" for name, chosen in session.lesson.items())
    if session.picks is None:
        return link | session.link
    text = session.picks.to_text()
    if text and len(text) <= LONGEST:
        link["picks"] = text
        named = names.to_text(session.names, session.picks.selection.picks)
        if named and len(named) <= LONGEST:
            link["names"] = named
    return link


def applied(session: Session, link: Mapping[str, str]) -> str:
    """Set the view from a link; what of it cannot be read is left out and named in a sentence, empty where all can.
    Raises SettingError for a pair that cannot be; what was read until then stays, and its message names the rest."""
    session.run = link.get("run", "")
    unread = []
    choices = (part.partition(":") for part in link.get("learn", "")[:LONGEST].split("~"))
    session.lesson = {name: chosen for name, _, chosen in choices if name and chosen}
    if link.get("theme") in ("light", "dark"):
        session.theme = link["theme"]
    if link.get("metric") in offered():
        session.metric = link["metric"]
    elif link.get("metric"):
        unread.append(_named("measure", link["metric"]))
    if link.get("head"):
        matched = re.fullmatch(rf"({WHOLE})\.({WHOLE})", link["head"])
        if matched is not None:
            session.head = (int(matched[1]), int(matched[2]))
        else:
            unread.append(_named("head", link["head"]))
    if re.fullmatch(WHOLE, link.get("component", "")):
        session.component = int(link["component"])
    elif link.get("component"):
        unread.append(_named("component", link["component"]))
    if re.fullmatch("[a-z]{1,20}", link.get("look", "")):
        session.look = link["look"]
    if link.get("beside"):
        try:
            session.beside = recipe_of_a_word(link["beside"])
        except SettingError:
            unread.append(_named("pair beside", link["beside"]))
    session.axes = Axes.from_text(link.get("axes", ""))
    if session.axes.to_text() != link.get("axes", ""):
        unread.append(_named("axes", link["axes"]))
    session.names = names.from_text(link.get("names", ""))
    unread += [_named("name", part) for part in names.unread(link.get("names", ""))[:MOST_NAMED]]
    session.link = {"picks": link["picks"]} if "picks" in link else {}
    session.fitted = False
    said = f"Of the link, {', '.join(unread)} cannot be read and {'is' if len(unread) == 1 else 'are'} left out."
    try:
        session.recipe = recipe_read(link)
    except SettingError as error:
        raise SettingError(f"{error} {said if unread else ''}".strip()) from error
    return said if unread else ""


def _named(what: str, text: str) -> str:
    return f"{what} '{shortened(text, 40)}'"


def fitted(session: Session, workspace: Workspace) -> str:
    """Once a link's pair is open: what of the link needs it. What another pair has and this one lacks is left out, and
    said in a sentence; empty where all of it fits. Raises SettingError for picks that cannot be, with the rest."""
    layers, heads, components = workspace.lost.shape
    lacking = []
    if session.head is not None and not (session.head[0] < layers and session.head[1] < heads):
        lacking.append("head {}.{}".format(*session.head))
        session.head = None
    if session.component >= components:
        lacking.append(f"component {session.component}")
        session.component = components - 1
    named = {pick for pick in session.names if any(map(ge, pick, workspace.lost.shape))}
    if named:
        lacking.append(f"{len(named)} named components")
        session.names = {pick: name for pick, name in session.names.items() if pick not in named}
    text, session.link, session.fitted = session.link.get("picks", ""), {}, True
    if text:
        session.picks = Picks.none(workspace.lost.shape)
        try:
            picks = Picks.from_text(text, workspace.lost.shape)
        except SettingError as error:
            raise SettingError(f"{error} {_left_out(lacking, workspace)}".strip()) from error
        session.picks = picks.of(picks.selection.within(workspace.lost.present))
        if len(session.picks) < len(picks):
            lacking.append(f"{len(picks) - len(session.picks)} picks of heads that pruning removed")
    return _left_out(lacking, workspace)


def _left_out(lacking: list[str], workspace: Workspace) -> str:
    if not lacking:
        return ""
    layers, heads, components = workspace.lost.shape
    return (
        f"The link is of another pair: this one, of {layers} layers of {heads} heads with {components} components, "
        f"lacks {', '.join(lacking)}. That was left out."
    )
