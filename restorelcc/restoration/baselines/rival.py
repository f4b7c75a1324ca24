"""What every method is given, and what it gives."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...capture.components import LostComponents
from ...models.pair import ModelPair
from ...selection.picks import Selection
from ...text.tokens import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Task:
    """A pair to repair, and the budget for it; the same for all methods."""

    pair: ModelPair
    """Nobody's to change: a method that changes a model has a copy."""
    lost: LostComponents
    picks: Selection
    """Of heads, for methods that work on heads."""
    tokens: Tokens
    """Text to learn from."""
    held_out: Tokens
    """Text that chooses the best step."""
    steps: int
    batch: int
    """Texts a step."""
    seed: int = 0


@dataclass(frozen=True)
class Rival:
    """A pruned model, repaired."""

    model: PreTrainedModel
    """What computes it, inside `within`."""
    trained: int
    """How many numbers were trained or solved for."""
    tokens: int = 0
    """Tokens trained on, repeats counted; 0 of what is not trained."""
    within: Callable[[], AbstractContextManager[None]] = nullcontext
    merged: Callable[[], PreTrainedModel] | None = None
    """An ordinary model that computes the same with nothing beside its weights and biases; None: `model` is one."""
    beside: int = 0
    """Multiplications a token that a forward pass makes beyond the pruned model's, where nothing is merged."""
