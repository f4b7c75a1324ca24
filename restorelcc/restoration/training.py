"""Train what is put back, of whatever kind.

    training = Training(pair, components, selection, tokens, held_out, settings)
    for step in training.steps():
        ...                            # draw, log, or break: the best so far stays
    restoration = training.result()

Everything else is frozen, and the models are not changed: what the parameters amount to at a step is put in place
inside a `with`. Left or killed, a training goes on where it stood, to the same numbers: see `state`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import torch
from torch import Tensor

from ..capture.components import LostComponents
from ..capture.components import components as decomposed
from ..capture.statistics import capture
from ..compensation.interface import Compensation, compensated
from ..compensation.recompute import recomputing
from ..errors import NotFinite, SettingError
from ..evaluation.perplexity import Perplexity, at_once, measure, perplexity
from ..hf.layout import device_of
from ..hf.weights import is_spread
from ..models.memory import free_at
from ..models.pair import ModelPair
from ..progress import Progress, finish
from ..selection.picks import Selection
from ..text.tokens import Tokens
from .choices import LOSSES, STARTS, TRAINED
from .parameters import SMALLER, Best, Held, Parameters, bounded, optimizer_of, trainable, training_bytes
from .settings import DEFAULTS, Settings
from .teacher import Teacher
from .ways.blocks import Blocks
from .ways.course import Course


@dataclass(frozen=True)
class Step:
    """One optimiser step, done."""

    step: int
    """Counted from 1; 0 is the state before training."""
    tokens: int
    """Tokens trained on so far, repeats counted."""
    loss: float
    """Training loss of the batch, nats per token, or the error of a layer (see `Blocks.loss`); NaN at step 0."""
    lr: float
    tokens_per_second: float
    """Of training, evaluation left out."""
    seconds: float
    """Since the start, evaluation included."""
    held_out: Perplexity | None
    """Perplexity of the held-out texts, every `evaluate_every` steps and at both ends."""
    held_out_loss: float | None
    """What is minimised, on the held-out texts; nats per token."""
    best: bool
    """The held-out loss is the lowest so far. Not the perplexity: on a few thousand tokens its noise is as large as
    what restoration wins, while the distance to the dense model's distribution has little."""


@dataclass(frozen=True)
class Stepped:
    """A step that a training just did, as the detail of its progress, for whoever logs it."""

    step: Step
    settings: Settings
    """What it is trained with."""
    of: Hashable = None
    """Which of several trainings it is: a point of a sweep, or a method with its seed."""


@dataclass(frozen=True)
class Restoration:
    """A trained compensation and how it came about."""

    compensation: Compensation
    """Of the step that is kept (see `KEEPS`): the one with the lowest held-out loss, or the last."""
    trained: Mapping[str, Tensor]
    """What was trained to make it, by name, as its kind keeps it (see `Parameters.tensors`)."""
    trained_parameters: int
    """How many numbers were trained."""
    selection: Selection
    settings: Settings
    history: tuple[Step, ...]
    best_step: int
    """The step that is kept."""
    ended: str = ""
    """At which step and why it ended, where a number was none any more; empty where all were."""

    @property
    def beta(self) -> Tensor:
        """Of constants: [layer, head, component] float32, activation units; 0 where not picked."""
        return self.trained["beta"]

    @property
    def learned(self) -> Tensor:
        """Of constants: [layer, head, d_head] float32, b, activation units; 0 where not trained."""
        return self.trained["learned"]


def directions(
    pair: ModelPair, lost: LostComponents, tokens: Tokens, settings: Settings
) -> Generator[Progress, None, LostComponents]:
    """What is trained along: `lost`, which is of all tokens, or the components of what is lost of these texts at the
    positions that the settings name."""
    if settings.positions == "all":
        return lost
    return decomposed((yield from capture(pair, tokens, "last")))


def prepared(
    pair: ModelPair,
    components: LostComponents,
    selection: Selection,
    tokens: Tokens,
    held_out: Tokens,
    settings: Settings | None = None,
    magnitudes: Tensor | None = None,
    parameters: Parameters | None = None,
) -> Generator[Progress, None, Training]:
    """`Training` of the same, saying first what takes as long as some steps do: how long its first step may be."""
    if (settings or DEFAULTS).bounded:
        yield Progress("finding the rate at which the first step does not overshoot", 0, 1)
    return Training(pair, components, selection, tokens, held_out, settings, magnitudes, parameters)


