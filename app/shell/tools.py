"""What stands in the top bar of every page beside the navigation: light or dark, and the link to the view."""

from __future__ import annotations

import streamlit as st

from ..session import state
from ..values.verbatim import in_html

NAMES = {"light": "Light", "dark": "Dark"}


def drawn(title: str) -> None:
    """The tools; and the page's only heading of the first rank, for those who are read to. title: of the page."""
    with st.container(
        key="tools", horizontal=True, vertical_alignment="center", gap="xsmall", width="content", wrap=False
    ):
        st.html(
            f'<h1 class="unseen">{in_html(title)}</h1><button class="tool" type="button" data-copy-link '
            'title="A link to this view: pair, page, head, picks, run"><span aria-live="polite">Copy link</span>'
            "</button>"
        )
        other = "light" if state.dark() else "dark"
        st.button(
            NAMES[other],
            key="theme",
            icon=f":material/{other}_mode:",
            on_click=lambda: setattr(state.session(), "theme", other),
            type="tertiary",
        )


def told() -> None:
    """The browser, which theme was chosen, where one was."""
    theme = state.session().theme
    if theme:
        with st.container(key="early-theme"):
            st.html(f"<script>window.studio?.theme({theme!r})</script>", unsafe_allow_javascript=True)
