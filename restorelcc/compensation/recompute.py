"""A model with something put back whose backward pass holds only what entered its layers, and computes the rest anew:
for a third more time, the memory of one layer in place of that of all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..hf.layout import decoder_layers, hooked
from ..hf.twins import StandIn, with_layers
from ..hf.weights import is_spread
from .interface import Change, Compensation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedModel


def recomputing(model: PreTrainedModel, compensation: Compensation) -> PreTrainedModel:
    """`model` with the compensation in place, sharing all modules with it but the list of its layers. Gradients flow to
    what the compensation is made of. Raises SettingError."""
    return recomputed(model, compensation.changes(model))


def recomputed(model: PreTrainedModel, changes: Sequence[tuple[nn.Module, Change]]) -> PreTrainedModel:
    """The same, of modules of its layers that put out something else. Gradients flow to what that is made of."""
    # Left early, a module would keep the weights that came for its forward pass.
    early = not is_spread(model)
    layers: list[nn.Module] = []
    for layer in decoder_layers(model):
        inside = set(layer.modules())
        layers.append(_Recomputed(layer, [change for change in changes if change[0] in inside], early))
    return with_layers(model, layers)


class _Recomputed(StandIn):
    """A layer that is computed a second time on the way back."""

    def __init__(self, layer: nn.Module, changes: Sequence[tuple[nn.Module, Change]], early: bool) -> None:
        """early: whether it is left as soon as all is there that the way back needs."""
        super().__init__(layer, lambda hidden: None)
        self._early = early
        self._changes = [changes]  # in a list: no submodules

    def forward(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
        """What the layer computes with its part of the compensation."""
        changes, compute = self._changes[0], super().forward

        def run(states: Tensor) -> Any:
            # Entered here and not around the pass: on a GPU another thread goes back, and hooks are for one thread.
            def change(index: int, inputs: Tensor, output: Tensor) -> Tensor:
                return changes[index][1](inputs, output)

            with hooked([module for module, _ in changes], change):
                return compute(states, *args, **kwargs)

        return checkpoint(run, hidden, use_reentrant=False, early_stop=self._early)
