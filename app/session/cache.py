"""Results derived for a view, bounded, keyed by all that they depend on. Every `st.cache_*` is here."""

from __future__ import annotations

from contextlib import nullcontext
from functools import lru_cache, partial
from pathlib import Path

import pandas as pd
import streamlit as st
import torch

from restorelcc.artifacts.export import adapter_fits
from restorelcc.artifacts.findings import Recipe
from restorelcc.artifacts.runs import CONFIG, Run, load_run
from restorelcc.capture.passage import Reading, lost_along, read_passage
from restorelcc.capture.plane import Projection, project
from restorelcc.capture.vocabulary import (
    Moment,
    in_context,
    strongest_moments,
    strongest_words,
    vocabulary_effect,
    written_alike,
)
from restorelcc.compensation.interface import compensated
from restorelcc.errors import TextError
from restorelcc.evaluation.comparison import side_by_side
from restorelcc.evaluation.perplexity import TokenLoss
from restorelcc.hf.families import needs_start
from restorelcc.inspection.depth import departure
from restorelcc.models.pair import ModelPair
from restorelcc.progress import finish
from restorelcc.selection.predicted_effect import PredictedEffect
from restorelcc.text.calibration import check_embedded
from restorelcc.text.spelling import readable
from restorelcc.text.tokens import as_text, lead, led, token_ids
from restorelcc.workspace import Workspace

from ..values.passages import Passage
from ..work.lessons import MergeCheck, check_merge
from ..work.live import Measured, compared, lane

OPENING = 16  # tokens of evaluation text for a prompt to begin with
PASSAGE = 48  # tokens of the merge check


@st.cache_data(max_entries=8, show_spinner=False)
def reading(recipe: Recipe, passage: Passage, _workspace: Workspace) -> Reading:
    """A passage, read by both models. Raises TextError, LoadError as `passage_ids` does."""

    def read() -> Reading:
        return read_passage(_workspace.pair(), passage_ids(_workspace, passage))

    return lane.run(_workspace, read)


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
    return strongest_words(effect, pair.tokenizer, most)


@st.cache_data(max_entries=64, show_spinner=False)
def alike(recipe: Recipe, layer: int, head: int, component: int, _workspace: Workspace) -> torch.Tensor:
    """[layer, component] how alike the same head's components write; by the dense model's W_O, which has all heads."""
    return written_alike(_workspace.pair().dense, _workspace.lost.directions, layer, head, component)


@st.cache_data(max_entries=256, show_spinner=False)
def moments(recipe: Recipe, layer: int, head: int, component: int, most: int, _workspace: Workspace) -> list[Moment]:
    """The tokens where a component was lost most."""
    findings = _workspace.findings
    direction = _workspace.lost.directions[layer, head, component]
    tokenizer = _workspace.pair(dense=False).tokenizer
    return strongest_moments(findings.statistics.samples, findings.calibration, tokenizer, layer, head, direction, most)


@st.cache_data(max_entries=32, show_spinner=False)
def token_strings(
    recipe: Recipe,
    text: int,
    start: int,
    length: int,
    _workspace: Workspace,
    source: str = "calibration",
    own: str = "",
) -> list[str]:
    """The tokens of a passage (see `Passage`) as text."""
    pair, passage = _workspace.pair(dense=False), Passage(text, start, length, source, own)
    ids = passage_ids(_workspace, passage).tolist()
    if start == 0 or needs_start(pair.pruned):
        return readable(pair.tokenizer, ids)
    before = _row(_workspace, pair, passage)[start - 1 : start].tolist()
    return readable(pair.tokenizer, before + ids)[1:]  # so that the first has its space


def strings_of(recipe: Recipe, passage: Passage, workspace: Workspace) -> list[str]:
    """`token_strings` of a passage."""
    where = passage.text, passage.start, passage.length
    return token_strings(recipe, *where, workspace, source=passage.source, own=passage.own)


@st.cache_data(max_entries=32, show_spinner=False)
def along(
    recipe: Recipe, passage: Passage, layer: int, head: int, component: int, _workspace: Workspace
) -> list[float]:
    """Of each token of a passage, what was lost of a head along one of its components; activation units."""
    direction = _workspace.lost.directions[layer, head, component]

    def read() -> list[float]:
        values = lost_along(_workspace.pair(), passage_ids(_workspace, passage), layer, head, direction)
        return [float(value) for value in values]

    return lane.run(_workspace, read)


@st.cache_data(max_entries=16, show_spinner=False)
def departure_on(recipe: Recipe, passage: Passage, _workspace: Workspace) -> list[list[float]]:
    """[layer, pos] KL of the pruned model's predictions to the dense one's at every depth, by the token predicted."""

    def read() -> list[list[float]]:
        pair = _workspace.pair()
        (departures,) = finish(departure(pair, as_text(pair.tokenizer, passage_ids(_workspace, passage).tolist())))
        return [[float(value) for value in row] for row in departures.kl[:, 0]]

    return lane.run(_workspace, read)


@st.cache_data(max_entries=32, show_spinner=False)
def words_at(
    recipe: Recipe, source: str, texts: tuple[int, ...], positions: tuple[int, ...], _workspace: Workspace
) -> list[str]:
    """One token each of windows of a source of passages, as text."""
    findings, tokenizer = _workspace.findings, _workspace.pair(dense=False).tokenizer
    ids = (findings.evaluation if source == "evaluation" else findings.calibration).ids
    return [
        readable(tokenizer, ids[text, max(0, at - 1) : at + 1].tolist())[-1]
        for text, at in zip(texts, positions, strict=True)
    ]


