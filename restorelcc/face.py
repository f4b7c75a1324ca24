"""The engine in one call a verb, for people in a notebook or a script: what `import restorelcc` gives.

Models are given by name (a hub id, a folder, `demo`) or as they are in memory, text by the name of its source or as
tokens. Work is run to its end, with a bar where somebody sees it, and gives a frozen result. Whoever wants to draw the
work, or to leave it half-way, calls the wings instead: their long work is generators that yield `Progress`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from . import errors
from .artifacts import export as artifacts
from .artifacts.export_formats import FORMATS
from .capture import statistics
from .capture.components import LostComponents, components
from .capture.head_loss import HeadLoss, head_loss
from .capture.statistics import HeadStatistics, Positions
from .compensation.interface import Compensation, compensated
from .demo.pair import demo_dense, demo_pair
from .errors import PairMismatch, RestoreLCCError, SettingError
from .evaluation.perplexity import Perplexity, measure, perplexity, recovered_share
from .hf.narrow import pruning_record
from .models import pair as pairs
from .models.loading import DEMO, Loading, load_model, load_tokenizer
from .models.memory import placed
from .models.pair import ModelPair, paired
from .progress_bar import libraries_quiet, watched
from .pruning import layerwise
from .pruning.layerwise import Pruning
from .registry import chosen
from .restoration.settings import DEFAULTS, Settings
from .restoration.training import Restoration, directions, prepared
from .selection.picks import Selection, share_of_heads, top_components, top_heads
from .selection.scores import SCORES, ScoreInputs
from .selection.scoring import score_heads
from .text.calibration import DEFAULT_WINDOWS, calibration_tokens, evaluation_tokens, split_held_out
from .text.tokens import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = [
    "Compensation", "HeadLoss", "HeadStatistics", "Loading", "LostComponents", "ModelPair", "Perplexity", "Pruning",
    "Restoration", "RestoreLCCError", "Selection", "Settings", "Tokens", "capture", "compensated", "components",
    "errors", "evaluate", "export", "head_loss", "load_pair", "load_restored", "prune", "rank_heads", "read_text",
    "recovered_share", "restore", "top_components", "top_heads",
]  # fmt: skip

SCORE = "together_dense"


# --- models and text --------------------------------------------------------------------------------------------


@libraries_quiet()
def load_pair(dense: str = DEMO, pruned: str = DEMO, loading: Loading | None = None) -> ModelPair:
    """A dense model and its pruned partner. `demo` as the pruned one is the embedded model's, made on first use.

    Raises LoadError, and PairMismatch where the two are not states of one model.
    """
    if pruned != DEMO:
        return pairs.load_pair(dense, pruned, loading)
    if dense != DEMO:
        raise PairMismatch(f"'{DEMO}' as the pruned model is the partner of the embedded dense model, not of {dense}.")
    model, tokenizer = demo_dense(loading)
    tokens = watched(calibration_tokens(DEMO, model, tokenizer))
    return watched(demo_pair(model, tokenizer, tokens, loading=loading))


@libraries_quiet()
def prune(
    dense: str | PreTrainedModel,
    text: str | Tokens = DEMO,
    pruning: Pruning | None = None,
    loading: Loading | None = None,
) -> ModelPair:
    """The dense model beside a pruned copy of it: by Wanda to 50 %, or as `pruning` says.

    Raises LoadError, TextError, SettingError, and UnsupportedModel from structured pruning.
    """
    model, tokenizer = _opened(dense, loading)
    rule = pruning or Pruning()
    tokens = _calibration(text, model, tokenizer)
    twin = watched(layerwise.prune(model, tokens, rule, text if isinstance(text, str) else "tokens"))
    return paired(model, twin, tokenizer, _name(dense), str(rule))


def read_text(
    source: str, pair: ModelPair, windows: int = DEFAULT_WINDOWS, length: int | None = None, seed: int = 0
) -> Tokens:
    """Text to calibrate and train on, as tokens to hand to several verbs; at most `windows` windows of `length` tokens.

    source: demo, a .txt or .jsonl[:field] file, self (sampled from the dense model, with `seed`), wikitext2, c4,
    alpaca, or hf:dataset[/config][:split[:column]]. length: the model's context, up to 2 048, by default. Raises
    TextError, SettingError.
    """
    return watched(calibration_tokens(source, pair.dense, pair.tokenizer, length, windows, seed))


def _opened(model: str | PreTrainedModel, loading: Loading | None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model with its tokenizer."""
    network = _network(model, loading)
    return network, load_tokenizer(_name(model), loading)


def _network(model: str | PreTrainedModel, loading: Loading | None) -> PreTrainedModel:
    return load_model(model, placed([model], loading)[0]) if isinstance(model, str) else model


def _name(model: str | PreTrainedModel) -> str:
    """Where a model comes from, and its tokenizer with it. Raises SettingError for one that was never loaded."""
    name = model if isinstance(model, str) else model.name_or_path
    if not name:
        raise SettingError(
            "This model was not loaded from anywhere, so its tokenizer is not known. Give tokens in place of the name "
            "of a text, or save model and tokenizer into a folder and give that."
        )
    return name


