"""The command `validate`: what a restoration was asked for, checked without running it."""

from __future__ import annotations

import time
from typing import Any

import torch

from .... import face
from ....models.loading import DEMO
from ....models.memory import free_bytes, model_bytes, too_big
from ....models.pair import ModelPair, skeleton_pair
from ....progress import duration
from ....restoration.parameters import Held, training_bytes, training_seconds
from ....restoration.settings import Settings
from ....restoration.sweep import some_of
from ....restoration.weights import counted
from ....selection.picks import Selection, top_heads
from ....text.calibration import split_held_out, window_length
from ....text.sources import SELF
from ....text.tokens import Tokens, whole
from ...console import note, say, show_json
from ...given.asked import Asked
from ...opening import Text
from ..restoring.opened import second_text

SIDE = 512
"""Of the matrices whose product says how fast this machine computes."""


def validate(asked: Asked, as_json: bool) -> None:
    """Open the pair without its weights and read the texts; whatever `restore` would refuse is refused. Raises what it
    would."""
    pair = _pair(asked)
    for remark in pair.remarks():
        note(remark)
    tokens = _read(asked.text, pair)
    training, held_out = split_held_out(tokens)
    elsewhere = second_text(asked, pair, tokens)
    training = some_of(training, asked.share)
    settings = asked.settings.counted(len(training))
    if settings.positions == "last" and not training.asks.any():
        note(f"{asked.text.source} asks no questions: directions are of the last token of every window.")
    selection = _selection(asked, pair)
    found = {
        "dense": asked.dense,
        "pruned": asked.pruned,
        "windows": len(training),
        "held_out": len(held_out),
        "length": tokens.ids.shape[1],
        "elsewhere": None if elsewhere is None else len(elsewhere),
        "heads": len(selection.heads) if asked.picks.budget is None else None,
        "steps": settings.steps,
        **_takes(asked, pair, settings, selection, training, len(held_out)),
    }
    if as_json:
        show_json(found)
        return
    say(f"{asked.dense} and {asked.pruned} are a pair: {pair.geometry}.")
    said = "" if elsewhere is None else f", and {len(elsewhere)} of {asked.elsewhere} judge the restoration"
    say(f"{len(training)} windows of {tokens.ids.shape[1]} tokens train, {len(held_out)} choose the step{said}.")
    heads = f"{len(selection.heads)} heads" if asked.picks.budget is None else f"heads for {asked.picks.budget} numbers"
    say(f"{settings.steps} steps in {heads}. {_told(found)}")


def _pair(asked: Asked) -> ModelPair:
    """Without its weights; the dense model for both where the pruned one is made when it is opened."""
    made = asked.in_app is not None and asked.in_app.recipe.pruned is None
    dense = asked.in_app.recipe.dense if asked.in_app is not None else asked.dense
    if dense == DEMO and (made or asked.pruned == DEMO):
        return face.load_pair(DEMO, DEMO)
    return skeleton_pair(dense, dense if made else asked.pruned, asked.loading)


def _read(text: Text, pair: ModelPair) -> Tokens:
    """The text trained on; of what the dense model would write, as many windows of anything."""
    if text.source != SELF:
        return text.tokens(pair.dense, pair.tokenizer)
    return whole(torch.zeros(text.windows, window_length(pair.dense, text.length), dtype=torch.int64))


def _selection(asked: Asked, pair: ModelPair) -> Selection:
    """As many heads and components as are to be trained: which of them, a score says when it runs."""
    picks, shape = asked.picks, pair.geometry
    size = (shape.n_layers, shape.n_heads, shape.d_head)
    if picks.chosen:
        return picks.selection()[0]
    count = max(1, round(picks.heads * int(pair.present.sum())))
    return top_heads(size, torch.zeros(size[:2]), count, picks.components, pair.present)


def _takes(
    asked: Asked, pair: ModelPair, settings: Settings, selection: Selection, training: Tokens, held_out: int
) -> dict[str, Any]:
    """Memory and time, as far as they are known without weights."""
    loading = asked.loading
    models = [model_bytes(name, loading) for name in (asked.dense, asked.pruned)]
    note_of_size = too_big(asked.dense, asked.pruned, loading)
    if note_of_size:
        note(note_of_size)
    length, memory = training.ids.shape[1], None
    if settings.kind == "constants":  # Weights that survived are counted where they are.
        held: Held = "layer" if settings.by_blocks == settings.steps else "whole"
        layers = sorted({layer for layer, _ in selection.heads})
        count = counted(pair, selection, settings)
        count = count if asked.picks.budget is None else min(count, asked.picks.budget)
        memory = training_bytes(pair.pruned, count, settings.batch * length, layers, held)
    pace = 2 * pair.pruned.num_parameters() / _speed()
    return {
        "models_bytes": None if None in models else sum(size for size in models if size is not None),
        "training_bytes": memory,
        "free_bytes": free_bytes(loading),
        "seconds": training_seconds(settings, length, held_out, pace),
    }


def _speed() -> float:
    """Floating-point operations a second of a matrix product, here and now."""
    factor = torch.ones(SIDE, SIDE)
    factor @ factor  # The first one starts the threads.
    began = time.perf_counter()
    factor @ factor
    return 2 * SIDE**3 / max(1e-9, time.perf_counter() - began)


def _told(found: dict[str, Any]) -> str:
    """Memory and time, in words."""
    gigabytes = {name: f"{found[name] / 1e9:.2g} GB" for name in ("models_bytes", "training_bytes", "free_bytes")
                 if found[name] is not None}  # fmt: skip
    words = {"models_bytes": "the models take {}", "training_bytes": "training {} more", "free_bytes": "{} are free"}
    parts = [words[name].format(size) for name, size in gigabytes.items()]
    parts.append(f"about {duration(found['seconds'])} by what a matrix product takes here on the CPU")
    told = "; ".join(parts) + "."
    return told[0].upper() + told[1:]
