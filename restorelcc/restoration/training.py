"""Train what is put back: magnitudes β of the picked components and a learned component b per picked head (Eq. 8).

    training = Training(pair, components, selection, tokens, held_out, settings)
    for step in training.steps():
        ...                            # draw, log, or break: the best so far stays
    restoration = training.result()

Everything else is frozen, and the models are not changed: c = Σ β_i v_i + b is added inside a `with` at each step.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from ..capture.components import LostComponents
from ..compensation.constants import Compensation, compensated
from ..errors import SettingError
from ..evaluation.losses import cross_entropy, distillation
from ..evaluation.perplexity import Perplexity, perplexity, token_loss
from ..hf.layout import device_of
from ..models.pair import ModelPair
from ..selection.picks import Selection
from ..text.tokens import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Loss = Literal["kl", "ce", "response"]
Start = Literal["zero", "noise", "alpha"]
Unit = Literal["loss", "activation"]
LOSSES: tuple[Loss, ...] = ("kl", "ce", "response")
STARTS: tuple[Start, ...] = ("zero", "noise", "alpha")
UNITS: tuple[Unit, ...] = ("loss", "activation")


@dataclass(frozen=True)
class Settings:
    """How to train. Defaults were found on embedded pairs (README, Training defaults); the paper's own: `PUBLISHED`."""

    loss: Loss = "kl"
    """kl: distil the dense model's next-token distribution; ce: cross-entropy of the text; response: of its answers."""
    lr: float = 0.2
    """Peak learning rate of AdamW, in `unit` a step."""
    unit: Unit = "loss"
    """loss: the root mean square of what each head lost, so that one rate fits every layer and model, whose activations
    differ in size by orders of magnitude; activation: plain activation units, as published."""
    steps: int = 200
    """Optimiser steps at most."""
    batch: int = 8
    """Texts a step."""
    warm_up: float = 0.05
    """Share of the steps over which the rate rises from zero."""
    cool_down: float = 0.95
    """Share of the steps, the last ones, over which it falls to zero."""
    start: Start = "zero"
    """β from zero, from the paper's N(0, 1e-3), or from α, the mean lost activation (b from zero, or noise with it)."""
    learned: bool = True
    """Train the learned component b beside β."""
    seed: int = 0
    evaluate_every: int = 10
    """Steps between perplexities of the held-out texts."""
    patience: int | None = None
    """Stop after so many evaluations without a better one; None: never."""
    teacher_bytes: int = 2**30
    """Memory for the dense model's logits, so that each text passes through it once; beyond it they are recomputed."""

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise SettingError(f"Loss '{self.loss}' is not known: give one of {', '.join(LOSSES)}.")
        if self.start not in STARTS:
            raise SettingError(f"Start '{self.start}' is not known: give one of {', '.join(STARTS)}.")
        if self.unit not in UNITS:
            raise SettingError(f"Unit '{self.unit}' is not known: give one of {', '.join(UNITS)}.")
        if not 0 < self.lr < 10:
            raise SettingError(
                f"A learning rate of {self.lr} makes no sense: try 0.2; it must be above 0 and below 10."
            )
        for name in ("steps", "batch", "evaluate_every"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} is {getattr(self, name)}, but at least 1 is needed.")
        if self.patience is not None and self.patience < 1:
            raise SettingError(f"A patience of {self.patience} would stop at once: give 1 or more evaluations.")
        if min(self.warm_up, self.cool_down) < 0 or self.warm_up + self.cool_down > 1:
            raise SettingError(
                f"Warm-up {self.warm_up} and cool-down {self.cool_down} are shares of the steps: 0 or more, "
                "and at most 1 together."
            )

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        rise = (step + 1) / max(1.0, self.warm_up * self.steps)
        fall = (self.steps - step) / max(1.0, self.cool_down * self.steps)
        return self.lr * min(1.0, rise, fall)


PUBLISHED = Settings(loss="response", lr=1e-3, unit="activation", warm_up=0.0, cool_down=1.0, start="noise", seed=42)
"""Feng et al.'s: cross-entropy on the response, lr 1e-3, β and b ~ N(0, 1e-3), batch 8, seed 42; 3 epochs of theirs
are steps = 3 · texts / 8."""