def passage_ids(workspace: Workspace, passage: Passage) -> torch.Tensor:
    """[pos] ids, after the text's start token where the models need one. Raises TextError where there are not two
    tokens, LoadError for those that the models have no embedding for."""
    pair = workspace.pair(dense=False)
    row = _row(workspace, pair, passage)
    head = row[:1] if passage.start > 0 and needs_start(pair.pruned) else row[:0]
    ids = torch.cat([head, row[passage.start : passage.start + passage.length]])
    if len(ids) < 2:
        raise TextError("There are not two tokens to read here. Write more, or begin earlier (First token).")
    if passage.source == "own":
        check_embedded(ids, pair.pruned, pair.tokenizer)
    return ids


def _row(workspace: Workspace, pair: ModelPair, passage: Passage) -> torch.Tensor:
    """[pos] ids of the whole window that a passage is of, or of what was typed, with what leads a text before it."""
    findings = workspace.findings
    if passage.source == "own":
        ids = token_ids(pair.tokenizer, passage.own)
        return torch.tensor(led(lead(pair.tokenizer), ids) if ids else [], dtype=torch.long)
    tokens = findings.evaluation if passage.source == "evaluation" else findings.calibration
    return tokens.ids[passage.text]


@st.cache_data(max_entries=8, show_spinner=False)
def sample_contexts(recipe: Recipe, _workspace: Workspace) -> list[str]:
    """Every sampled token in its context, the token itself between brackets."""
    findings, tokenizer = _workspace.findings, _workspace.pair(dense=False).tokenizer
    samples = findings.statistics.samples
    return [
        "{}[{}]{}".format(*in_context(findings.calibration, tokenizer, text, pos, 6)).replace("\n", " ")
        for text, pos in zip(samples.text.tolist(), samples.pos.tolist(), strict=True)
    ]


@st.cache_data(max_entries=8, show_spinner=False)
def opening(recipe: Recipe, _workspace: Workspace) -> str:
    """The first words of the evaluation text."""
    ids = _workspace.findings.evaluation.ids[0, :OPENING].tolist()
    return str(_workspace.pair(dense=False).tokenizer.decode(ids, skip_special_tokens=True)).strip()


@st.cache_data(max_entries=32, show_spinner=False)
def losses_of_three(
    recipe: Recipe, run: str, ids: tuple[int, ...], _workspace: Workspace, _run: Run
) -> list[TokenLoss]:
    """Of one text by the dense, the pruned and the restored model, the latter two with their distance to the dense one.

    Raises LoadError if the run is of another pruned model, or the tokenizer of another model.
    """
    adapter = _run.adapter()

    def read() -> list[TokenLoss]:
        pair = _workspace.pair()
        tokens = as_text(pair.tokenizer, ids)
        check_embedded(tokens.ids, pair.dense, pair.tokenizer)
        adapter_fits(adapter, pair.pruned)
        in_place = partial(compensated, pair.pruned, adapter.compensation)
        return finish(side_by_side(pair.dense, tokens, [(pair.pruned, nullcontext), (pair.pruned, in_place)]))

    return lane.run(_workspace, read)


@st.cache_data(max_entries=16, show_spinner=False)
def in_turn(recipe: Recipe, count: int, _effect: PredictedEffect, _workspace: Workspace) -> torch.Tensor:
    """[layer, head, component] rank of components by what they do together, of the first `count` (see `Along`)."""
    return _effect.along(_workspace.lost).in_turn(count)


@st.cache_data(max_entries=32, show_spinner=False)
def live_of_run(recipe: Recipe, run: str, _workspace: Workspace, _run: Run) -> Measured:
    """What a run puts back, on the live set. Raises LoadError if the run is of another pruned model."""
    adapter = _run.adapter()

    def measure() -> Measured:
        live, findings = _workspace.live(), _workspace.findings
        adapter_fits(adapter, live.prefix.model)
        work = live.prefix.again(0, lambda: compensated(live.prefix.model, adapter.compensation))
        return compared(findings.live_dense, live.pruned, finish(work))

    return lane.run(_workspace, measure)


def kept_run(folder: Path) -> Run:
    """A run, read again only where its config changed on disk. Raises LoadError."""
    try:
        told = (folder / CONFIG).stat()
    except OSError:
        return load_run(folder)  # and that says what is wrong
    return _run_of(folder, told.st_mtime_ns, told.st_size, told.st_ino)


@lru_cache(maxsize=64)
def _run_of(folder: Path, *state: int) -> Run:
    return load_run(folder)


@st.cache_data(max_entries=64, show_spinner=False)
def metrics(folder: str, _run: Run) -> pd.DataFrame:
    """What a run's steps were; a run that is kept never changes."""
    return _run.metrics()


@st.cache_data(max_entries=16, show_spinner=False)
def merge_check(recipe: Recipe, factor: float, _workspace: Workspace) -> MergeCheck:
    """Hook against bias, with so many times the mean of every head put back."""
    live = _workspace.findings.live
    ids = live.ids[0, : min(PASSAGE, int(live.real[0].sum()))]
    return lane.run(_workspace, lambda: check_merge(_workspace.pair(dense=False), _workspace.lost, factor, ids))
