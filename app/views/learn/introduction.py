"""How the Learn page begins: the embedded pair that its figures are of, and the frame of each step."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from restorelcc.artifacts.findings import Recipe
from restorelcc.workspace import Workspace

from ...session import state
from ...widgets import feedback
from ...work import open_pairs

MAP = 500  # pixels: a map has square cells, so more width would only push its colour bar away


def embedded_pair() -> Workspace | None:
    """The embedded pair as it comes, whatever pair the session looks at; while it is being opened, the progress."""
    recipe, owner = Recipe(), state.session().owner
    workspace = open_pairs.workspace(recipe)
    if workspace is not None:
        return workspace
    job = open_pairs.awaited(recipe, owner)
    feedback.progress(job)
    if job.finished:
        st.button("Open the embedded pair", key="learn-open", on_click=_open, args=(owner,))
    return None


def _open(owner: str) -> None:
    open_pairs.opening(Recipe(), owner)


def section(workspace: Workspace | None) -> None:
    """What the page is about, and what its figures are of."""
    st.markdown("### How lost component compensation works")
    with st.container(width=720):
        st.markdown(
            "Pruning sets many of a language model’s weights to zero: it gets smaller, and somewhat worse. "
            "RestoreLCC asks what every attention head stopped computing, and puts part of it back as one constant "
            "vector per head, without making a single zero non-zero. Six steps show how."
        )
        if workspace is not None:
            shape, size = workspace.findings.geometry, workspace.findings.dense_size
            other = "" if state.session().recipe == Recipe() else " It is not the pair in the header above."
            pruned = workspace.findings.pruned_name
            st.caption(
                "Figures are of the embedded pair, and computed here unless marked otherwise: a Llama of "
                f"{size.parameters / 1e6:.1f} M parameters that writes children’s stories, {shape.n_layers} layers of "
                f"{shape.n_heads} heads, and the same pruned ({pruned}).{other}"
            )


def places(number: int, title: str) -> tuple[DeltaGenerator, DeltaGenerator]:
    """The heading of a step, and the places for its words (left) and its figure (right)."""
    st.divider()
    st.markdown(f"#### {number}. {title}")
    left, right = st.columns([5, 7], gap="large")
    return left, right
