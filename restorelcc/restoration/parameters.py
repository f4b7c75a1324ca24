"""What is trained: the part of a training that differs from one kind of compensation to the next."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from ..capture.components import LostComponents
from ..compensation.interface import Compensation
from ..errors import NotFinite, SettingError
from ..hf.layout import decoder_layers, geometry, layers_with_heads
from ..models.memory import activation_bytes
from ..models.pair import ModelPair
from ..processes import from_each, processes, summed
from ..pruning.inputs import Batch
from ..selection.picks import Selection
from ..text.tokens import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from .choices import Loss
    from .settings import Settings


BOUNDED_BY = 16
"""Texts that say how long the first step may be."""
SHORTEST = 2**-10
"""Of a rate: where not even so short a step has a loss, none has."""
Objective = Callable[[], Iterable[tuple[Tensor, int]]]
"""(mean loss as things stand, tokens that it is a mean over) of some texts at a time."""


class Parameters(ABC):
    """Numbers that an optimiser moves, and the compensation that they amount to wherever they stand."""

    moved: Sequence[Tensor]
    """What the optimiser moves: leaves that ask for gradients. One rate fits all of them: what needs another is held in
    units of its own."""
    scales: Sequence[float] = ()
    """By what the rate is multiplied for each of `moved`, in place of units of their own; empty: by 1."""
    count: int
    """How many numbers are trained."""
    tried: bool = False
    """Whether the longest rate is found by trying the first step (see `tried_rate`), for want of anything that says how
    the loss curves along it."""

    @abstractmethod
    def __init__(
        self,
        pair: ModelPair,
        components: LostComponents,
        selection: Selection,
        settings: Settings,
        generator: torch.Generator,
    ) -> None:
        """Where training begins. selection: of heads that are there. generator: for all that is drawn."""

    def together(self, layers: int) -> float:
        """By what the rate is multiplied where so many layers are trained at once."""
        return 1.0

    def longest_rate(self, pair: ModelPair, tokens: Tokens, loss: Loss) -> float:
        """The longest peak rate that does not overshoot, by these texts; infinite where nothing bounds it."""
        return math.inf

    def moving(self, layers: Collection[int] | None) -> None:
        """From here on only what acts in these layers of those with heads moves (None: everything), so that what acts
        in others need not be copied. What was given before stays as it was."""
        return

    def solve(self, layer: int, batches: Iterable[Batch]) -> None:
        """Move what acts in this layer of those with heads to where it comes nearest to the dense model's, a matrix at
        a time, while these enter the layer. Raises NotFinite, and SettingError for what is not solved for."""
        raise SettingError("Weights alone are solved for.")

    @abstractmethod
    def compensation(self) -> Compensation:
        """What they amount to as they stand, with gradients to `moved`. Where gradients are off, of numbers of its own,
        which later steps leave alone."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """What is worth keeping beside the compensation as it stands, by name: a run keeps it. Where gradients are off,
        numbers of its own likewise."""


def bounded(
    settings: Settings,
    parameters: Parameters,
    pair: ModelPair,
    tokens: Tokens,
    loss: Loss,
    objective: Objective,
    layers: int,
) -> Settings:
    """The settings with a rate that does not overshoot, by the first of these texts, where they ask for that.
    objective: of the texts of one step. layers: how many are trained."""
    if not settings.bounded:
        return settings
    if parameters.tried:
        # Each process tries the same texts; what the first finds is everybody's.
        longest = next(from_each(tried_rate(parameters, settings.lr, parameters.together(layers), objective)))
    else:
        longest = parameters.longest_rate(pair, tokens[:BOUNDED_BY], loss)
    return replace(settings, lr=min(settings.lr, longest), bounded=False)


def tried_rate(parameters: Parameters, highest: float, together: float, objective: Objective) -> float:
    """The longest peak rate of a training by Adam that does not overshoot, found by trying; at most `highest`.

    Adam's first step moves every number by its scale times the rate against the sign of its gradient, however many
    there are: what a small model stands throws a large one far off. From `highest` on the rate is halved as long as
    that makes the loss after such a step lower; the longest is twice the best, since later steps do not all point the
    same way. together: what rates are multiplied by where all layers are trained at once. One way back, and a forward
    pass a rate; the numbers stand as before.
    """
    for loss, tokens in objective():
        (loss * tokens).backward()
    scales = parameters.scales or [1.0] * len(parameters.moved)
    start = [part.data for part in parameters.moved]
    signs = [None if part.grad is None else part.grad.sign_() for part in parameters.moved]

    @torch.no_grad()
    def after(rate: float) -> float:
        for part, stood, sign, scale in zip(parameters.moved, start, signs, scales, strict=True):
            part.data = stood if sign is None else stood - rate * together * scale * sign
        losses = [(float(loss) * tokens, tokens) for loss, tokens in objective()]
        mean = sum(loss for loss, _ in losses) / sum(tokens for _, tokens in losses)
        return mean if math.isfinite(mean) else math.inf

    best, lowest = highest, after(highest)
    while (lower := after(best / 2)) < lowest or (math.isinf(lower) and best > highest * SHORTEST):
        best, lowest = best / 2, lower
    for part, stood in zip(parameters.moved, start, strict=True):
        part.data, part.grad = stood, None
    return min(highest, 2 * best)


def trainable(components: LostComponents, selection: Selection) -> Selection:
    """What is picked of heads that are there. Raises SettingError if that is nothing."""
    if len(selection) == 0:
        raise SettingError("No component is picked, so there is nothing to train. Pick at least one.")
    if selection.shape != components.shape:
        raise SettingError(f"Picks for {selection.shape} do not fit components of shape {components.shape}.")
    present = selection.within(components.present)
    if len(present) == 0:
        raise SettingError(
            "Every picked head was removed by pruning, and nothing can be put back into a head that is gone. "
            "Pick one that is there."
        )
    return present


@dataclass(frozen=True)
class Best:
    """The best step so far: that of the lowest held-out loss."""

    compensation: Compensation
    trained: Mapping[str, Tensor]
    """As `Parameters.tensors` gives it."""
    step: int
    loss: float
    """Held-out, nats per token; infinite before anything is measured."""


EACH, SETTLED = 30, 8
"""Bytes for a number that is trained: itself, its gradient, two of the optimiser, the best so far, and, of weights, its
place in a whole matrix on the way back; and for one of a layer that is done."""
Held = Literal["whole", "recomputed", "layer"]
"""What waits for the way back: activations of all layers, or what enters each of them, or activations of one."""


def training_bytes(model: PreTrainedModel, count: int, tokens: int, layers: Sequence[int], held: Held) -> int:
    """About how much memory it takes, beside the models and the texts, to train so many numbers in these layers of
    those with heads, with batches of so many tokens."""
    above = len(decoder_layers(model)) - layers_with_heads(model)[min(layers)]
    if held == "whole":
        return EACH * count + activation_bytes(model, tokens, above)
    if held == "layer":
        return SETTLED * count + EACH * count // len(layers) + activation_bytes(model, tokens, 1)
    entries = above * tokens * geometry(model).d_model * model.dtype.itemsize
    return EACH * count + entries + activation_bytes(model, tokens, 1)


def training_seconds(settings: Settings, length: int, held_out: int, pace: float) -> float:
    """About how long it takes, at most, where a token's way through a model takes `pace` seconds.

    length: tokens a text. held_out: texts that are measured on. A step takes each of its texts through both models and
    back through one, which costs twice the way there; a measurement takes each through both. As far as memory goes the
    dense model's logits are kept, and it takes less.
    """
    measured = settings.steps // settings.evaluate_every + 2
    return pace * length * (4 * settings.batch * settings.steps + 2 * held_out * measured)


def has_moved(part: Tensor) -> bool:
    """Whether what is trained has numbers of its own: before its turn, all are one zero."""
    return part.numel() < 2 or part.stride() != (0,)


def optimizer_of(parameters: Parameters) -> torch.optim.AdamW:
    """AdamW without decay, of what is moved, each at its own scale."""
    scales = parameters.scales or [1.0] * len(parameters.moved)
    groups = [{"params": [part], "scale": scale} for part, scale in zip(parameters.moved, scales, strict=True)]
    return torch.optim.AdamW(groups, weight_decay=0.0)


def move(optimizer: torch.optim.Optimizer, loss: Tensor, count: int, rate: float, clip: float = 0.0) -> float:
    """One step down a mean over `count` tokens, at this rate; the mean before it. See `move_by`."""
    return move_by(optimizer, [(loss, count)], rate, clip)


def move_by(
    optimizer: torch.optim.Optimizer, parts: Iterable[tuple[Tensor, int]], rate: float, clip: float = 0.0
) -> float:
    """One step down a mean over tokens, at this rate; the mean before it. Of parts, each a mean over so many tokens,
    the way back of one is gone before the next is asked for. Where several processes are at it, over the tokens of all.
    clip: the norm that the gradient of all numbers together is cut down to; 0: it is taken as it is.

    Raises NotFinite, before the step: one such gradient would spoil the optimiser for good.
    """
    total, count = 0.0, 0
    for loss, tokens in parts:
        # Backwards goes the sum: gradients of a mean over thousands of tokens are below what float16 holds.
        part_of_sum = loss * tokens
        if tokens:
            part_of_sum.backward()
        total, count = total + float(part_of_sum.detach()), count + tokens
    mean, count = _together(optimizer, total, count)
    finite = math.isfinite(mean)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]
        for part in group["params"]:
            if part.grad is not None:
                part.grad /= count
                finite = finite and bool(part.grad.isfinite().all())
    if finite and clip:
        torch.nn.utils.clip_grad_norm_([part for group in optimizer.param_groups for part in group["params"]], clip)
    if finite:
        optimizer.step()
    optimizer.zero_grad()
    if not finite:
        raise NotFinite(f"the training loss, or a gradient of it, is infinite or NaN. {SMALLER}")
    return mean


def _together(optimizer: torch.optim.Optimizer, total: float, count: int) -> tuple[float, int]:
    """(mean loss, tokens) of all processes, and their gradients summed in place of each one's own."""
    if processes() > 1:
        for part in (part for group in optimizer.param_groups for part in group["params"]):
            own = part.grad is not None
            if summed(torch.tensor(float(own))) > 0:  # Layer by layer, those of other layers have none.
                part.grad = summed(part.grad if own else torch.zeros_like(part))
        total, count = summed(torch.tensor([total, count], dtype=torch.float64)).tolist()
    return total / count, int(count)


SMALLER = "Use a lower learning rate, or a wider precision."