def _calibration(text: str | Tokens, dense: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Tokens:
    return text if isinstance(text, Tokens) else watched(calibration_tokens(text, dense, tokenizer))


# --- what was lost, and which heads come first ------------------------------------------------------------------


def capture(pair: ModelPair, text: str | Tokens = DEMO, positions: Positions = "all") -> HeadStatistics:
    """What pruning took from every head, as statistics over the text, which `components` and `head_loss` read.

    positions: `all` tokens, or the `last` of every text, which is what the paper uses.
    """
    return watched(statistics.capture(pair, _calibration(text, pair.dense, pair.tokenizer), positions))


def rank_heads(pair: ModelPair, text: str | Tokens = DEMO, score: str = SCORE, seed: int = 0) -> Tensor:
    """[layer, head], highest for the head to restore first: what `top_heads` takes.

    score: its name (`python -m restorelcc inspect --help` lists them). What measures does so on a tenth of the text.
    Raises SettingError.
    """
    tokens = _calibration(text, pair.dense, pair.tokenizer)
    captured, lost = _captured(pair, tokens)
    return _ranks(score, ScoreInputs(pair, captured, lost, *split_held_out(tokens), seed=seed))


def _captured(pair: ModelPair, tokens: Tokens) -> tuple[HeadStatistics, LostComponents]:
    captured = watched(statistics.capture(pair, tokens))
    return captured, components(captured)


def _ranks(score: str, inputs: ScoreInputs) -> Tensor:
    return chosen(score, SCORES, "Score").order(watched(score_heads(score, inputs)).values)


# --- putting it back --------------------------------------------------------------------------------------------


@libraries_quiet()
def restore(
    dense: str | ModelPair = DEMO,
    pruned: str = DEMO,
    text: str | Tokens = DEMO,
    *,
    heads: float = 1.0,
    components: int | None = None,
    score: str = SCORE,
    picks: Selection | None = None,
    settings: Settings | None = None,
    loading: Loading | None = None,
) -> Restoration:
    """Train what is put back into the pruned model, on nine tenths of the text; the best by the last tenth is kept.

    dense, pruned: two names, or a loaded pair alone. heads: share of the heads, those that `score` ranks highest (see
    `rank_heads`). components: the strongest so many of each; all by default. picks: heads and components by hand, in
    place of these. Interrupted (Ctrl-C), it gives the best so far. Raises what its parts raise.
    """
    pair = dense if isinstance(dense, ModelPair) else load_pair(dense, pruned, loading)
    settings = settings or DEFAULTS
    tokens = _calibration(text, pair.dense, pair.tokenizer)
    training, held_out = split_held_out(tokens)
    captured, lost = _captured(pair, tokens)
    if picks is None:
        inputs = ScoreInputs(pair, captured, lost, training, held_out, seed=settings.seed)
        # Where all are taken no order is needed, and a score may take a while.
        ranks = torch.zeros(lost.shape[:2]) if heads == 1 else _ranks(score, inputs)
        picks = share_of_heads(lost, ranks, heads, components)
    lost = watched(directions(pair, lost, training, settings))
    trainer = watched(prepared(pair, lost, picks, training, held_out, settings))
    try:
        return watched(trainer.run())
    except KeyboardInterrupt:
        if not trainer.history:
            raise
        trainer.judged()
        return trainer.result()


@libraries_quiet()
def evaluate(
    model: str | PreTrainedModel,
    text: str | Tokens = DEMO,
    compensation: Compensation | Path | str | None = None,
    *,
    length: int | None = None,
    stride: int | None = None,
    windows: int | None = None,
    loading: Loading | None = None,
) -> Perplexity:
    """How well a model predicts a text, as it is or with something put back: a compensation, or an adapter's folder.

    Of `demo` and of datasets the part is read that nothing is trained on. length, stride, windows: how long the windows
    are that the text is cut into, how far apart, how many at most (see `evaluation_tokens`); tokens are cut already.
    Raises LoadError, TextError, SettingError.
    """
    if isinstance(text, Tokens):
        network, tokens = _network(model, loading), text
    else:
        network, tokenizer = _opened(model, loading)
        tokens = evaluation_tokens(text, network, tokenizer, length, stride, windows)
    if isinstance(compensation, Path | str):
        adapter = artifacts.load_adapter(Path(compensation))
        artifacts.adapter_fits(adapter, network)
        compensation = adapter.compensation
    within = nullcontext if compensation is None else partial(compensated, network, compensation)
    return perplexity(watched(measure(network, tokens, within=within)))


@libraries_quiet()
def export(
    restoration: Restoration,
    pruned: str | ModelPair,
    folder: Path | str,
    format: str = "checkpoint",
    about: Mapping[str, Any] | None = None,
    loading: Loading | None = None,
) -> Path:
    """Write the restored model, or an adapter that goes with the pruned one, into a folder, which it gives back.

    pruned: the model that was restored, by its name or in its pair. format: checkpoint, which stock Transformers loads,
    or adapter, of constants under 1 MB for a 7 B model, which `load_restored` does. about: more facts for the model
    card, such as `calibration`, `figures` and `evaluation`. Raises WriteError, SettingError, and UnsupportedModel where
    nothing of the architecture can carry what is put back, and only an adapter does.
    """
    form = chosen(format, FORMATS, "Format")
    if isinstance(pruned, ModelPair):
        model, tokenizer = pruned.pruned, pruned.tokenizer
        names = {"dense": pruned.dense_name, "pruned": pruned.pruned_name}
    else:
        model, tokenizer = _opened(pruned, loading)
        names = {"pruned": pruned}
    facts = {
        **names,
        "pruning": pruning_record(model),
        "fingerprint": artifacts.fingerprint(model),
        "settings": asdict(restoration.settings),
        "trained_parameters": restoration.trained_parameters,
        **(about or {}),
    }
    form.write(Path(folder), model, tokenizer, restoration.compensation, facts)
    return Path(folder)


@libraries_quiet()
def load_restored(
    pruned: str, adapter: Path | str, loading: Loading | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The pruned model with the restoration of an adapter in place for good, and its tokenizer.

    The model is the caller's own; a deep copy keeps the restoration, `save_pretrained` does not. Raises LoadError, also
    if the adapter was made for another model.
    """
    return artifacts.load_restored(pruned, adapter, loading)
