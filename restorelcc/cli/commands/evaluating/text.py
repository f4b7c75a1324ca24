"""`evaluate`: the perplexity of a model on a text, and its distance to the dense model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....artifacts.export import Adapter, adapter_fits, load_adapter, trained_on
from ....compensation.interface import compensated
from ....errors import PairMismatch
from ....evaluation.comparison import compare, distance, side_by_side
from ....evaluation.perplexity import measure, paired_difference, perplexity
from ....hf.layout import vocabulary_size
from ....models.loading import Loading, load_model, load_tokenizer
from ....models.memory import placed
from ....progress_bar import watched
from ....text.calibration import evaluation_tokens
from ....text.tokens import Tokens
from ...console import note, say, show_json, shown
from ...opening import note_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Asked:
    """What is to be measured, and on what."""

    model: str
    adapter: Path | None
    against: str | None
    """The dense model, to measure the distance to."""
    source: str
    stride: int | None
    windows: int | None
    length: int | None


def evaluate(asked: Asked, loading: Loading, as_json: bool) -> None:
    """Perplexity of a model, with an adapter or without."""
    loading, how = placed([name for name in (asked.model, asked.against) if name], loading)
    if how:
        note(how)
    model, tokenizer = load_model(asked.model, loading), load_tokenizer(asked.model, loading)
    note_model(model)
    tokens = evaluation_tokens(asked.source, model, tokenizer, asked.length, asked.stride, asked.windows)
    adapter = _adapter(model, asked.adapter)
    within = nullcontext if adapter is None else partial(compensated, model, adapter.compensation)
    if adapter is not None:
        tokens = replace(tokens, notes=(*tokens.notes, *trained_on(adapter, tokens)))
    if asked.against is None:
        loss, more = watched(measure(model, tokens, within=within)), dict[str, Any]()
    else:
        loss, more = _against(load_model(asked.against, loading), model, tokens, within, asked)
    found = perplexity(loss)
    if as_json:
        size = {"text": asked.source, "windows": len(tokens), "length": tokens.ids.shape[1]}
        show_json(found.figures() | more | size | {"notes": list(tokens.notes)})
        return
    say(
        f"perplexity {shown(found)} on {asked.source}, over {found.tokens} tokens in {len(tokens)} windows of "
        f"{tokens.ids.shape[1]}"
    )
    _tell(more, asked)
    for remark in tokens.notes:
        say(remark)


def _adapter(model: PreTrainedModel, folder: Path | None) -> Adapter | None:
    """What is put back, if anything is; it fits the model."""
    if folder is None:
        return None
    adapter = load_adapter(folder)
    adapter_fits(adapter, model)
    return adapter


def _against(
    dense: PreTrainedModel,
    model: PreTrainedModel,
    tokens: Tokens,
    within: Callable[[], AbstractContextManager[None]],
    asked: Asked,
) -> tuple[Any, dict[str, Any]]:
    """(the model's loss, its distance to the dense model and what it loses against it; with an adapter, what of both
    the adapter undoes, too). Raises PairMismatch for a dense model of other tokens."""
    if vocabulary_size(dense) != vocabulary_size(model):
        raise PairMismatch(
            f"{asked.against} predicts {vocabulary_size(dense)} tokens and {asked.model} {vocabulary_size(model)}, so "
            "there is no distance between what they predict. Give the dense model that was pruned."
        )
    if asked.adapter is None:
        own, loss = watched(side_by_side(dense, tokens, [(model, within)]))
        lost = paired_difference(loss, own)
        change = {"nats": lost.nats, "stderr": lost.stderr}
        return loss, {"dense": perplexity(own).figures(), "kl": asdict(distance(loss)), "lost": change}
    states = watched(side_by_side(dense, tokens, [(model, nullcontext), (model, within)]))
    return states[-1], compare(*states).figures()


def _tell(more: dict[str, Any], asked: Asked) -> None:
    """The figures beside the perplexity, to people."""
    if not more:
        return
    kl = more["kl"] if asked.adapter is None else more["kl"]["restored"]
    say(f"KL from {asked.against}, of the next token: {kl['nats']:.4f} ± {kl['stderr']:.4f} nats per token")
    if asked.adapter is None:
        lost, dense = more["lost"], more["dense"]
        say(f"{lost['nats']:+.4f} ± {lost['stderr']:.4f} nats against its perplexity of {dense['perplexity']:.3f}")
        return
    for name, error, what in (
        ("recovered_share", "share_stderr", "of the log-likelihood that pruning lost is recovered"),
        ("nearer", "nearer_stderr", "of the distance to the dense model is gone"),
    ):
        if more[name] is not None:
            spread = "" if more[error] is None else f" ± {more[error]:.1%}"
            say(f"{more[name]:.1%}{spread} {what}")
