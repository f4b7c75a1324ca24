"""What surrounds every page: navigation, theme, link, opening the pair, and the header."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from restorelcc.artifacts.findings import Recipe
from restorelcc.errors import RestoreLCCError, SwappedSides
from restorelcc.workspace import Workspace

from ..session import address, links, state
from ..values.colours import DARK, LIGHT, Colours
from ..values.pages import PAGES, Page
from ..values.verbatim import in_message
from ..views.heads import arriving
from ..widgets import feedback
from ..work import open_pairs
from ..work.jobs import State, jobs
from . import tools
from .header import Header

BY_NAME = "first-by-name"
"""Where the session keeps whether the first page is in view under its name, instead of at the bare address."""


def run(root: Path) -> None:
    """One rerun of the app."""
    st.set_page_config(page_title="RestoreLCC Studio", page_icon=str(root / "assets" / "favicon.svg"), layout="wide")
    st.html(f"<style>{_variables()}{(root / 'app' / 'shell' / 'studio.css').read_text()}</style>")
    st.logo(str(root / "assets" / ("logo-dark.svg" if state.dark() else "logo.svg")), size="large")
    screens = _screens(root)
    screen = st.navigation(list(screens), position="top")
    if screen.visibility == "hidden":
        st.session_state[BY_NAME] = not st.session_state.get(BY_NAME, False)
        st.rerun()
    _read_link()
    tools.told()
    tools.drawn(screens[screen].title)
    workspace = _workspace(screens[screen])
    _said(screens[screen].name)
    _pending()
    if workspace is not None:
        header = Header(workspace)
        _suspicion(workspace)
        _full_measurement()
        screen.run()
        header.finish()
        open_pairs.warm_up(workspace)
    elif not screens[screen].needs_pair:
        screen.run()
    address.write()


def _screens(root: Path) -> dict[st.Page, Page]:
    """All pages as Streamlit has them. The first is reached at the bare address, where links made before lead, and by
    its name as all others are: two entries, of which the navigation shows the one that is in view."""
    by_name = st.session_state.get(BY_NAME, False)
    screens: dict[st.Page, Page] = {}
    hidden: dict[st.Page, Page] = {}
    for page in PAGES.values():
        for path in ("", page.name) if page.first else (page.name,):
            seen = not page.first or (path != "") == by_name
            entry = st.Page(
                root / "pages" / f"{page.name}.py",
                title=page.title,
                icon=page.icon,
                url_path=path,
                default=not path,
                visibility="visible" if seen else "hidden",
            )
            (screens if seen else hidden)[entry] = page
    return screens | hidden  # links to a file lead to the first entry of it


def _variables() -> str:
    """The colours as CSS variables, of the theme in view."""
    colours: Colours = DARK if state.dark() else LIGHT
    names = ("dense", "pruned", "restored", "text", "muted", "grid", "paper")
    return ":root{" + "".join(f"--{name}:{getattr(colours, name)};" for name in names) + "}"


def _read_link() -> None:
    """Once a session: the view that the link asks for."""
    if st.session_state.get("link-read"):
        return
    st.session_state["link-read"] = True
    session = state.session()
    try:
        session.said = links.applied(session, dict(st.query_params))
    except RestoreLCCError as error:
        session.said = str(error)


def _said(page: str) -> None:
    """What is wrong with the link, until it is dismissed or another page is turned to: reruns come by themselves."""
    session = state.session()
    session.said_on = session.said_on or page
    if session.said and session.said_on == page:
        feedback.refused(session.said)
        st.button("Dismiss", key="dismiss-said", type="tertiary", on_click=lambda: setattr(session, "said", ""))
    elif session.said:
        session.said = ""


def _workspace(page: Page) -> Workspace | None:
    """The session's pair; while it is being opened, how far that is, and on the Heads page what is known so far."""
    session = state.session()
    if open_pairs.workspace(session.recipe) is None and not _opened(session, page):
        return None
    workspace = state.workspace()
    if workspace is not None and not session.fitted:
        try:
            lacking = links.fitted(session, workspace)
        except RestoreLCCError as error:
            lacking = str(error)
        session.said = f"{session.said} {lacking}".strip()
    return workspace


def _opened(session: state.Session, page: Page) -> bool:
    """Wait a moment for the session's pair; what there is to see until it is open, or instead."""
    job = open_pairs.awaited(session.recipe, session.owner)
    job.wait(feedback.GLANCE)
    if job.state == State.DONE:
        return True
    (arriving.section if page is PAGES["heads"] else feedback.progress)(job)
    if job.finished:
        with st.container(horizontal=True, vertical_alignment="center"):
            if job.refusal is SwappedSides:
                _swap_button(session.recipe)
            st.button("Try again", on_click=lambda: _again(session))
            st.page_link(PAGES["pair"].link, label="Choose a pair", icon=PAGES["pair"].icon)
    return False


def _again(session: state.Session) -> None:
    open_pairs.opening(session.recipe, session.owner)


def _pending() -> None:
    """Another pair that is being opened, while this one stays in view."""
    session = state.session()
    job = jobs.get(session.pending) if session.pending else None
    if job is None:
        return
    feedback.progress(job)
    if job.state == State.DONE:
        state.show(job.result)
        st.rerun()
    elif job.state == State.CANCELLED:
        session.pending = ""
    elif job.finished:  # What went wrong stays in view until it is read.
        with st.container(horizontal=True):
            if job.refusal is SwappedSides and isinstance(job.key, tuple):
                _swap_button(job.key[1])
            st.button("Dismiss", key="dismiss", on_click=lambda: setattr(session, "pending", ""), type="tertiary")


def _swap_button(recipe: Recipe) -> None:
    """Opens the pair with either model in the other's place."""
    other = open_pairs.swapped(recipe)
    if other is not None:
        st.button("Swap them", key="swap", type="primary", icon=":material/swap_horiz:", on_click=_swap, args=(other,))


def _swap(recipe: Recipe) -> None:
    session, typed = state.session(), st.session_state.get("pair-form")
    if typed and (typed["dense"].strip(), typed["pruned"].strip()) == (recipe.pruned, recipe.dense):
        typed["dense"], typed["pruned"] = typed["pruned"], typed["dense"]
    if open_pairs.workspace(session.recipe) is None:  # Nothing else is in view.
        state.show(recipe)
    else:
        session.pending = open_pairs.opening(recipe, session.owner).id


def _suspicion(workspace: Workspace) -> None:
    """What a pair looks like of which nothing is lost, with the way out of it."""
    said, swap = workspace.suspicion()
    if not said:
        return
    with st.container(border=True, key="suspicion"):
        st.warning(in_message(said), icon=":material/swap_horiz:" if swap else ":material/content_copy:")
        if swap:
            _swap_button(workspace.recipe)
        else:
            st.page_link(PAGES["pair"].link, label="Choose another pair", icon=PAGES["pair"].icon)


def _full_measurement() -> None:
    job = jobs.get(st.session_state.get("full-job", ""))
    if job is not None:
        feedback.progress(job)
        if job.finished:
            del st.session_state["full-job"]
