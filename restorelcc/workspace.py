"""A pair, opened and looked through: all that is needed to explore what it lost and to restore it.

workspace = finish(open_workspace(Recipe()))        # the embedded pair, pruned and captured
workspace.loss.table("relative_error")              # [layer, head]
workspace.pair()                                    # the models, loaded when first asked for
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch

from .artifacts.findings import LIVE_TOKENS, LIVE_WINDOW, Findings, Recipe, Size, keep_findings, kept_findings
from .capture.components import LostComponents, components
from .capture.head_loss import HeadLoss, head_loss
from .capture.one_at_a_time import capture_one_at_a_time
from .capture.statistics import HeadStatistics, capture
from .demo.pair import demo_dense, demo_pair
from .errors import LoadError, SettingError
from .evaluation.ending import Ending
from .evaluation.perplexity import TokenLoss, measure, paired_difference
from .evaluation.prefix import Prefix
from .hf.weights import values_of
from .models.loading import DEMO, load_model, load_tokenizer, source_of
from .models.memory import too_big
from .models.pair import ModelPair, OneAtATime, load_pair, paired, skeleton_pair
from .progress import Once, Progress, finish
from .pruning.layerwise import prune
from .pruning.sparsity import measure_sparsity
from .restoration.baselines.rival import Task
from .restoration.injection import capture_in_order
from .selection.picks import everything
from .text import sources
from .text.calibration import (
    ELSEWHERE_WINDOWS,
    calibration_tokens,
    evaluation_apart,
    held_out_remark,
    split_held_out,
    window_length,
)
from .text.tokens import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CALIBRATION = "the calibration text"
AT_ONCE = 4_096
"""Tokens that head activations are read from at once, where a window has no more."""
SMALLER = "open the pair in half precision, with its weights on disk, or where there is more memory."


@dataclass(frozen=True)
class LoadedPair:
    """The models of a pair, in memory."""

    models: ModelPair
    apart: str = ""
    """Why the pruned model is here alone, its partner without weights (see `skeleton_pair`); empty where both are."""


class Workspace:
    """A pair and what was found of it, shared by everybody who looks at it.

    What was found never changes. The models come when they are first needed (see `loading`) and stay until
    `forget_models`: what is kept of a pair can be shown without them.
    """

    def __init__(self, recipe: Recipe, findings: Findings, pair: ModelPair | None = None, apart: str = "") -> None:
        """pair, apart: the models, where they are in memory already, and why the pruned one is alone there, if so."""
        self.recipe: Final = recipe
        self.findings: Final = findings
        self.loss: Final[HeadLoss] = head_loss(findings.statistics)
        self.lost: Final[LostComponents] = components(findings.statistics)
        self.training, self.held_out = split_held_out(findings.calibration)
        loaded = None if pair is None else LoadedPair(pair, apart)
        self.models: Final = Once(partial(_loaded, recipe, findings.calibration), loaded)
        """Loaded once for everybody; says how far that is."""
        self._prefix: Final = Once(partial(_live_set, self.models, findings.live))

    @property
    def loaded(self) -> bool:
        """The models are in memory: `pair` answers at once."""
        return self.models.value is not None

    @property
    def pace(self) -> float | None:
        """Seconds a token of a forward pass of the pruned model took on this machine; None before the first."""
        live = self._prefix.value
        return None if live is None else live.seconds / self.findings.live.ids.numel()

    def remarks(self) -> list[str]:
        """What should be said of how this pair was read, a sentence each: which heads are gone, that one model is here
        alone, and what `ModelPair.remarks` says. Of models that are not in memory nothing new is found."""
        said, loaded = [self.findings.gone], self.models.value
        if loaded is not None and loaded.apart:
            said.append(f"{loaded.apart} They were read one at a time, and the pruned model is here alone.")
        if loaded is not None:
            said += loaded.models.remarks()
        return [remark for remark in said if remark]

    def suspicion(self) -> tuple[str, bool]:
        """(what a pair of which nothing is lost looks like, in a sentence, empty where it looks like one before and
        after pruning; whether each model seems to be given as the other)."""
        found = self.findings
        if torch.equal(found.live_dense.nll, found.live_pruned.nll):
            return (
                f"{found.dense_name} and {found.pruned_name} compute the same: this looks like one model given twice, "
                "so nothing is lost and nothing can be restored. Give the pruned one.",
                False,
            )
        lost = paired_difference(found.live_pruned, found.live_dense)
        if lost.z < -2 and found.pruned_size.nonzero >= found.dense_size.nonzero:
            return (
                f"{found.pruned_name}, given as the pruned model, predicts the text better than {found.dense_name} "
                f"({lost.nats:+.4f} ± {lost.stderr:.4f} nats per token) and has no more zeros: they look swapped.",
                True,
            )
        return "", False

    def loading(self, dense: bool = True) -> Generator[Progress, None, ModelPair]:
        """The models: at once where they are in memory, else loaded, which takes seconds to minutes, or waited for
        where somebody loads them already.

        dense: whether the dense model has to compute; without it, it may be a skeleton (see `models.skeleton_pair`).
        Raises LoadError, also where both are asked for and cannot be in memory at once; then, and where loading failed,
        asking again tries again.
        """
        loaded = yield from self.models.made()
        if dense and loaded.apart:
            raise LoadError(f"{loaded.apart} The pruned model is here alone, and this needs both: {SMALLER}")
        return loaded.models

    def pair(self, dense: bool = True) -> ModelPair:
        """`loading` to its end: blocks for as long as that takes, unless they are `loaded`."""
        return finish(self.loading(dense))

    def preparing(self) -> Generator[Progress, None, Live]:
        """The pruned model on the live set, to be measured again from the first changed layer on; ready after a forward
        pass of either model, when it is first asked for. Raises LoadError."""
        return (yield from self._prefix.made())

    def prefix(self) -> Prefix:
        """The pruned model's, of `live`."""
        return self.live().prefix

    def live(self) -> Live:
        """`preparing` to its end."""
        return finish(self.preparing())

    def forget_models(self) -> None:
        """Let go of the models and what was kept of their passes. What was found stays; models load again if asked."""
        self._prefix.forget()
        self.models.forget()