@dataclass(frozen=True)
class Step:
    """One optimiser step, done."""

    step: int
    """Counted from 1; 0 is the state before training."""
    tokens: int
    """Tokens trained on so far, repeats counted."""
    loss: float
    """Training loss of the batch, nats per token; NaN at step 0."""
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
class Restoration:
    """A trained compensation and how it came about."""

    compensation: Compensation
    """Of the step with the lowest held-out loss."""
    beta: Tensor
    """[layer, head, component] float32; 0 where not picked."""
    learned: Tensor
    """[layer, head, d_head] float32: b; 0 where not trained."""
    selection: Selection
    settings: Settings
    history: tuple[Step, ...]
    best_step: int

    @property
    def trained_parameters(self) -> int:
        """Numbers that were trained: β and b."""
        return trained_parameters(self.selection, self.settings, self.learned.shape[-1])


def trained_parameters(selection: Selection, settings: Settings, d_head: int) -> int:
    """One β a component, and d_head for b of every head with a component."""
    return len(selection) + (len(selection.heads) * d_head if settings.learned else 0)


def _units(components: LostComponents) -> Tensor:
    """[layer, head, 1] root mean square over tokens and dimensions of what each head lost, float32.

    A head that lost nothing may still be trained for the others' sake; it steps as the heads do of the layer that lost
    least. Not as the average head: below the first pruned matrix nothing is lost, and activations there are small.
    """
    mean_square = components.variance.mean(-1, keepdim=True).float()
    lost = (mean_square > 0) & components.present[..., None]
    by_layer = (mean_square * lost).sum((1, 2)) / lost.sum((1, 2)).clamp(min=1)
    some = by_layer[by_layer > 0]
    typical = some.min() if len(some) else torch.tensor(torch.finfo(torch.float32).tiny)
    return torch.where(mean_square > 0, mean_square, typical).sqrt()


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
    ) -> None:
        self.settings = settings or Settings()
        if len(selection) == 0:
            raise SettingError("No component is picked, so there is nothing to train. Pick at least one.")
        if selection.shape != components.shape:
            raise SettingError(f"Picks for {selection.shape} do not fit components of shape {components.shape}.")
        selection = selection.within(components.present)
        if len(selection) == 0:
            raise SettingError(
                "Every picked head was removed by pruning, and nothing can be put back into a head that is gone. "
                "Pick one that is there."
            )
        if self.settings.loss == "response" and not all(bool(part.response.any()) for part in (tokens, held_out)):
            raise SettingError(
                "No answer is left within the window, so there is nothing to train on or to judge by. "
                "Use longer windows."
            )
        self.pair, self.selection, self.tokens, self.held_out = pair, selection, tokens, held_out
        self.history: list[Step] = []
        self._directions = components.directions.float()
        self._mask = selection.mask()
        self._heads = self._mask.any(-1, keepdim=True) & torch.tensor(self.settings.learned)
        self._unit = _units(components) if self.settings.unit == "loss" else torch.ones(*self._mask.shape[:2], 1)
        generator = torch.Generator().manual_seed(self.settings.seed)
        self._beta = self._started(components.magnitude.float(), generator)
        self._learned = self._started(torch.zeros_like(self._directions[:, :, 0]), generator)
        with torch.no_grad():
            self._best = self._now()
        self._best_step, self._lowest = 0, float("inf")
        self._generator = generator
        self._teachers = [_Teacher(pair.dense, part, self.settings.teacher_bytes // 2) for part in (tokens, held_out)]

    def _started(self, alpha: Tensor, generator: torch.Generator) -> Tensor:
        kind = self.settings.start
        values = torch.zeros_like(alpha)
        if kind == "noise":
            values = torch.randn(alpha.shape, generator=generator) * 1e-3
        elif kind == "alpha":
            values = alpha.clone()
        return (values / self._unit).requires_grad_()

    def _now(self) -> tuple[Tensor, Tensor]:
        """(β, b) as they stand, in activation units."""
        return self._beta * self._unit * self._mask, self._learned * self._unit * self._heads

    def compensation(self) -> Compensation:
        """c as it stands now, with gradients to what is trained."""
        return self._built(*self._now())

    def _built(self, beta: Tensor, learned: Tensor) -> Compensation:
        return Compensation(torch.einsum("lhi,lhid->lhd", beta, self._directions) + learned)

    def steps(self) -> Iterator[Step]:
        """Train, yielding step 0 (before) and then every step; stop by leaving the loop."""
        settings = self.settings
        parameters = [self._beta, self._learned] if settings.learned else [self._beta]
        optimizer = torch.optim.AdamW(parameters, lr=settings.lr, weight_decay=0.0)
        began, trained_for, seen, stale = time.perf_counter(), 0.0, 0, 0
        yield self._noted(self._evaluated(Step(0, 0, float("nan"), 0.0, 0.0, 0.0, None, None, False)))
        order = self._order()
        for number in range(1, settings.steps + 1):
            started = time.perf_counter()
            texts = torch.tensor([next(order) for _ in range(settings.batch)])
            for group in optimizer.param_groups:
                group["lr"] = settings.rate(number - 1)
            loss = self._loss(self.tokens, texts, self._teachers[0])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            seen += int(self.tokens.real[texts].sum())
            value = float(loss.detach())
            trained_for += time.perf_counter() - started
            step = Step(number, seen, value, settings.rate(number - 1), seen / trained_for, 0.0, None, None, False)
            if number % settings.evaluate_every == 0 or number == settings.steps:
                step = self._evaluated(step)
                stale = 0 if step.best else stale + 1
            yield self._noted(replace(step, seconds=time.perf_counter() - began))
            if settings.patience is not None and stale >= settings.patience:
                return

    def judged(self) -> Step | None:
        """Measure where training stands if it was left between measurements, so that leaving early loses nothing.

        The step, now measured, or None if there was nothing to do.
        """
        if not self.history or self.history[-1].held_out is not None:
            return None
        self.history[-1] = self._evaluated(self.history[-1])
        return self.history[-1]

    def result(self) -> Restoration:
        """The best so far, at any time."""
        beta, learned = self._best
        return Restoration(
            compensation=self._built(beta, learned),
            beta=beta,
            learned=learned,
            selection=self.selection,
            settings=self.settings,
            history=tuple(self.history),
            best_step=self._best_step,
        )

    def _noted(self, step: Step) -> Step:
        self.history.append(step)
        return step

    def _order(self) -> Iterator[int]:
        """Texts without end: each once an epoch, shuffled anew."""
        while True:
            yield from torch.randperm(len(self.tokens), generator=self._generator).tolist()

    def _loss(self, tokens: Tokens, texts: Tensor, teacher: _Teacher) -> Tensor:
        """Mean over the scored tokens of some texts of what is minimised, as things stand."""
        part, model = tokens[texts], self.pair.pruned
        ids = part.ids.to(device_of(model))
        with compensated(model, self.compensation()):
            logits = model(ids, use_cache=False).logits
        if self.settings.loss == "kl":
            return distillation(logits, teacher.logits(texts).to(logits.device), part.scored.to(logits.device))
        return cross_entropy(logits, ids, self._wanted(part).to(logits.device))

    def _wanted(self, tokens: Tokens) -> Tensor:
        """[text, pos] bool: the tokens that the loss is a mean over."""
        return tokens.response if self.settings.loss == "response" else tokens.scored

    @torch.no_grad()
    def _evaluated(self, step: Step) -> Step:
        """The step with perplexity and loss of the held-out texts as things stand; the best is kept."""
        with compensated(self.pair.pruned, self.compensation()):
            tokens = token_loss(self.pair.pruned, self.held_out)
        if self.settings.loss == "kl":
            total = 0.0
            for texts in torch.arange(len(self.held_out)).split(self.settings.batch):
                weight = self.held_out[texts].count
                total += weight * float(self._loss(self.held_out, texts, self._teachers[1])) if weight else 0.0
            loss = total / self.held_out.count
        else:  # What was measured for the perplexity is the loss already.
            loss = float(tokens.nll[self._wanted(self.held_out)].mean())
        best = loss < self._lowest
        if best:
            self._best, self._best_step, self._lowest = self._now(), step.step, loss
        return replace(step, held_out=perplexity(tokens), held_out_loss=loss, best=best)


class _Teacher:
    """The dense model's logits of some texts, kept as far as the memory allowed for them goes."""

    def __init__(self, dense: PreTrainedModel, tokens: Tokens, memory: int) -> None:
        self._dense, self._tokens, self._memory = dense, tokens, memory
        self._kept: dict[int, Tensor] = {}

    @torch.no_grad()
    def logits(self, texts: Tensor) -> Tensor:
        """[batch, pos, vocabulary] of the texts of these numbers."""
        names = texts.tolist()
        missing = sorted({name for name in names if name not in self._kept})
        fresh: dict[int, Tensor] = {}
        if missing:
            logits = self._dense(self._tokens.ids[missing].to(device_of(self._dense)), use_cache=False).logits
            fresh = dict(zip(missing, logits, strict=True))
            size = logits[0].numel() * logits.element_size()
            for name, row in fresh.items():
                if (len(self._kept) + 1) * size <= self._memory:
                    self._kept[name] = row.clone()  # A view would keep the whole batch alive.
        return torch.stack([self._kept[name] if name in self._kept else fresh[name] for name in names])
