"""Results derived for a view, bounded, keyed by all that they depend on. Every `st.cache_*` is here."""

from __future__ import annotations

import streamlit as st
import torch

from restorelcc.findings import Recipe
from restorelcc.meaning import Moment, strongest_moments, vocabulary_effect, written_alike
from restorelcc.projection import Projection, project
from restorelcc.reading import Reading, read_passage
from restorelcc.workspace import Workspace

from .live import lane


@st.cache_data(max_entries=8, show_spinner=False)
def reading(recipe: Recipe, text: int, start: int, length: int, _workspace: Workspace) -> Reading:
    """Tokens start … start + length of one calibration text, read by both models."""
    ids = _workspace.findings.calibration.ids[text, start : start + length]
    return lane.run(_workspace, lambda: read_passage(_workspace.pair(), ids))


@st.cache_data(max_entries=64, show_spinner=False)
def projection(recipe: Recipe, layer: int, head: int, _workspace: Workspace) -> Projection:
    """The PCA view of a head."""
    samples = _workspace.findings.statistics.samples
    return project(samples, _workspace.lost.directions[layer, head], layer, head)


@st.cache_data(max_entries=256, show_spinner=False)
def vocabulary(
    recipe: Recipe, layer: int, head: int, component: int, most: int, _workspace: Workspace
) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
    """(promoted, suppressed) words of a component, strongest first, with the change of their logits."""
    pair = _workspace.pair(dense=not _workspace.findings.statistics.present[layer, head])
    # Two small products: not worth a place in the queue, where a measurement may be under way.
    effect = vocabulary_effect(*pair.holder(layer, head), _workspace.lost.directions[layer, head, component])
    tokenizer = pair.tokenizer
    order = effect.argsort(descending=True)

    def words(ids: torch.Tensor) -> list[tuple[str, float]]:
        return [(str(tokenizer.decode([i])), float(effect[i])) for i in ids.tolist()]

    return words(order[:most]), words(order.flip(0)[:most])


@st.cache_data(max_entries=64, show_spinner=False)
def alike(recipe: Recipe, layer: int, head: int, component: int, _workspace: Workspace) -> torch.Tensor:
    """[layer, component] how alike the same head's components write; by the dense model's W_O, which has all heads."""
    return written_alike(_workspace.pair().dense, _workspace.lost.directions, layer, head, component)


@st.cache_data(max_entries=256, show_spinner=False)
def moments(recipe: Recipe, layer: int, head: int, component: int, most: int, _workspace: Workspace) -> list[Moment]:
    """The tokens where a component was lost most."""
    found = _workspace.findings
    direction = _workspace.lost.directions[layer, head, component]
    tokenizer = _workspace.pair(dense=False).tokenizer
    return strongest_moments(found.statistics.samples, found.calibration, tokenizer, layer, head, direction, most)


@st.cache_data(max_entries=32, show_spinner=False)
def token_strings(recipe: Recipe, text: int, start: int, length: int, _workspace: Workspace) -> list[str]:
    """The tokens of a passage as text."""
    tokenizer = _workspace.pair(dense=False).tokenizer
    return [
        str(tokenizer.decode([i])) for i in _workspace.findings.calibration.ids[text, start : start + length].tolist()
    ]


@st.cache_data(max_entries=8, show_spinner=False)
def sample_contexts(recipe: Recipe, _workspace: Workspace) -> list[str]:
    """Every sampled token in its context, the token itself between brackets."""
    found, tokenizer = _workspace.findings, _workspace.pair(dense=False).tokenizer
    from restorelcc.meaning import context

    samples = found.statistics.samples
    return [
        "{}[{}]{}".format(*context(found.calibration, tokenizer, text, pos, 6)).replace("\n", " ")
        for text, pos in zip(samples.text.tolist(), samples.pos.tolist(), strict=True)
    ]
