"""2:4 by torch's own kernels: GPUs from Ampere on skip the two zeros of every four weights."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from ...hf.layout import decoder_layers, device_of
from ...hf.twins import copied
from ...hf.weights import prunable

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from ..comparison import Within

CAPABLE = (8, 0)
"""The compute capability of Ampere."""
TYPES = (torch.float16, torch.bfloat16)
ROWS, COLUMNS = 32, 64
"""What numbers of rows and columns have to be multiples of."""


def with_kernels(models: Mapping[str, tuple[PreTrainedModel, Within]]) -> dict[str, tuple[PreTrainedModel, Within]]:
    """Beside the pruned and the restored model, the same in sparse kernels, where there are any and the restored one is
    an ordinary model."""
    more = dict(models)
    for name in ("pruned", "restored"):
        model, within = models.get(name, (None, nullcontext))
        twin = None if model is None or within is not nullcontext else in_sparse_kernels(model)
        if twin is not None:
            more[f"{name}, 2:4 kernels"] = (twin, nullcontext)
    return more


def held_bytes(model: nn.Module) -> int:
    """What its parameters take in memory: of those that are packed, what they are packed in."""
    total = 0
    for parameter in model.parameters():
        tensor: Any = parameter
        packed = tensor.__tensor_flatten__()[0] if is_traceable_wrapper_subclass(tensor) else ()
        total += sum(getattr(tensor, name).nbytes for name in packed) if packed else tensor.nbytes
    return total


def two_of_four(weight: Tensor) -> bool:
    """Whether at most two of every four consecutive weights [output, input] are not zero."""
    if weight.shape[-1] % 4:
        return False
    kept = (weight != 0).unflatten(-1, (-1, 4)).sum(-1)
    return bool((kept <= 2).all())


def in_sparse_kernels(model: PreTrainedModel) -> PreTrainedModel | None:
    """A copy whose matrices of 2:4 are computed by torch's semi-structured sparse kernels; None where there is no GPU
    that has them, or no such matrix."""
    device = device_of(model)
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < CAPABLE or model.dtype not in TYPES:
        return None
    twin, found = copied(model), 0
    for layer in decoder_layers(twin):
        for matrix in prunable(layer).values():
            module, (rows, columns) = matrix.module, matrix.weight.shape
            if isinstance(module, nn.Linear) and not (rows % ROWS or columns % COLUMNS) and two_of_four(matrix.weight):
                module.weight = nn.Parameter(_packed(matrix.weight), requires_grad=False)
                found += 1
    return twin if found else None


def _packed(weight: Tensor) -> Tensor:
    packed: Tensor = torch.sparse.to_sparse_semi_structured(weight.contiguous())
    return packed
