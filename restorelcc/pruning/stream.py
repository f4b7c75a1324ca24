"""Calibration text on its way through a model, a layer at a time, and what the matrices of a layer read of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..hf.layout import decoder_layers
from ..hf.overflow import overflow, place_of
from ..hf.twins import layer_inputs
from ..hf.weights import Matrix
from ..text.tokens import Tokens
from .inputs import Batch, forward, matrix_inputs
from .methods import Needs

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Stream:
    """Hidden states at the entry of one layer after another, those of the first to begin with."""

    def __init__(self, model: PreTrainedModel, tokens: Tokens, batch: int) -> None:
        self._model = model
        self._hidden: list[Tensor] = []  # one entry a batch of texts
        self._arguments: dict[int, list[dict[str, Any]]] = {}
        self._index, self._count = 0, len(decoder_layers(model))
        for part in tokens.batches(batch):
            new = len(part) not in self._arguments  # They depend on the shape alone, so two sets serve all batches.
            with torch.no_grad():
                states, others = layer_inputs(model, part.ids, new)
            self._hidden.append(states)
            if new:
                self._arguments[len(part)] = others
        self._real = [part.real.to(model.device) for part in tokens.batches(batch)]

    def batches(self) -> list[Batch]:
        """What enters the layer, a batch of texts each."""
        return [
            (states, real, self._arguments[len(states)][self._index])
            for states, real in zip(self._hidden, self._real, strict=True)
        ]

    def advance(self, layer: nn.Module) -> None:
        """To the entry of the next layer, through `layer` as it is now; after the last there is none, and nothing is
        computed. Raises NotFinite."""
        if self._index + 1 == self._count:
            return
        self._hidden = [forward(layer, states, arguments) for states, _, arguments in self.batches()]
        if not all(bool(states[real].isfinite().all()) for states, real in zip(self._hidden, self._real, strict=True)):
            raise overflow(self._model, f"{place_of(self._index)}, in what it puts out")
        self._index += 1

    def read(self, layer: nn.Module, matrices: Mapping[str, Matrix], needs: Needs) -> dict[str, Tensor]:
        """What `needs` names, of the inputs of every matrix over the real tokens, float32; empty for nothing. Raises
        NotFinite.

        Where no token came by, such as at an expert that none was routed to, every input counts the same, so that
        weights are judged by their size alone.
        """
        if needs == "nothing":
            return {}
        of_rows = _squares if needs == "norms" else _products
        totals: dict[str, Tensor] = {}
        counts = dict.fromkeys(matrices, 0)
        last: list[Tensor] = []  # [rows, what was made of them]: q, k and v read the same tensor, and so do gate and up

        def add(name: str, rows: Tensor) -> None:
            if not last or last[0] is not rows:
                last[:] = [rows, of_rows(rows.float())]
            totals[name] = totals[name] + last[1] if name in totals else last[1]
            counts[name] += len(rows)

        matrix_inputs(layer, matrices, self.batches(), add)
        for name, total in totals.items():
            if not torch.isfinite(total).all():
                raise overflow(self._model, f"{place_of(self._index, name)}, in what it reads")
        for name, matrix in matrices.items():
            if name not in totals:
                totals[name] = of_rows(torch.eye(matrix.weight.shape[1], device=matrix.weight.device))
        if needs == "norms":
            return {name: total.sqrt() for name, total in totals.items()}
        return {name: total * (2 / max(1, counts[name])) for name, total in totals.items()}


def _squares(rows: Tensor) -> Tensor:
    return rows.square().sum(0)


def _products(rows: Tensor) -> Tensor:
    return rows.T @ rows
