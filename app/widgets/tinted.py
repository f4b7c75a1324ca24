"""Running text, every token on a colour as strong as a number is large."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from ..values.verbatim import in_html, lines_in_html

STRONGEST = 70  # per cent of the colour


@dataclass(frozen=True)
class Token:
    """One token and what is known of it."""

    text: str
    says: str
    """Shown where the mouse rests on it."""
    colour: str = "transparent"
    strength: float = 0.0
    """0 to 1, and as 1 beyond."""
    change: float | None = None
    """Kept on the page, where there is one."""


def show(tokens: Sequence[Token], **attributes: str) -> None:
    """attributes: of the whole, such as `id`."""
    named = "".join(f' {name.replace("_", "-")}="{in_html(value)}"' for name, value in attributes.items())
    st.html(f'<div class="tinted"{named}>{"".join(map(_span, tokens))}</div>')


def _span(token: Token) -> str:
    shown = lines_in_html(token.text, "↵\n")
    # Below linear, small numbers would all look like none.
    share = STRONGEST * min(1.0, token.strength) ** 0.7
    data = "" if token.change is None else f' data-change="{token.change:.6f}"'
    return (
        f'<span title="{in_html(token.says)}"{data} '
        f'style="background:color-mix(in srgb,{token.colour} {share:.0f}%,transparent)">{shown}</span>'
    )
