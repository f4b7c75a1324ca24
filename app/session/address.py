"""The browser's address holds the view."""

from __future__ import annotations

import streamlit as st

from . import links, state


def write() -> None:
    """The view into the address, where that holds another. Navigation drops it, so every rerun does this."""
    wanted = links.written(state.session())
    if dict(st.query_params) != wanted:
        st.query_params.from_dict(wanted)
