"""One step after the other, each through what of the model its turn is: all of it, or one layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...errors import SettingError
from ...processes import process, processes
from ..choices import WAYS
from ..parameters import Parameters, move, move_by
from .blocks import Blocks

if TYPE_CHECKING:
    from ..settings import Settings

Done = tuple[float, float, int]
"""(rate, loss before, tokens) of a step."""


class Course:
    """The way of one training. Raises SettingError where what is solved for has another shape in the dense model."""

    def __init__(
        self,
        blocks: Blocks,
        parameters: Parameters,
        optimizer: torch.optim.Optimizer,
        settings: Settings,
        draw: Callable[[], Tensor],
        objective: Callable[[Tensor], Iterable[tuple[Tensor, int]]],
    ) -> None:
        """draw: numbers of the texts of the next batch. objective: of some texts the losses through the whole network,
        of a few at a time, and the tokens that each is a mean over."""
        self._blocks, self._parameters, self._optimizer, self._settings = blocks, parameters, optimizer, settings
        self._draw, self._objective = draw, objective
        self._turn: int | None = -1 if settings.by_layer else None  # nobody's yet, or all layers'
        self._solved = min(len(blocks.layers), settings.steps) if WAYS[settings.way].solves else 0
        if self._solved and blocks.pair.match is not None:
            raise SettingError(
                "Weights are solved for by those of the dense model, and pruning left other shapes here. Choose "
                "another way through the model."
            )

    def step(self, step: int) -> Done:
        """The next, counted from 0. Raises NotFinite."""
        if step < self._solved:
            return self._solve(step)
        return self._through_blocks(step) if step < self._settings.by_blocks else self._through_network(step)

    def _through_network(self, step: int) -> Done:
        """Of all that is trained."""
        self._turn_to(None, anew=step == self._settings.by_blocks)
        texts, together = self._draw(), self._parameters.together(len(self._blocks.layers))
        rate = self._settings.rate(step, self._solved) * together
        parts = self._objective(_own(texts))
        return rate, move_by(self._optimizer, parts, rate, self._settings.clip), self._count(texts)

    def _through_blocks(self, step: int) -> Done:
        """As many steps of one layer as layers are trained, which cost what one of the network does. Each layer gets
        the steps of a schedule of its own; the rate is the last, the loss the mean error."""
        blocks, losses, tokens = self._blocks, [], 0
        for block, number in blocks.turns(step, self._settings.by_blocks):
            self._turn_to(block, anew=number == 0)
            texts, rate = self._draw(), self._settings.rate(number)
            own = _own(texts)
            loss = blocks.loss(own, self._parameters.compensation()) if len(own) else torch.zeros(())
            losses.append(move(self._optimizer, loss, self._count(own), rate, self._settings.clip))
            tokens += self._count(texts)
        return rate, sum(losses) / len(losses), tokens // len(blocks.layers)

    def _solve(self, step: int) -> Done:
        """One layer, by all texts: without a rate. The tokens of all layers add up to reading them once."""
        blocks, size = self._blocks, self._settings.batch
        self._turn_to(step, anew=False)
        every = torch.arange(len(blocks.tokens))
        with torch.no_grad():
            loss = blocks.loss(every[:size], self._parameters.compensation())
        self._parameters.solve(blocks.layers[step], blocks.entering())
        return 0.0, float(loss), self._count(every) // len(blocks.layers)

    def _count(self, texts: Tensor) -> int:
        """Real tokens of some texts."""
        return int(self._blocks.tokens.real[texts].sum())

    def _turn_to(self, block: int | None, anew: bool) -> None:
        """Move what acts in this layer of those trained (None: in all); anew: with nothing of how others moved."""
        if anew:
            self._optimizer.state.clear()
        if block != self._turn:
            self._turn = block
            self._blocks.turn_to(block, self._parameters)


def _own(texts: Tensor) -> Tensor:
    """Numbers of those of a batch that this process takes, where several are at it; of few texts perhaps none."""
    return texts[process() :: processes()]
