"""Prune a model layer by layer, each layer seeing what the already pruned layers below it compute."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import SettingError
from ..layout import decoder_layers, layer_inputs
from ..matrices import Matrix, prunable
from ..merging import copied
from ..progress import Progress
from ..text import Tokens
from . import magnitude, wanda
from .inputs import Batch, forward, matrix_inputs
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
    arguments: dict[int, list[dict[str, Any]]] = {}
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
        batches = [(h, mask, arguments[len(h)][index]) for h, mask in zip(hidden, real, strict=bool(hidden))]
        norms = _input_norms(layer, matrices, batches) if rule.NEEDS_INPUTS else {}
        for name, matrix in matrices.items():
            matrix.weight[rule.dropped(matrix.weight, norms.get(name), pruning.sparsity, pattern)] = 0
        hidden = [forward(layer, states, others) for states, _, others in batches]
    record = {"calibration": calibration, "tokens": int(tokens.real.sum()), "text": tokens.digest()}
    twin.config.pruning = asdict(pruning) | (record if rule.NEEDS_INPUTS else {})
    yield Progress("pruned", len(layers), len(layers))
    return twin


def _input_norms(layer: nn.Module, matrices: dict[str, Matrix], batches: list[Batch]) -> dict[str, Tensor]:
    """‖X_j‖₂ of every input j of every matrix over the real tokens; 1 where nothing came by, such as at an expert that
    no token was routed to, so that its weights are judged by their size alone."""
    squares: dict[str, Tensor] = {}
    last: list[Tensor] = []  # [rows, their squares]: q, k and v read the same, and so do gate and up

    def add(name: str, rows: Tensor) -> None:
        if not last or last[0] is not rows:
            last[:] = [rows, rows.float().square().sum(0)]
        squares[name] = squares.get(name, 0) + last[1]

    matrix_inputs(layer, matrices, batches, add)
    for name, matrix in matrices.items():
        if name not in squares:
            squares[name] = torch.ones(matrix.weight.shape[1], device=matrix.weight.device)
    return {name: total.sqrt() for name, total in squares.items()}
