"""Training one decoder layer after the other, each towards what the dense model's gives: a layer with its gradients and
its optimiser's state in memory, where training through the network holds those of all.

What enters a layer comes from the restored layers below it, what it should give from the dense ones, so a layer also
makes up for what is still wrong below it (as in EBFT, arXiv:2402.12419). A layer moves whole: its attention first and
its MLP after it, in as many steps together, come less than half as near to the dense model (README, Training defaults).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from platformdirs import user_cache_path
from torch import Tensor

from ...compensation.interface import Compensation, compensated
from ...errors import SettingError, WriteError
from ...hf.layout import decoder_layers, device_of, geometry, layers_with_heads
from ...hf.twins import layer_inputs
from ...models.pair import ModelPair
from ...pruning.inputs import Batch
from ...text.tokens import Tokens
from ..parameters import Parameters

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MEMORY = 2**30
"""Bytes of hidden states in memory; where texts have more, they are on disk."""


class Blocks:
    """Hidden states of some texts on their way through both models of a pair, a layer at a time.

    layers: those with heads that are trained, by their number among these. The first begins where the texts enter.
    """

    def __init__(
        self, pair: ModelPair, tokens: Tokens, layers: Sequence[int], batch: int, memory: int = MEMORY
    ) -> None:
        self.pair, self.tokens, self._batch, self._memory = pair, tokens, batch, memory
        places = layers_with_heads(pair.pruned)
        self.layers = sorted(layers)
        """As they are trained."""
        self._places = [places[layer] for layer in self.layers]
        self._streams: tuple[_Stream, _Stream] | None = None

    def turn_to(self, block: int | None, parameters: Parameters) -> None:
        """From here on only what acts in this one of the layers moves, and it is entered; None: all moves."""
        parameters.moving(None if block is None else [self.layers[block]])
        if block is not None:
            self.enter(block, parameters)

    @torch.no_grad()
    def enter(self, block: int, parameters: Parameters) -> None:
        """To the entry of this one of the layers, through those below it with what is trained put back. They are
        entered in order. Raises WriteError where there is no room for the hidden states."""
        put_back = parameters.compensation()
        place = self._places[block]
        if self._streams is None:
            each = self._memory // 2
            self._streams = (
                _Stream(self.pair.pruned, self.tokens, self._batch, each),
                _Stream(self.pair.dense, self.tokens, self._batch, each),
            )
        ours, dense = self._streams
        while ours.layer < place:
            with compensated(ours.model, put_back):
                ours.advance()
        while dense.layer <= place:  # One ahead: what enters the next layer is what this one gives.
            dense.advance()

    def turns(self, step: int, each: int) -> list[tuple[int, int]]:
        """(which of the layers, how many turns it had before) of a step, counted from 0: as many turns as there are
        layers, of which each gets `each`, one layer after the other."""
        count = len(self.layers)
        return [divmod(turn, each) for turn in range(step * count, (step + 1) * count)]

    def entering(self) -> Iterator[Batch]:
        """What enters the entered layer of the restored model: all texts, a batch after the other."""
        if self._streams is None:
            raise SettingError("Enter a layer first.")
        return self._streams[0].batches(self.tokens.real)

    def loss(self, texts: Tensor, put_back: Compensation) -> Tensor:
        """Mean over real tokens of ‖h − h_dense‖² / ‖h_dense‖² of what the entered layer gives for some texts."""
        if self._streams is None:
            raise SettingError("Enter a layer first.")
        ours, dense = self._streams
        with compensated(ours.model, put_back):
            given = ours.given(texts)
        wanted = dense.states[texts].to(given.device).float()
        apart = (given.float() - wanted).square().sum(-1) / wanted.square().sum(-1).clamp(min=1e-12)
        return apart[self.tokens.real[texts].to(given.device)].mean()


class _Stream:
    """Hidden states of all texts at the entry of one layer of a model."""

    def __init__(self, model: PreTrainedModel, tokens: Tokens, batch: int, memory: int) -> None:
        self.model, self.layer, self._ids = model, 0, tokens.ids
        self._layers = decoder_layers(model)
        self._parts = torch.arange(len(tokens)).split(batch)
        self._arguments: dict[int, list[dict[str, Any]]] = {}
        shape = (*tokens.ids.shape, geometry(model).d_model)
        self.states = _room(shape, model.dtype, memory)
        """[text, pos, d_model]"""
        for texts in self._parts:
            with torch.no_grad():
                self.states[texts] = layer_inputs(model, tokens.ids[texts].to(device_of(model)), False)[0].cpu()

    def given(self, texts: Tensor) -> Tensor:
        """[text, pos, d_model] what the layer makes of the states of some texts."""
        states = self.states[texts].to(device_of(self.model))
        output = self._layers[self.layer](states, **self._of_size(len(texts))[self.layer])
        result: Tensor = output[0] if isinstance(output, tuple) else output
        return result

    def _of_size(self, size: int) -> list[dict[str, Any]]:
        """What each layer is called with beside its states. Masks and the like depend on the shape alone, so one set
        serves all batches of a size."""
        if size not in self._arguments:
            ids = self._ids[torch.arange(size) % len(self._ids)].to(device_of(self.model))
            with torch.no_grad():
                self._arguments[size] = layer_inputs(self.model, ids)[1]
        return self._arguments[size]

    def batches(self, real: Tensor) -> Iterator[Batch]:
        """What enters the layer. real: [text, pos] bool."""
        device = device_of(self.model)
        for texts in self._parts:
            arguments = self._of_size(len(texts))[self.layer]
            yield self.states[texts].to(device), real[texts].to(device), arguments

    @torch.no_grad()
    def advance(self) -> None:
        """To the entry of the next layer."""
        for texts in self._parts:
            self.states[texts] = self.given(texts).cpu()
        self.layer += 1


def _room(shape: Sequence[int], dtype: torch.dtype, memory: int) -> Tensor:
    """A tensor to write to: in memory, or, where that is not enough, in a file that is gone with it."""
    size = int(torch.Size(shape).numel())
    if size * dtype.itemsize <= memory:
        return torch.empty(*shape, dtype=dtype)
    folder = user_cache_path("restorelcc", ensure_exists=True)
    try:
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, size * dtype.itemsize)
            # Mapped: its name may go while it is used, and so nothing is left of it whatever happens.
            return torch.from_file(file.name, shared=True, size=size, dtype=dtype).view(*shape)
    except OSError as error:
        raise WriteError(
            f"Hidden states of the texts take {size * dtype.itemsize / 1e9:.1f} GB in {folder}, and cannot be written "
            f"({error.strerror or error}). Make room there, or give fewer or shorter windows."
        ) from error