def open_workspace(recipe: Recipe) -> Generator[Progress, None, Workspace]:
    """Load or make the pair, read its heads, and measure both models on the live set; yields progress.

    What was found of the embedded pair is kept in the user's cache, so that the second time needs no model. Raises
    LoadError, PairMismatch, TextError and SettingError, of what the recipe names.
    """
    kept = kept_findings(recipe)
    if kept is not None:
        return Workspace(recipe, kept)
    apart = _too_big(recipe)
    if apart:
        pair, findings = yield from _one_at_a_time(recipe, apart)
    else:
        pair, tokens = yield from _paired(recipe)
        some = tokens[: recipe.captured]
        # Few at a time where they are long: what is found so far is shown after each.
        batch = max(1, min(8, AT_ONCE // some.ids.shape[1]))
        statistics = yield from (capture_in_order if recipe.in_order else capture)(pair, some, batch=batch)
        dense = yield from _judged(pair.dense, live := _live(recipe, pair, tokens))
        findings = yield from _findings(recipe, pair, tokens, statistics, live, dense)
    keep_findings(recipe, findings)
    return Workspace(recipe, findings, pair, apart)


def stamp_of(recipe: Recipe) -> str:
    """Names the files on this machine that a recipe is opened from, as they are now: by place, size and time. Whoever
    writes to one gives another. Empty where it names none: the embedded pair, models and texts of the hub."""
    files: list[Path] = []
    for name in (recipe.dense, recipe.pruned):
        with suppress(LoadError):
            if name and name != DEMO and (folder := Path(source_of(name))).is_dir():
                files += [path for path in sorted(folder.iterdir()) if path.is_file()]
    for source in (recipe.calibration, recipe.evaluation, recipe.elsewhere):
        with suppress(OSError, ValueError):
            files += [path for path in (Path(source), Path(source.rpartition(":")[0])) if path.is_file()]
    digest = hashlib.sha256()
    for path in files:
        with suppress(OSError):
            told = path.stat()
            digest.update(f"{path.absolute()} {told.st_size} {told.st_mtime_ns} {told.st_ino}\n".encode())
    return digest.hexdigest()[:16] if files else ""


def check_unchanged(recipe: Recipe) -> None:
    """Raises LoadError where what an open pair is of changed on disk since it was opened."""
    if stamp_of(recipe) != recipe.stamp:
        raise LoadError(
            f"Files of {recipe.dense} and {pruned_name(recipe)} changed on disk since the pair was opened, and what is "
            "known of it is of those before. Open the pair again, on the Pair page."
        )


def pruned_name(recipe: Recipe) -> str:
    """How people would call the pruned model: 'wanda 60 %', or the name it was given by."""
    return str(recipe.pruning) if recipe.pruned is None else recipe.pruned


def _loaded(recipe: Recipe, tokens: Tokens) -> Generator[Progress, None, LoadedPair]:
    """The models of a pair that was opened before; tokens: those that calibrated it. Raises LoadError, also where they
    changed since."""
    if recipe.stamp:
        check_unchanged(recipe)
    apart = _too_big(recipe)
    if apart:
        yield Progress(f"loading {recipe.pruned}", 0, 1)
        return LoadedPair(_pruned_alone(recipe), apart)
    pair, _ = yield from _paired(recipe, tokens)
    return LoadedPair(pair)


@dataclass(frozen=True)
class Live:
    """The pruned model on the live set, to be measured again and again."""

    prefix: Prefix
    pruned: TokenLoss
    """As it is; with its distance to the dense model, where that is in memory too."""
    seconds: float
    """That it took."""


def _live_set(models: Once[LoadedPair], live: Tokens) -> Generator[Progress, None, Live]:
    """Both models once through the live set."""
    loaded = yield from models.made()
    teacher = None
    if not loaded.apart:
        ending = Ending(loaded.models.dense, live)
        yield from ending.made()
        teacher = ending.logits
    prefix = Prefix(loaded.models.pruned, live, teacher=teacher)
    began = time.perf_counter()
    measured = yield from prefix.measured()
    return Live(prefix, measured, time.perf_counter() - began)


def _paired(recipe: Recipe, known: Tokens | None = None) -> Generator[Progress, None, tuple[ModelPair, Tokens]]:
    """The models, and the tokens that calibrate; known: these tokens, which may take long to read or to sample."""
    yield Progress(f"loading {recipe.dense}", 0, 2)
    if recipe.pruned is not None:
        pair = load_pair(recipe.dense, recipe.pruned, recipe.loading)
        return pair, (yield from _calibration(recipe, pair.dense, pair.tokenizer, known))
    if recipe.dense == DEMO:
        dense, tokenizer = demo_dense(recipe.loading)
        tokens = yield from _calibration(recipe, dense, tokenizer, known)
        yield Progress(f"loading {pruned_name(recipe)}", 1, 2)
        pair = yield from demo_pair(dense, tokenizer, tokens, recipe.pruning, recipe.calibration, recipe.loading)
        return pair, tokens
    dense, tokenizer = load_model(recipe.dense, recipe.loading), load_tokenizer(recipe.dense, recipe.loading)
    tokens = yield from _calibration(recipe, dense, tokenizer, known)
    twin = yield from prune(dense, tokens, recipe.pruning, recipe.calibration)
    return paired(dense, twin, tokenizer, recipe.dense, pruned_name(recipe)), tokens


def _calibration(
    recipe: Recipe, dense: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, known: Tokens | None = None
) -> Generator[Progress, None, Tokens]:
    """Calibration text as the recipe says, unless it is known."""
    if known is not None:
        return known
    both = sources.same_text(recipe.calibration, "calibration", recipe.evaluation, "evaluation")
    left = recipe.evaluated if both else 0
    return (
        yield from calibration_tokens(recipe.calibration, dense, tokenizer, recipe.length, recipe.windows, left=left)
    )


def _too_big(recipe: Recipe) -> str:
    """Why both models cannot be in memory; what is pruned here is, as the dense model's copy."""
    return "" if recipe.pruned is None else too_big(recipe.dense, recipe.pruned, recipe.loading)


def _pruned_alone(recipe: Recipe) -> ModelPair:
    """The pair with the weights of the pruned model alone."""
    pair = skeleton_pair(recipe.dense, str(recipe.pruned), recipe.loading)
    return replace(pair, pruned=OneAtATime(pair, recipe.loading).pruned())


def _one_at_a_time(recipe: Recipe, apart: str) -> Generator[Progress, None, tuple[ModelPair, Findings]]:
    """What is found of a pair of which one model fits, and the pair with the pruned one alone."""
    if recipe.in_order:
        raise SettingError(f"{apart} Measuring layers in order needs both: {SMALLER}")
    yield Progress(f"loading {recipe.dense}, one model at a time", 0, 1)
    pair = skeleton_pair(recipe.dense, str(recipe.pruned), recipe.loading)
    models = OneAtATime(pair, recipe.loading)
    sampled = recipe.calibration == sources.SELF
    tokens = yield from _calibration(recipe, models.dense() if sampled else pair.dense, pair.tokenizer)
    statistics = yield from capture_one_at_a_time(pair, models.dense, models.pruned, tokens[: recipe.captured])
    live = _live(recipe, pair, tokens)
    dense = yield from _judged(models.dense(), live)
    pair = replace(pair, pruned=models.pruned(), notes=tuple(models.remarks()))
    return pair, (yield from _findings(recipe, pair, tokens, statistics, live, dense))


def _live(recipe: Recipe, pair: ModelPair, tokens: Tokens) -> Tokens:
    """The live set: the first of the evaluation text, in short windows. tokens: those that calibrate."""
    short = min(window_length(pair.dense, recipe.length), LIVE_WINDOW)
    return _evaluation(recipe, pair, tokens, short, max(1, LIVE_TOKENS // short))


def _evaluation(recipe: Recipe, pair: ModelPair, tokens: Tokens, length: int | None, most: int) -> Tokens:
    """Of the evaluation text, what does not calibrate."""
    others = {CALIBRATION: tokens}
    return evaluation_apart(recipe.evaluation, pair.dense, pair.tokenizer, length, most, others)


def second_text(workspace: Workspace, pair: ModelPair) -> Tokens | None:
    """What a restoration is judged on that nothing was trained or chosen on; None where the recipe names no text for
    that which is not its calibration or evaluation text. Raises TextError where it is a copy of one."""
    recipe, findings = workspace.recipe, workspace.findings
    if not recipe.elsewhere:
        return None
    for purpose in ("calibration", "evaluation"):
        if sources.same_text(recipe.elsewhere, "evaluation", getattr(recipe, purpose), purpose):
            return None
    length = findings.evaluation.ids.shape[1]
    others = {CALIBRATION: findings.calibration, "the evaluation text": findings.evaluation}
    return evaluation_apart(recipe.elsewhere, pair.dense, pair.tokenizer, length, ELSEWHERE_WINDOWS, others)


def to_compare(workspace: Workspace, pair: ModelPair, steps: int, batch: int) -> tuple[Task, dict[str, Tokens]]:
    """(what every method that is compared is given: all heads, the text, the steps; the texts that they are judged by:
    `there`, and `elsewhere` where there is one). Raises TextError as `second_text` does."""
    texts, elsewhere = {"there": workspace.findings.evaluation}, second_text(workspace, pair)
    if elsewhere is not None:
        texts["elsewhere"] = elsewhere[: workspace.recipe.evaluated]
    picks = everything(workspace.lost.shape).within(workspace.lost.present)
    return Task(pair, workspace.lost, picks, workspace.training, workspace.held_out, steps, batch), texts


def _judged(model: PreTrainedModel, live: Tokens) -> Generator[Progress, None, tuple[Size, TokenLoss]]:
    """How large a model is, and its loss on the live set."""
    return _size(model), (yield from measure(model, live))


def _findings(
    recipe: Recipe,
    pair: ModelPair,
    tokens: Tokens,
    statistics: HeadStatistics,
    live: Tokens,
    dense: tuple[Size, TokenLoss],
) -> Generator[Progress, None, Findings]:
    """All that is kept of a pair. dense: what `_judged` says of the dense model; `pair` needs the pruned one's weights
    alone."""
    evaluation = _evaluation(recipe, pair, tokens, recipe.length, recipe.evaluated)
    pruned_size, live_pruned = yield from _judged(pair.pruned, live)
    return Findings(
        geometry=pair.geometry,
        dense_name=recipe.dense,
        pruned_name=pruned_name(recipe),
        dense_size=dense[0],
        pruned_size=pruned_size,
        sparsity=measure_sparsity(pair.pruned),
        calibration=tokens,
        evaluation=evaluation,
        live=live,
        statistics=statistics,
        live_dense=dense[1],
        live_pruned=live_pruned,
        gone="" if pair.match is None else str(pair.match),
        notes=(
            *(f"Calibration text: {note}" for note in tokens.notes),
            *(f"Evaluation text: {note}" for note in evaluation.notes),
            *filter(None, [held_out_remark(*split_held_out(tokens))]),
        ),
    )


def _size(model: PreTrainedModel) -> Size:
    """Numbers in its parameters, tied ones once."""
    counts = [(values.numel(), int(values.count_nonzero())) for _, values in values_of(model)]
    return Size(*map(sum, zip(*counts, strict=True)))
