"""What is trained: the part of a training that differs from one kind of compensation to the next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..capture.components import LostComponents
from ..compensation.interface import Compensation
from ..models.pair import ModelPair
from ..registry import lazily
from ..selection.picks import Selection

if TYPE_CHECKING:
    from .training import Settings


class Parameters(ABC):
    """Numbers that an optimiser moves, and the compensation that they amount to wherever they stand."""

    moved: Sequence[Tensor]
    """What the optimiser moves: leaves that ask for gradients. One rate fits all of them: what needs another is held in
    units of its own."""
    count: int
    """How many numbers are trained."""

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

    @abstractmethod
    def compensation(self) -> Compensation:
        """What they amount to as they stand, with gradients to `moved`. Where gradients are off, of numbers of its own,
        which later steps leave alone."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """What is worth keeping beside the compensation as it stands, by name: a run keeps it. Where gradients are off,
        numbers of its own likewise."""


TRAINED: dict[str, Callable[..., Parameters]] = {
    "constants": lazily("restorelcc.restoration.constants:ConstantParameters"),
    "weights": lazily("restorelcc.restoration.weights:WeightParameters"),
}
"""How each kind of compensation that can be trained is, by its name among `compensation.kinds.KINDS`: the registry."""
