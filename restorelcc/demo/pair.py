"""The embedded pair: a small trained model that comes with the package, and its pruned partner, made on first use."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from platformdirs import user_cache_path

from .. import __version__
from ..artifacts.export import save_checkpoint
from ..artifacts.provenance import code_digest
from ..errors import LoadError, WriteError
from ..models.loading import DEMO, Loading, load_model, load_tokenizer, source_of
from ..models.pair import ModelPair, paired
from ..progress import Progress
from ..pruning.layerwise import Pruning, prune
from ..storage.digests import check_seal
from ..text.tokens import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DEFAULT = Pruning("wanda", 0.6)
# All 86 make it no better (a pruned perplexity of 10.93 instead of 10.90), and whoever starts the app waits for them.
WINDOWS = 48


def demo_dense(loading: Loading | None = None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The dense model and its tokenizer."""
    return load_model(DEMO, loading), load_tokenizer(DEMO)


def demo_pair(
    dense: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    tokens: Tokens,
    pruning: Pruning = DEFAULT,
    calibration: str = DEMO,
    loading: Loading | None = None,
) -> Generator[Progress, None, ModelPair]:
    """The dense model with its pruned partner: from the cache, or made now from the first tokens and put there. A cache
    that cannot be written or read costs the time of making it, no more. Rows lose the nearest whole number of weights,
    which all figures that are quoted of this pair were measured with."""
    tokens = tokens[:WINDOWS]
    folder = cached_pruned(dense, tokens, pruning)
    try:
        check_seal(folder)
        pruned = load_model(str(folder), loading)
    except LoadError:  # Not there yet, or damaged: either way it can be made.
        made = yield from prune(dense, tokens, replace(pruning, rounding="nearest"), calibration)
        try:
            save_checkpoint(folder, made, tokenizer, replace=True, sealed=True)
            pruned = load_model(str(folder), loading)
        except (WriteError, LoadError):
            pruned = made
    return paired(dense, pruned, tokenizer, DEMO, str(folder))


def cached_pruned(dense: PreTrainedModel, tokens: Tokens, pruning: Pruning) -> Path:
    """The folder named by everything that the pruned model depends on: weights, precision, rule, text, code."""
    weights = hashlib.sha256((Path(source_of(DEMO)) / "model.safetensors").read_bytes()).hexdigest()
    facts = (weights, str(dense.dtype), dense.device.type, sorted(asdict(pruning).items(), key=str), tokens.digest())
    key = hashlib.sha256(repr((*facts, __version__, torch.__version__, code_digest())).encode()).hexdigest()[:16]
    amount = (pruning.pattern or f"{pruning.sparsity:g}").replace(":", "of")
    method = pruning.method if pruning.allocation == "uniform" else f"{pruning.method}-{pruning.allocation}"
    return user_cache_path("restorelcc") / "pruned" / f"demo-{method}-{amount}-{key}"
