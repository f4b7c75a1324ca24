"""What one session remembers: the pair, the view, the picks and their history."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field

import streamlit as st

from restorelcc.artifacts.findings import Recipe
from restorelcc.selection.picks import Pick, of_heads
from restorelcc.workspace import Workspace

from ..values.names import cleaned
from ..values.picks import Head, Picks
from ..work import open_pairs

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
    format: str = "png"
    """Of figures saved from a chart."""


def session() -> Session:
    """This tab's."""
    if "studio" not in st.session_state:
        st.session_state["studio"] = Session(owner=_owner())
    found: Session = st.session_state["studio"]
    return found


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
    """Whether the browser shows the dark theme."""
    return st.context.theme.type == "dark"


def workspace() -> Workspace | None:
    """The open pair, with the session's picks fitted to it."""
    here = session()
    found = open_pairs.workspace(here.recipe)
    if found is not None and (here.picks is None or here.picks.selection.shape != found.lost.shape):
        here.picks, here.past, here.future = Picks.none(found.lost.shape), [], []
    return found


def opened() -> Workspace:
    """The open pair, for pages: the frame runs none before a pair is open."""
    found = workspace()
    if found is None:
        raise LookupError("a page that needs a pair runs while none is open")
    return found


def picks() -> Picks:
    """Of the open pair."""
    found = session().picks
    if found is None:
        raise LookupError("picks are asked for while no pair is open")
    return found


def choose(new: Picks) -> None:
    """Change the picks; can be undone. Heads that pruning removed cannot be picked."""
    here, found = session(), open_pairs.workspace(session().recipe)
    if found is not None:
        new = new.of(new.selection.within(found.lost.present))
    if here.picks is not None and new != here.picks:
        here.past = [*here.past[1 - UNDO :], here.picks]
        here.future = []
        here.picks = new


def look_at(head: Head) -> None:
    """Show this head wherever one head is shown."""
    here = session()
    if here.head != head:
        here.head, here.component = head, 0


def pick_heads(workspace: Workspace, heads: list[Head]) -> None:
    """All components of these heads, on top of what is picked."""
    choose(picks().of(picks().selection.added(of_heads(workspace.lost.shape, heads).picks)))


def call(pick: Pick, name: str) -> None:
    """Name a component; an empty name takes it away."""
    here, name = session(), cleaned(name)
    here.names = {key: value for key, value in here.names.items() if key != pick} | ({pick: name} if name else {})


def undo() -> None:
    """Back to the picks before the last change."""
    here = session()
    if here.past and here.picks is not None:
        here.future.append(here.picks)
        here.picks = here.past.pop()


def redo() -> None:
    """The change that was undone last."""
    here = session()
    if here.future and here.picks is not None:
        here.past.append(here.picks)
        here.picks = here.future.pop()


def show(recipe: Recipe) -> None:
    """Look at another pair that is open."""
    here = session()
    here.recipe, here.pending = recipe, ""
    here.picks, here.past, here.future, here.head, here.component, here.run = None, [], [], None, 0, ""
    here.names = {}
