"""The button that takes away a report: one HTML file, which opens anywhere."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from restorelcc.report.page import Page


def button(label: str, key: str, name: str, page: Callable[[], Page]) -> None:
    """Made when it is pressed. name: of the file; page: what it shows."""
    st.download_button(
        label,
        data=lambda: page().html().encode(),
        file_name=f"{name}.html",
        mime="text/html",
        key=key,
        icon=":material/description:",
        on_click="ignore",
        help="One file of 5 MB that opens in any browser, without this server or a network: figures to look into, "
        "tables, settings, and the command lines that come to it again.",
    )
