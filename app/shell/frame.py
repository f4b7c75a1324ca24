"""What surrounds every page: navigation, theme, link, opening the pair, and the header."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from restorelcc.errors import RestoreLCCError
from restorelcc.workspace import Workspace

from ..session import links, state
from ..values.colours import DARK, LIGHT, Colours
from ..values.pages import PAGES, Page
from ..widgets import feedback
from ..work import open_pairs
from ..work.jobs import State, jobs
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
    workspace = _workspace()
    _pending()
    if workspace is not None:
        header = Header(workspace)
        _full_measurement()
        screen.run()
        header.finish()
        open_pairs.warm_up(workspace)
    elif not screens[screen].needs_pair:
        screen.run()
    _write_link()


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
    try:
        links.applied(state.session(), dict(st.query_params))
    except RestoreLCCError as error:
        feedback.refused(error)


def _write_link() -> None:
    """Navigation drops query parameters, so every rerun writes them."""
    wanted = links.written(state.session())
    if dict(st.query_params) != wanted:
        st.query_params.from_dict(wanted)


def _workspace() -> Workspace | None:
    """The session's pair; while it is being opened, the progress of that."""
    session = state.session()
    if open_pairs.workspace(session.recipe) is None and not _opened(session):
        return None
    workspace = state.workspace()
    if workspace is not None and not session.fitted:
        with feedback.guarded():
            lacking = links.fitted(session, workspace)
            if lacking:
                feedback.refused(lacking)
    return workspace


def _opened(session: state.Session) -> bool:
    """Wait a moment for the session's pair; what there is to see until it is open, or instead."""
    job = open_pairs.awaited(session.recipe, session.owner)
    job.wait(feedback.GLANCE)
    if job.state == State.DONE:
        return True
    feedback.progress(job)
    if job.finished:
        st.page_link(PAGES["pair"].link, label="Choose a pair", icon=PAGES["pair"].icon)
        st.button("Try again", on_click=lambda: _again(session))
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
        st.button("Dismiss", key="dismiss", on_click=lambda: setattr(session, "pending", ""), type="tertiary")


def _full_measurement() -> None:
    job = jobs.get(st.session_state.get("full-job", ""))
    if job is not None:
        feedback.progress(job)
        if job.finished:
            del st.session_state["full-job"]