class Training:
    """A restoration under way. Picks of heads that pruning removed are left out.

    Raises SettingError if there is nothing to train or nothing to train on.
    """

    def __init__(
        self,
        pair: ModelPair,
        components: LostComponents,
        selection: Selection,
        tokens: Tokens,
        held_out: Tokens,
        settings: Settings | None = None,
        magnitudes: Tensor | None = None,
        parameters: Parameters | None = None,
    ) -> None:
        """magnitudes: [layer, head, component] how many times α each component is put back with where training starts
        from what is picked; None: once. parameters: what is trained, instead of what the settings name."""
        self.settings = settings or DEFAULTS
        self.loss = LOSSES[self.settings.loss]
        if STARTS[self.settings.start].by_hand and magnitudes is not None:
            components = components.scaled(magnitudes)
        self.selection = trainable(components, selection)
        if not all(bool(self._wanted(part).any()) for part in (tokens, held_out)):
            nothing = "answer" if self.loss.over == "response" else "token to predict"
            why = f"No {nothing} is left within the window, so there is nothing to train on or to judge by."
            raise SettingError(f"{why} Use longer windows.")
        self.pair, self.tokens, self.held_out, self.components = pair, tokens, held_out, components
        self.history: list[Step] = []
        self.ended = ""
        """See `Restoration.ended`."""
        self.generator = torch.Generator().manual_seed(self.settings.seed)
        self.order: list[int] = []
        """Texts of the steps to come, as far as they are drawn."""
        kind = TRAINED[self.settings.kind]
        self.parameters = parameters or kind(pair, components, self.selection, self.settings, self.generator)
        self.settings = self.settings.counted(int(self._learnable().numel()))
        self.optimizer = optimizer_of(self.parameters)
        layers = sorted({layer for layer, _ in self.selection.heads})
        self._blocks = Blocks(pair, tokens, layers, self.settings.batch)
        free = free_at(device_of(pair.pruned))
        self.recomputes = is_spread(pair.pruned) or (free is not None and self._bytes("whole") > free)
        """Whether the way back through the network computes activations anew, for want of memory to hold them, or the
        weights of all layers."""
        with torch.no_grad():
            self.best = Best(self.parameters.compensation(), self.parameters.tensors(), 0, float("inf"))
        self._teachers = [Teacher(pair.dense, part, self.settings.teacher_bytes // 2) for part in (tokens, held_out)]
        learnable = self._learnable()
        first = partial(self._objective, learnable[: self.settings.batch])
        some = tokens[learnable]
        self.settings = bounded(self.settings, self.parameters, pair, some, self.loss, first, len(layers))
        self._course = Course(
            self._blocks, self.parameters, self.optimizer, self.settings, self._texts, self._objective
        )

    def _bytes(self, held: Held) -> int:
        texts = at_once(self.pair.pruned, self.tokens, self.settings.batch)
        tokens, layers = texts * self.tokens.ids.shape[1], self._blocks.layers
        return training_bytes(self.pair.pruned, self.parameters.count, tokens, layers, held)

    @property
    def memory(self) -> int:
        """About how many bytes training takes beside the models and the texts."""
        layer_by_layer = self.settings.by_blocks == self.settings.steps
        return self._bytes("layer" if layer_by_layer else "recomputed" if self.recomputes else "whole")

    def steps(self) -> Iterator[Step]:
        """Train on from where it stands, yielding every step; at the beginning step 0 first (before). Stop by leaving
        the loop. Ends early where patience or numbers do (see `ended`). Raises NotFinite where step 0 has none."""
        began = time.perf_counter() - (self.history[-1].seconds if self.history else 0.0)
        if not self.history:
            self.history.append(self._evaluated(Step(0, 0, float("nan"), 0.0, 0.0, 0.0, None, None, False)))
            yield self.history[-1]
        while not self._is_over():
            try:
                step = self._next(self.history[-1])
            except NotFinite as error:
                self._end(self.history[-1].step + 1, error)
                return
            self.history.append(replace(step, seconds=time.perf_counter() - began))
            yield self.history[-1]

    def run(self) -> Generator[Progress, None, Restoration]:
        """All steps, for whoever only wants to know how far it is."""
        for step in self.steps():
            done = Stepped(step, self.settings)
            yield Progress(f"restoring, step {step.step}", step.step, self.settings.steps, detail=done)
        return self.result()

    def judged(self) -> Step | None:
        """Measure where training stands if it was left between measurements, so that leaving early loses nothing.

        The step, now measured, or None if there was nothing to do.
        """
        if self.ended or not self.history or self.history[-1].held_out is not None:
            return None
        try:
            self.history[-1] = self._evaluated(self.history[-1])
        except NotFinite as error:
            self._end(self.history[-1].step, error)
            return None
        return self.history[-1]

    def result(self) -> Restoration:
        """The best so far, at any time."""
        return Restoration(
            compensation=self.best.compensation,
            trained=self.best.trained,
            trained_parameters=self.parameters.count,
            selection=self.selection,
            settings=self.settings,
            history=tuple(self.history),
            best_step=self.best.step,
            ended=self.ended,
        )

    def _end(self, step: int, error: NotFinite) -> None:
        self.ended = f"Training stopped at step {step}, and the best before it is kept: {error}"

    def _is_over(self) -> bool:
        """Whether all steps are done, patience ran out, or a number was none."""
        if self.ended or self.history[-1].step >= self.settings.steps:
            return True
        measured = (step for step in reversed(self.history) if step.held_out is not None)
        patience = self.settings.patience
        return patience is not None and not any(step.best for step in islice(measured, patience))

    def _next(self, last: Step) -> Step:
        """The step after `last`. Raises NotFinite, and then nothing is better than before."""
        settings, number, started = self.settings, last.step + 1, time.perf_counter()
        rate, loss, count = self._course.step(last.step)
        tokens = last.tokens + count
        before = last.tokens / last.tokens_per_second if last.tokens else 0.0
        pace = tokens / (before + time.perf_counter() - started)
        step = Step(number, tokens, loss, rate, pace, 0.0, None, None, False)
        measured = number % settings.evaluate_every == 0 or number == settings.steps
        return self._evaluated(step) if measured else step

    def _texts(self) -> Tensor:
        """Numbers of the next batch's texts: each that has a token to learn from once an epoch, shuffled anew."""
        enough = 1 if self.settings.short_batch else self.settings.batch
        while len(self.order) < enough:
            texts = self._learnable()
            self.order += texts[torch.randperm(len(texts), generator=self.generator)].tolist()
        batch, self.order = self.order[: self.settings.batch], self.order[self.settings.batch :]
        return torch.tensor(batch)

    def _learnable(self) -> Tensor:
        """Numbers of the texts that have a token to learn from."""
        return self._wanted(self.tokens).any(1).nonzero().flatten()

    def _objective(self, texts: Tensor) -> Iterator[tuple[Tensor, int]]:
        """(loss of training texts as things stand, tokens that it is a mean over), of as many as may be at once."""
        wanted = self._wanted(self.tokens)
        for some in texts.split(at_once(self.pair.pruned, self.tokens, len(texts))):
            count = int(wanted[some].sum())
            if count:
                yield self._loss(self.tokens, some, self._teachers[0], self.parameters.compensation()), count

    def _loss(self, tokens: Tokens, texts: Tensor, teacher: Teacher, put_back: Compensation) -> Tensor:
        """Mean over the scored tokens of some texts of what is minimised, with this put back."""
        part, model = tokens[texts], self.pair.pruned
        ids = part.ids.to(device_of(model))
        if self.recomputes and torch.is_grad_enabled():
            logits = recomputing(model, put_back)(ids, use_cache=False).logits
        else:
            with compensated(model, put_back):
                logits = model(ids, use_cache=False).logits
        target = teacher.logits(texts) if self.loss.against == "dense" else ids
        return self.loss.compute(logits, target.to(logits.device), self._wanted(part).to(logits.device))

    def _wanted(self, tokens: Tokens) -> Tensor:
        """[text, pos] bool: the tokens that the loss is a mean over."""
        wanted: Tensor = getattr(tokens, self.loss.over)
        return wanted

    @torch.no_grad()
    def _evaluated(self, step: Step) -> Step:
        """The step with perplexity and loss of the held-out texts as things stand; the best is kept. Raises
        NotFinite."""
        put_back, texts = self.parameters.compensation(), torch.arange(len(self.held_out))
        against_dense = self.loss.judged_by == "kl"
        batch = at_once(self.pair.pruned, self.held_out, min(8, self.settings.batch))
        work = measure(
            self.pair.pruned,
            self.held_out,
            batch,
            lambda: compensated(self.pair.pruned, put_back),
            (lambda start: self._teachers[1].logits(texts[start : start + batch])) if against_dense else None,
        )
        tokens = finish(work)
        judged = tokens.kl if against_dense and tokens.kl is not None else tokens.nll
        loss = float(judged[self._wanted(self.held_out)].mean())
        if not math.isfinite(loss):
            raise NotFinite(f"the held-out loss is infinite or NaN. {SMALLER}")
        best = loss < min(
            (was.held_out_loss for was in self.history if was.held_out_loss is not None), default=math.inf
        )
        if best or self.settings.keep == "last":
            self.best = Best(put_back, self.parameters.tensors(), step.step, loss)
        return replace(step, held_out=perplexity(tokens), held_out_loss=loss, best=best)
