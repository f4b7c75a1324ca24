"""A pair, opened and looked through: all that is needed to explore what it lost and to restore it.

workspace = finish(open_workspace(Recipe()))        # the embedded pair, pruned and captured
workspace.loss.table("relative_error")              # [layer, head]
workspace.pair()                                    # the models, loaded when first asked for
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from .artifacts.findings import LIVE_TOKENS, LIVE_WINDOW, Findings, Recipe, Size, keep_findings, kept_findings
from .capture.components import LostComponents, components
from .capture.head_loss import HeadLoss, head_loss
from .capture.one_at_a_time import capture_one_at_a_time
from .capture.statistics import HeadStatistics, capture
from .demo.pair import demo_dense, demo_pair
from .errors import LoadError, SettingError
from .evaluation.perplexity import TokenLoss, measure
from .evaluation.prefix import Prefix
from .hf.layout import remarks
from .hf.weights import values_of
from .models.loading import DEMO, load_model, load_tokenizer
from .models.memory import too_big
from .models.pair import ModelPair, load_pair, paired, skeleton_pair
from .progress import Progress, finish
from .pruning.layerwise import prune
from .pruning.sparsity import measure_sparsity
from .restoration.injection import capture_in_order
from .text import sources
from .text.calibration import calibration_tokens, split_held_out, window_length
from .text.tokens import Tokens, tokenized

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SMALLER = "open the pair in half precision, or where there is more memory."


class Workspace:
    """A pair and what was found of it. Shared by everybody who looks at it: nothing in it ever changes."""

    def __init__(self, recipe: Recipe, findings: Findings, pair: ModelPair | None = None, apart: str = "") -> None:
        """pair, apart: the models, where they are in memory already, and why the pruned one is alone there, if so."""
        self.recipe, self.findings = recipe, findings
        self._apart = apart
        self.loss: HeadLoss = head_loss(findings.statistics)
        self.lost: LostComponents = components(findings.statistics)
        self.training, self.held_out = split_held_out(findings.calibration)
        self._pair, self._lock = pair, threading.Lock()
        self._prefix: Prefix | None = None

    @property
    def loaded(self) -> bool:
        """The models are in memory."""
        return self._pair is not None

    def remarks(self) -> list[str]:
        """What should be said of how this pair was read, a sentence each: which heads are gone, that one model is here
        alone, what `layout.remarks` says of its layers. Of models that are not in memory nothing new is found."""
        said = [self.findings.gone]
        if self._apart:
            said.append(f"{self._apart} They were read one at a time, and the pruned model is here alone.")
        if self._pair is not None:
            said += remarks(self._pair.pruned)
        return [one for one in said if one]

    def pair(self, dense: bool = True) -> ModelPair:
        """The models; loads them, in seconds, if only findings were read so far. Raises LoadError, also where both
        cannot be in memory at once.

        dense: whether the dense model has to compute; without it, it may be a skeleton (see `models.skeleton_pair`).
        """
        with self._lock:
            if self._pair is None:
                self._apart = _too_big(self.recipe)
                self._pair = _pruned_alone(self.recipe) if self._apart else finish(_paired(self.recipe))[0]
            if dense and self._apart:
                raise LoadError(f"{self._apart} The pruned model is here alone, and this needs both: {SMALLER}")
            return self._pair

    def prefix(self) -> Prefix:
        """The pruned model on the live set, to be measured again from the first changed layer on; ready after one
        forward pass, when it is first asked for."""
        pair = self.pair(dense=False)
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
    apart = _too_big(recipe)
    if apart:
        pair, found = yield from _one_at_a_time(recipe, apart)
    else:
        pair, tokens = yield from _paired(recipe)
        statistics = yield from (capture_in_order if recipe.in_order else capture)(pair, tokens[: recipe.captured])
        dense = yield from _judged(pair.dense, live := _live(recipe, pair))
        found = yield from _found(recipe, pair, tokens, statistics, live, dense)
    keep_findings(recipe, found)
    return Workspace(recipe, found, pair, apart)


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


def _too_big(recipe: Recipe) -> str:
    """Why both models cannot be in memory; what is pruned here is, as the dense model's copy."""
    return "" if recipe.pruned is None else too_big(recipe.dense, recipe.pruned, recipe.loading)


def _pruned_alone(recipe: Recipe) -> ModelPair:
    """The pair with the weights of the pruned model alone."""
    pair = skeleton_pair(recipe.dense, str(recipe.pruned), recipe.loading)
    return replace(pair, pruned=_pruned(recipe, pair))


def _one_at_a_time(recipe: Recipe, apart: str) -> Generator[Progress, None, tuple[ModelPair, Findings]]:
    """What is found of a pair of which one model fits, and the pair with the pruned one alone."""
    if recipe.in_order:
        raise SettingError(f"{apart} Measuring layers in order needs both: {SMALLER}")
    yield Progress(f"loading {recipe.dense}, one model at a time", 0, 1)
    pair = skeleton_pair(recipe.dense, str(recipe.pruned), recipe.loading)
    load_dense, load_pruned = partial(load_model, recipe.dense, recipe.loading), partial(_pruned, recipe, pair)
    sampled = recipe.calibration == sources.SELF
    tokens = yield from _calibration(recipe, load_dense() if sampled else pair.dense, pair.tokenizer)
    statistics = yield from capture_one_at_a_time(pair, load_dense, load_pruned, tokens[: recipe.captured])
    live = _live(recipe, pair)
    dense = yield from _judged(load_dense(), live)
    pair = replace(pair, pruned=load_pruned())
    return pair, (yield from _found(recipe, pair, tokens, statistics, live, dense))


def _pruned(recipe: Recipe, pair: ModelPair) -> PreTrainedModel:
    """The pruned model of a pair without weights, told which heads it has."""
    model = load_model(pair.pruned_name, recipe.loading)
    if pair.match is not None:
        model.config.pruning = pair.pruned.config.pruning
    return model


def _live(recipe: Recipe, pair: ModelPair) -> Tokens:
    short = min(window_length(pair.dense, recipe.length), LIVE_WINDOW)
    documents = sources.read(recipe.evaluation, "evaluation")
    return tokenized(documents, pair.tokenizer, short, most=max(1, LIVE_TOKENS // short))


def _judged(model: PreTrainedModel, live: Tokens) -> Generator[Progress, None, tuple[Size, TokenLoss]]:
    return _size(model), (yield from measure(model, live))


def _found(
    recipe: Recipe,
    pair: ModelPair,
    tokens: Tokens,
    statistics: HeadStatistics,
    live: Tokens,
    dense: tuple[Size, TokenLoss],
) -> Generator[Progress, None, Findings]:
    """pair: the weights of the pruned model are all that is asked for."""
    documents = sources.read(recipe.evaluation, "evaluation")
    length = window_length(pair.dense, recipe.length)
    pruned_size, live_pruned = yield from _judged(pair.pruned, live)
    return Findings(
        geometry=pair.geometry,
        dense_name=recipe.dense,
        pruned_name=pruned_name(recipe),
        dense_size=dense[0],
        pruned_size=pruned_size,
        sparsity=measure_sparsity(pair.pruned),
        calibration=tokens,
        evaluation=tokenized(documents, pair.tokenizer, length, most=recipe.evaluated),
        live=live,
        statistics=statistics,
        live_dense=dense[1],
        live_pruned=live_pruned,
        gone="" if pair.match is None else str(pair.match),
    )


def _size(model: PreTrainedModel) -> Size:
    counts = [(values.numel(), int(values.count_nonzero())) for _, values in values_of(model)]
    return Size(*map(sum, zip(*counts, strict=True)))
