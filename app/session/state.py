"""What one session remembers: the pair, the view, the picks and their history."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field

import streamlit as st

from restorelcc.artifacts.findings import Recipe
from restorelcc.selection.own import OwnScore
from restorelcc.selection.picks import Pick, of_heads
from restorelcc.selection.scores import offered
from restorelcc.workspace import Workspace

from ..values.names import cleaned
from ..values.passages import Passage
from ..values.picks import Head, Picks
from ..work import open_pairs
from .axes import Axes

UNDO = 100  # steps


@dataclass
class Session:
    """One browser tab. Widgets are drawn from it and write to it; nothing else is the truth."""

    owner: str
    """Who may cancel what was started here; the same after a reload of the page, and in all tabs of a browser."""
    tab: str = field(default_factory=lambda: secrets.token_hex(8))
    """Whose picks are measured: another tab's are not superseded."""
    recipe: Recipe = field(default_factory=Recipe)
    pending: str = ""
    """Job that opens another pair, to be shown once it is done."""
    metric: str = "relative_error"
    head: tuple[int, int] | None = None
    component: int = 0
    passage: Passage = field(default_factory=Passage)
    """That heads and components are read on."""
    hit_source: str = ""
    """Whose windows the table of hit text lists."""
    in_place: str | None = None
    """What is put back while it is looked closer: `picks`, a run's folder, or nothing; None until it is chosen."""
    look: str = ""
    """Which closer look is taken on the Heads page; empty: none."""
    beside: Recipe | None = None
    """A pair that heads are compared with, one by one."""
    mouse: str = "look"
    """What the mouse does on the map of heads: look at one, or draw a box to pick."""
    picks: Picks | None = None
    """None until a pair is open, or until the link's picks could be read."""
    names: dict[Pick, str] = field(default_factory=dict)
    """What this person calls components, by (layer, head, component)."""
    past: list[Picks] = field(default_factory=list)
    future: list[Picks] = field(default_factory=list)
    run: str = ""
    """A restoration in view: the id of its job while it runs, the name of its folder later."""
    link: dict[str, str] = field(default_factory=dict)
    """What the link asked for and the pair is needed for."""
    fitted: bool = True
    """False from when a link was read until its pair is open and what does not exist there was left out."""
    said: str = ""
    """What of the link could not be read, or does not fit the pair; until it is dismissed, or another page in view."""
    said_on: str = ""
    """The page that it is in view on."""
    axes: Axes = field(default_factory=Axes)
    """Of the scatter of heads."""
    own: dict[str, OwnScore] = field(default_factory=dict)
    """Scores of the pair's heads that were given as files, by name."""
    format: str = "png"
    """Of figures saved from a chart."""
    lesson: dict[str, str] = field(default_factory=dict)
    """What is chosen on the Learn page, where that is not so anyway, by control."""
    theme: str = ""
    """`light` or `dark`, where one was chosen; else as the browser prefers."""


def session() -> Session:
    """What the browser tab that this rerun is for remembers."""
    if "studio" not in st.session_state:
        st.session_state["studio"] = Session(owner=_owner())
    tab: Session = st.session_state["studio"]
    return tab


def _owner() -> str:
    """From the cookie that Streamlit gives each browser against forged requests, so that it outlives a reload; it is
    secret, so only its hash is kept."""
    cookie = st.context.cookies.get("_streamlit_xsrf")
    name = unmasked(cookie) if isinstance(cookie, str) and cookie else secrets.token_bytes(16)  # no browser, no cookie
    return hashlib.sha256(name).hexdigest()[:16]


def unmasked(cookie: str) -> bytes:
    """The token in a cookie `2|mask|token ^ mask|time`, which is masked anew at every load; else the cookie itself."""
    try:
        version, mask, masked, _ = cookie.split("|")
        if version == "2":
            key = bytes.fromhex(mask)
            return bytes(byte ^ key[index % len(key)] for index, byte in enumerate(bytes.fromhex(masked)))
    except (ValueError, ZeroDivisionError):
        pass
    return cookie.encode()


def dark() -> bool:
    """Whether the browser shows the dark theme, or will once it hears that it was chosen."""
    return (session().theme or st.context.theme.type) == "dark"


def workspace() -> Workspace | None:
    """The session's pair, if it is open; the picks, where they are of another shape of model, become none."""
    tab = session()
    pair = open_pairs.workspace(tab.recipe)
    if pair is not None and (tab.picks is None or tab.picks.selection.shape != pair.lost.shape):
        tab.picks, tab.past, tab.future = Picks.none(pair.lost.shape), [], []
    return pair


def opened() -> Workspace:
    """The open pair, for pages: the frame runs none before a pair is open."""
    pair = workspace()
    if pair is None:
        raise LookupError("a page that needs a pair runs while none is open")
    return pair


def picks() -> Picks:
    """What the session has picked of the open pair."""
    picked = session().picks
    if picked is None:
        raise LookupError("picks are asked for while no pair is open")
    return picked


def choose(new: Picks) -> None:
    """Change the picks; can be undone. Heads that pruning removed cannot be picked."""
    tab, pair = session(), open_pairs.workspace(session().recipe)
    if pair is not None:
        new = new.of(new.selection.within(pair.lost.present))
    if tab.picks is not None and new != tab.picks:
        tab.past = [*tab.past[1 - UNDO :], tab.picks]
        tab.future = []
        tab.picks = new


def look_at(head: Head) -> None:
    """Show this head wherever one head is shown."""
    tab = session()
    if tab.head != head:
        tab.head, tab.component = head, 0


def pick_heads(workspace: Workspace, heads: list[Head]) -> None:
    """All components of these heads, on top of what is picked."""
    choose(picks().of(picks().selection.added(of_heads(workspace.lost.shape, heads).picks)))


def call(pick: Pick, name: str) -> None:
    """Name a component; an empty name takes it away."""
    tab, name = session(), cleaned(name)
    tab.names = {key: value for key, value in tab.names.items() if key != pick} | ({pick: name} if name else {})


def undo() -> None:
    """Back to the picks before the last change."""
    tab = session()
    if tab.past and tab.picks is not None:
        tab.future.append(tab.picks)
        tab.picks = tab.past.pop()


def redo() -> None:
    """The change that was undone last."""
    tab = session()
    if tab.future and tab.picks is not None:
        tab.past.append(tab.picks)
        tab.picks = tab.future.pop()


def show(recipe: Recipe) -> None:
    """Look at another pair that is open."""
    tab = session()
    tab.recipe, tab.pending = recipe, ""
    tab.picks, tab.past, tab.future, tab.head, tab.component, tab.run = None, [], [], None, 0, ""
    tab.names, tab.own = {}, {}
    tab.beside = None if tab.beside == recipe else tab.beside
    if tab.metric not in offered():
        tab.metric = Session.metric
