"""What pruning took of a matrix, at low rank, where its inputs are large (EoRA: Liu et al. 2024, arXiv 2410.21271,
section 3)."""

from __future__ import annotations

import copy
from collections.abc import Generator

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ...hf.weights import weight_of
from ...progress import Progress
from ..ways.moments import Moments, repaired
from .adapters import RANK
from .rival import Rival, Task


def eora(task: Task) -> Generator[Progress, None, Rival]:
    """Beside every linear map a product of rank 8; merged it fills the zeros."""
    sizes: list[int] = []

    def repair(module: nn.Module, weight: Tensor, dense: Tensor, moments: Moments) -> None:
        b, a = low_rank(dense.float() - weight.float(), moments.second)
        module.register_forward_hook(_Beside(b.to(weight.dtype), a.to(weight.dtype)))
        sizes.append(a.numel() + b.numel())

    model = yield from repaired(task.pair, task.tokens, task.batch, "solving at low rank", repair)

    def merged() -> object:
        twin = copy.deepcopy(model)
        for module in twin.modules():
            for key, hook in list(module._forward_hooks.items()):
                if isinstance(hook, _Beside):
                    weight = weight_of(module)
                    weight.data.copy_((weight.float() + hook.b.float() @ hook.a.float()).to(weight.dtype))
                    del module._forward_hooks[key]
        return twin

    return Rival(model, sum(sizes), merged=merged, beside=sum(sizes))  # type: ignore[arg-type]


class _Beside:
    """Adds B A x to what a linear map puts out."""

    def __init__(self, b: Tensor, a: Tensor) -> None:
        self.b, self.a = b, a

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output + linear(linear(inputs[0], self.a), self.b)


def low_rank(lost: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """(B [output, rank], A [rank, input]) of least E‖(lost − B A) x‖²: with E[x xᵀ] = Q Λ Qᵀ, the SVD of
    lost Q Λ^½ cut to the rank, times Λ^−½ Qᵀ."""
    values, vectors = torch.linalg.eigh(second.double())
    # Directions that no input has could be anything, and are left out.
    scale = values.clamp(min=0).sqrt()
    there = scale > 1e-6 * scale.max()
    basis, scale = vectors[:, there], scale[there]
    u, s, v = torch.linalg.svd(lost.double() @ basis * scale, full_matrices=False)
    b = u[:, :RANK] * s[:RANK]
    a = (v[:RANK] / scale) @ basis.T
    return b.float(), a.float()
