"""What each layer loses once the layers below it have theirs back.

A deeper layer's lost activation contains what shallower layers lost. Here the layers are measured one after the other,
each with the mean lost activation of all heads below put back: training-free injection in order.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..capture.statistics import MEANS, HeadStatistics, Positions, capture
from ..compensation.constants import Constants, mean_lost
from ..compensation.interface import compensated
from ..errors import SettingError
from ..models.pair import ModelPair
from ..progress import Progress
from ..text.tokens import Tokens


def capture_in_order(
    pair: ModelPair, tokens: Tokens, positions: Positions = "all", samples: int = 256, seed: int = 0, batch: int = 8
) -> Generator[Progress, None, HeadStatistics]:
    """`capture` with every layer measured while the mean losses of the layers below are in place.

    It costs a capture for every layer. What is put back into layer l is the mean of the result's layer l, so injecting
    all components of the result is the injection in order. Raises SettingError.
    """
    result: HeadStatistics | None = None
    for layer in range(pair.geometry.n_layers):
        below = Constants.none(pair.geometry) if result is None else mean_lost(result, layer)
        within = partial(compensated, pair.pruned, below)
        statistics = yield from capture(pair, tokens, positions, samples, seed, batch, within)
        result = statistics if result is None else _from_layer(layer, result, statistics)
    if result is None:
        raise SettingError("There are no layers to read head activations from.")
    return result


def _from_layer(layer: int, below: HeadStatistics, above: HeadStatistics) -> HeadStatistics:
    """Statistics whose layers below this one are those of `below`, and the others those of `above`."""

    def joined(one: Tensor, other: Tensor) -> Tensor:
        return torch.cat([one[:layer], other[layer:]])

    means: dict[str, Any] = {name: joined(getattr(below, name), getattr(above, name)) for name in MEANS}
    samples = replace(above.samples, lost=joined(below.samples.lost, above.samples.lost))
    return replace(above, samples=samples, **means)
