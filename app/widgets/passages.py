"""Which passage heads are read on: a window of the pair's text, or text that is typed. The same on every page."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import streamlit as st

from restorelcc.text.tokens import Tokens
from restorelcc.workspace import Workspace

from ..session import state
from ..values.passages import LONGEST, SOURCES, Passage
from .controls import mirrored

SHORTEST = 8
LETTERS = 4_000
"""Of one's own text, at most."""


def chosen(workspace: Workspace) -> Passage:
    """The passage, and the controls that choose it."""
    passage = fitted(workspace, state.session().passage)
    with st.container(horizontal=True, vertical_alignment="bottom", key="passage"):
        st.segmented_control(
            "Text to read",
            list(SOURCES),
            format_func=lambda name: SOURCES[name],
            required=True,
            **mirrored("passage-source", passage.source, lambda source: _change(source=source, text=0, start=0)),
        )
        if passage.source == "own":
            st.text_area(
                SOURCES["own"],
                height=80,
                placeholder="Write or paste a text; Ctrl + Enter reads it",
                **mirrored("passage-own", passage.own, lambda own: _change(own=own[:LETTERS])),
            )
        else:
            texts, positions = text_of(workspace, passage.source).ids.shape
            st.number_input(
                f"Window (0 to {texts - 1})",
                0,
                texts - 1,
                **mirrored("passage-text", passage.text, lambda text: _change(text=int(text))),
            )
            st.number_input(
                "First token",
                0,
                max(0, positions - SHORTEST),
                step=16,
                **mirrored("passage-start", passage.start, lambda start: _change(start=int(start))),
            )
    return passage


def _change(**parts: Any) -> None:
    state.session().passage = replace(state.session().passage, **parts)


def fitted(workspace: Workspace, passage: Passage) -> Passage:
    """Within the pair's text, which may be another than it was chosen for."""
    if passage.source == "own":
        return passage
    tokens = text_of(workspace, passage.source)
    text = min(passage.text, len(tokens) - 1)
    real = int(tokens.real[text].sum())
    start = min(passage.start, max(0, real - SHORTEST))
    return replace(passage, text=text, start=start, length=min(LONGEST, real - start))


def written(passage: Passage) -> bool:
    """Whether there is a text to read; if not, that one is to be written."""
    empty = passage.source == "own" and not passage.own.strip()
    if empty:
        st.caption("Write a text above, and it is read here.")
    return not empty


def text_of(workspace: Workspace, source: str) -> Tokens:
    """The windows that a passage may be of."""
    return workspace.findings.evaluation if source == "evaluation" else workspace.findings.calibration
