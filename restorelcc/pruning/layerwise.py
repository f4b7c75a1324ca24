"""Prune a model layer by layer, each layer seeing what the already pruned layers below it compute."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..errors import SettingError
from ..layout import copied, decoder_layers, layer_inputs, prunable
from ..progress import Progress
from ..text import Tokens
from . import magnitude, wanda
from .sparsity import Pattern

if TYPE_CHECKING:
    from transformers import PreTrainedModel

METHODS: dict[str, ModuleType] = {"wanda": wanda, "magnitude": magnitude}


@dataclass(frozen=True)
class Pruning:
    """What to prune away."""

    method: str = "wanda"
    """wanda or magnitude."""
    sparsity: float = 0.5
    """Share of each weight matrix that becomes zero, 0 to 1; set by the pattern where there is one."""
    pattern: str | None = None
    """n:m, such as 2:4: at most n of every m consecutive input weights are kept."""

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise SettingError(f"Pruning method '{self.method}' is not known: give {' or '.join(METHODS)}.")
        if self.pattern is not None:
            object.__setattr__(self, "sparsity", Pattern.parse(self.pattern).sparsity)
        elif not 0 < self.sparsity < 1:
            raise SettingError(
                f"A sparsity of {self.sparsity} makes no sense: it is the share of weights to remove, "
                "above 0 and below 1, such as 0.5."
            )


def prune(
    model: PreTrainedModel, tokens: Tokens, pruning: Pruning, calibration: str = "", batch: int = 8
) -> Generator[Progress, None, PreTrainedModel]:
    """A pruned copy of `model`, whose config records how it came about; `model` itself is left as it is.

    Embeddings and the unembedding are not touched. Inputs of a layer come from the pruned layers below it; within a
    layer, from its own unpruned matrices, as in the reference code of Wanda. calibration: the text's name, to record.
    Yields after every layer. Raises SettingError.
    """
    rule = METHODS[pruning.method]
    pattern = Pattern.parse(pruning.pattern) if pruning.pattern else None
    twin = copied(model)
    layers = decoder_layers(twin)
    # One list entry a batch of texts: hidden states at the entry of the layer being pruned.
    hidden: list[Tensor] = []
    arguments: dict[int, list[dict[str, object]]] = {}
    if rule.NEEDS_INPUTS:
        for part in tokens.batches(batch):
            new = len(part) not in arguments  # They depend on the shape alone, so two sets serve all batches.
            with torch.no_grad():
                states, others = layer_inputs(twin, part.ids, new)
            hidden.append(states)
            if new:
                arguments[len(part)] = others
    real = [part.real.to(twin.device) for part in tokens.batches(batch)]

    for index, layer in enumerate(layers):
        yield Progress(f"pruning layer {index + 1} of {len(layers)}", index, len(layers))
        matrices = prunable(layer)
        norms: dict[str, Tensor | None] = dict.fromkeys(matrices)
        if rule.NEEDS_INPUTS:
            norms.update(_input_norms(layer, matrices, hidden, real, arguments, index))
        for name, linear in matrices.items():
            weight = linear.weight
            weight.data[rule.dropped(weight.data, norms[name], pruning.sparsity, pattern)] = 0
        if rule.NEEDS_INPUTS:
            hidden = [_forward(layer, states, arguments[len(states)][index]) for states in hidden]
    record = {"calibration": calibration, "tokens": int(tokens.real.sum()), "text": tokens.digest()}
    twin.config.pruning = asdict(pruning) | (record if rule.NEEDS_INPUTS else {})
    yield Progress("pruned", len(layers), len(layers))
    return twin


@torch.no_grad()
def _forward(layer: nn.Module, states: Tensor, arguments: dict[str, object]) -> Tensor:
    output = layer(states, **arguments)
    result: Tensor = output[0] if isinstance(output, tuple) else output
    return result


def _input_norms(
    layer: nn.Module,
    matrices: dict[str, nn.Linear],
    hidden: list[Tensor],
    real: list[Tensor],
    arguments: dict[int, list[dict[str, object]]],
    index: int,
) -> dict[str, Tensor]:
    """‖X_j‖₂ of every input j of every matrix over the real tokens."""
    squares = {name: torch.zeros(m.in_features, device=m.weight.device) for name, m in matrices.items()}
    now: list[Tensor] = []
    last: list[Tensor] = []  # [inputs, their squares]: q, k and v read the same tensor, and so do gate and up

    def add(name: str, inputs: Tensor) -> None:
        if not last or last[0] is not inputs:
            # Experts and the like see a flat choice of tokens; the mask of real tokens fits whole batches only.
            padded = inputs.shape[:2] == now[0].shape and not bool(now[0].all())
            rows = inputs[now[0]] if padded else inputs.flatten(0, -2)
            last[:] = [inputs, rows.float().square().sum(0)]
        squares[name] += last[1]

    with ExitStack() as hooks:
        for name, matrix in matrices.items():
            hooks.callback(matrix.register_forward_pre_hook(lambda _, args, name=name: add(name, args[0])).remove)
        for states, mask in zip(hidden, real, strict=True):
            now[:] = [mask]
            _forward(layer, states, arguments[len(states)][index])
    return {name: total.sqrt() for name, total in squares.items()}
