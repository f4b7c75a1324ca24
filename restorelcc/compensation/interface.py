"""What is put back into a pruned model, whatever it is made of: the one interface through which all else applies it,
folds it into a checkpoint, keeps it on disk and draws it.

    with compensated(model, back): ...      # for this thread, as long as the `with` lasts
    twin = folded(model, back)              # an ordinary model of its own
    attach(model, back)                     # for good

A kind says what it changes in a forward pass (`Compensation.changes`) and how an ordinary model computes the same
(`Compensation.fold`). Kinds are listed in `kinds`; constants are the first.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor, nn

from ..errors import UnsupportedModel
from ..hf.identity import check_agreement
from ..hf.layout import HeadGeometry, hooked

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Change = Callable[[Tensor, Tensor], Tensor]
"""What a module puts out instead, given its (input, output). Called in forward passes: it is to be quick, and to let
gradients through to whatever is trained."""


class Compensation(ABC):
    """What is put back into a pruned model: immutable, and of no model in particular but of a shape of heads.

    It never changes a model: it says what is to be changed.
    """

    kind: ClassVar[str]
    """Its name on disk and among `kinds.KINDS`."""
    version: ClassVar[int] = 1
    """Of what `tensors` gives; `from_tensors` reads this and all before."""
    made_of: ClassVar[str]
    """In words, as a model card has them: "one constant a head"."""
    carried_by: ClassVar[str]
    """What of an ordinary checkpoint carries it: "biases"."""
    size: ClassVar[tuple[str, str]]
    """(symbol, unit) of what `norms` are: "‖c‖", "activation units"."""

    @classmethod
    @abstractmethod
    def none(cls, shape: HeadGeometry) -> Self:
        """Nothing put back."""

    @property
    @abstractmethod
    def norms(self) -> Tensor:
        """[layer, head] how much is put back into each head, in the unit that `size` names; 0 where nothing is."""

    @property
    def beside(self) -> Compensation | None:
        """What is put back beside it, by a kind of its own; None where there is nothing."""
        return None

    @property
    def added(self) -> Tensor | None:
        """[layer, head, d_head] what is added to the activation of each head of the dense model at every token; None
        for a kind that adds nothing there."""
        return None

    @abstractmethod
    def part(self, layer: int, head: int) -> Self:
        """What is put back into one head, alone."""

    def own_heads(self, model: PreTrainedModel) -> Self:
        """In the heads that `model` has, where it is in those of the dense model; what is put back into heads that
        pruning removed goes nowhere. A kind that has nothing by head is as it is."""
        return self

    @abstractmethod
    def changes(self, model: PreTrainedModel) -> Sequence[tuple[nn.Module, Change]]:
        """Which modules of `model` put out something else, and what; those that do not change are left out.

        Differentiable in what it is made of. Asked for at every forward pass, so it does no work that the pass does not
        need. Raises SettingError if it was made for another shape of model.
        """

    @abstractmethod
    def fold(self, model: PreTrainedModel) -> PreTrainedModel:
        """An ordinary model of its own that computes what `model` does with the changes; it may share tensors with it.

        Raises SettingError as `changes` does, and UnsupportedModel with the reason where no such model exists.
        """

    def output_biases(self, model: PreTrainedModel) -> dict[str, Tensor] | None:
        """[d_model] float32 by the name of the linear map of `model` whose output it is added to, where that is all
        that is put back; None for a kind that does anything else. Raises SettingError as `changes` does."""
        return None

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """All that it is made of, by name, to be written to disk."""

    @classmethod
    @abstractmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], shape: HeadGeometry, version: int) -> Self:
        """What `tensors` gave, in this version or an earlier one, for a model of this shape.

        Raises KeyError or ValueError where something is missing or does not fit.
        """


@contextmanager
def compensated(model: PreTrainedModel, compensation: Compensation) -> Iterator[None]:
    """Within the `with`, and in this thread only, `model` computes with the compensation in place.

    Other threads see the model as it is, or with compensations of their own. Gradients flow to what the compensation
    is made of; after a backward pass enter anew. Raises SettingError.
    """
    changes = compensation.changes(model)

    def change(index: int, inputs: Tensor, output: Tensor) -> Tensor:
        return changes[index][1](inputs, output)

    with hooked([module for module, _ in changes], change):
        yield


@torch.no_grad()
def folded(model: PreTrainedModel, compensation: Compensation) -> PreTrainedModel:
    """An ordinary model that computes what `model` does with the compensation, which is checked on a batch of random
    tokens; `model` stays as it is.

    Raises SettingError, and UnsupportedModel with the reason where nothing of the architecture can carry it, or where
    what was made computes something else.
    """
    twin = compensation.fold(model)
    try:
        check_agreement(twin, model, lambda: compensated(model, compensation))
    except UnsupportedModel as error:
        raise UnsupportedModel(
            f"The restoration cannot be merged into {type(model).__name__}: {error} Export an adapter instead; "
            "restorelcc.load_restored loads it."
        ) from error
    return twin


def in_one(
    model: PreTrainedModel, compensation: Compensation
) -> tuple[PreTrainedModel, Callable[[], AbstractContextManager[None]]]:
    """(a model, what is entered around its forward passes) that compute `model` with the compensation as people would
    run it: folded, with nothing to enter; or, where nothing can carry it, `model` itself, compensated. Raises
    SettingError."""
    try:
        return folded(model, compensation), nullcontext
    except UnsupportedModel:
        return model, partial(compensated, model, compensation)


def attach(model: PreTrainedModel, compensation: Compensation) -> None:
    """Add the compensation to `model` for good and for every thread: only for a model of the caller's own.

    Raises SettingError.
    """
    with torch.no_grad():
        changes = compensation.changes(model)
    for module, change in changes:
        module.register_forward_hook(lambda _, inputs, output, change=change: change(inputs[0], output))
