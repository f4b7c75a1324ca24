"""The command `evaluate`: the perplexity of a model on a text."""

from __future__ import annotations

from pathlib import Path

from ..artifacts.export import adapter_fits, load_adapter
from ..compensation.interface import compensated
from ..evaluation.perplexity import measure, perplexity
from ..models.loading import Loading, load_model, load_tokenizer
from ..progress_bar import watched
from ..text.calibration import evaluation_tokens
from .console import say, show_json, shown
from .opening import note_model


def evaluate(
    name: str,
    adapter: Path | None,
    source: str,
    stride: int | None,
    windows: int | None,
    length: int | None,
    loading: Loading,
    as_json: bool,
) -> None:
    """Perplexity of a model, with an adapter or without."""
    model, tokenizer = load_model(name, loading), load_tokenizer(name, loading)
    note_model(model)
    tokens = evaluation_tokens(source, model, tokenizer, length, stride, windows)
    if adapter is None:
        loss = watched(measure(model, tokens))
    else:
        loaded = load_adapter(adapter)
        adapter_fits(loaded, model)
        loss = watched(measure(model, tokens, within=lambda: compensated(model, loaded.compensation)))
    found = perplexity(loss)
    if as_json:
        text = {"text": source, "windows": len(tokens), "length": tokens.ids.shape[1], "notes": list(tokens.notes)}
        show_json(found.figures() | text)
        return
    say(
        f"perplexity {shown(found)} on {source}, over {found.tokens} tokens in {len(tokens)} windows of "
        f"{tokens.ids.shape[1]}"
    )
    for remark in tokens.notes:
        say(remark)
