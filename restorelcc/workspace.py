"""A pair, opened and looked through: all that is needed to explore what it lost and to restore it.

workspace = finish(open_workspace(Recipe()))        # the embedded pair, pruned and captured
workspace.loss.table("relative_error")              # [layer, head]
workspace.pair()                                    # the models, loaded when first asked for
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import TYPE_CHECKING

from . import text
from .calibration import calibration_tokens, split_held_out, window_length
from .capture import capture
from .components import LostComponents, components
from .demo import demo_dense, demo_pair
from .evaluate import measure
from .findings import Findings, Recipe, Size, keep_findings, kept_findings
from .head_loss import HeadLoss, head_loss
from .in_order import capture_in_order
from .matrices import values_of
from .models import DEMO, ModelPair, load_model, load_pair, load_tokenizer, paired
from .prefix import Prefix
from .progress import Progress, finish
from .pruning import measure_sparsity, prune
from .text import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

LIVE_TOKENS = 6_144  # about half a second of the embedded model's time on two cores
LIVE_WINDOW = 256


class Workspace:
    """A pair and what was found of it. Shared by everybody who looks at it: nothing in it ever changes."""

    def __init__(self, recipe: Recipe, findings: Findings, pair: ModelPair | None = None) -> None:
        self.recipe, self.findings = recipe, findings
        self.loss: HeadLoss = head_loss(findings.statistics)
        self.lost: LostComponents = components(findings.statistics)
        self.training, self.held_out = split_held_out(findings.calibration)
        self._pair, self._lock = pair, threading.Lock()
        self._prefix: Prefix | None = None

    @property
    def loaded(self) -> bool:
        """The models are in memory."""
        return self._pair is not None

    def pair(self) -> ModelPair:
        """The models; loads them, in seconds, if only findings were read so far. Raises LoadError."""
        with self._lock:
            if self._pair is None:
                self._pair, _ = finish(_paired(self.recipe))
            return self._pair

    def prefix(self) -> Prefix:
        """The pruned model on the live set, to be measured again from the first changed layer on; ready after one
        forward pass, when it is first asked for."""
        pair = self.pair()
        with self._lock:
            if self._prefix is None:
                self._prefix = Prefix(pair.pruned, self.findings.live)
                finish(self._prefix.measured())
            return self._prefix


def open_workspace(recipe: Recipe) -> Generator[Progress, None, Workspace]:
    """Load or make the pair, read its heads, and measure both models on the live set; yields progress.

    What was found of the embedded pair is kept in the user's cache, so that the second time needs no model.
    Raises whatever the engine's parts raise.
    """
    kept = kept_findings(recipe)
    if kept is not None:
        return Workspace(recipe, kept)
    pair, tokens = yield from _paired(recipe)
    found = yield from _found(recipe, pair, tokens)
    keep_findings(recipe, found)
    return Workspace(recipe, found, pair)


def pruned_name(recipe: Recipe) -> str:
    """How people would call the pruned model: 'wanda 60 %', or the name it was given by."""
    return str(recipe.pruning) if recipe.pruned is None else recipe.pruned


def _paired(recipe: Recipe) -> Generator[Progress, None, tuple[ModelPair, Tokens]]:
    """The models, and the tokens that calibrate."""
    yield Progress(f"loading {recipe.dense}", 0, 1)
    if recipe.pruned is not None:
        pair = load_pair(recipe.dense, recipe.pruned, recipe.loading)
        return pair, (yield from _calibration(recipe, pair.dense, pair.tokenizer))
    if recipe.dense == DEMO:
        dense, tokenizer = demo_dense(recipe.loading)
        tokens = yield from _calibration(recipe, dense, tokenizer)
        pair = yield from demo_pair(dense, tokenizer, tokens, recipe.pruning, recipe.calibration, recipe.loading)
        return pair, tokens
    dense, tokenizer = load_model(recipe.dense, recipe.loading), load_tokenizer(recipe.dense, recipe.loading)
    tokens = yield from _calibration(recipe, dense, tokenizer)
    twin = yield from prune(dense, tokens, recipe.pruning, recipe.calibration)
    return paired(dense, twin, tokenizer, recipe.dense, pruned_name(recipe)), tokens


def _calibration(
    recipe: Recipe, dense: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> Generator[Progress, None, Tokens]:
    return calibration_tokens(recipe.calibration, dense, tokenizer, recipe.length, recipe.windows)


def _found(recipe: Recipe, pair: ModelPair, tokens: Tokens) -> Generator[Progress, None, Findings]:
    statistics = yield from (capture_in_order if recipe.in_order else capture)(pair, tokens[: recipe.captured])
    documents = text.read(recipe.evaluation, "evaluation")
    length = window_length(pair.dense, recipe.length)
    short = min(length, LIVE_WINDOW)
    live = text.tokenized(documents, pair.tokenizer, short, most=max(1, LIVE_TOKENS // short))
    return Findings(
        geometry=pair.geometry,
        dense_name=recipe.dense,
        pruned_name=pruned_name(recipe),
        dense_size=_size(pair.dense),
        pruned_size=_size(pair.pruned),
        sparsity=measure_sparsity(pair.pruned),
        calibration=tokens,
        evaluation=text.tokenized(documents, pair.tokenizer, length, most=recipe.evaluated),
        live=live,
        statistics=statistics,
        live_dense=(yield from measure(pair.dense, live)),
        live_pruned=(yield from measure(pair.pruned, live)),
        gone="" if pair.match is None else str(pair.match),
    )


def _size(model: PreTrainedModel) -> Size:
    counts = [(values.numel(), int(values.count_nonzero())) for _, values in values_of(model)]
    return Size(*map(sum, zip(*counts, strict=True)))
