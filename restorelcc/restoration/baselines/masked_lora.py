"""Low rank on the weights that survived (MaskLoRA of PERP: Zimmer et al. 2023, arXiv 2312.15230, section 3.2)."""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ...hf.twins import copied
from ...hf.weights import weight_of
from ...progress import Progress
from .adapters import ALPHA, RANK
from .in_model import linear_maps, settle, trained
from .rival import Rival, Task

RATE = 2e-3


class UnderMask(nn.Module):
    """A weight with M ⊙ (α / r) B A added, M where it is not zero."""

    def __init__(self, weight: Tensor, transposed: bool, generator: torch.Generator) -> None:
        """weight: [output, input]."""
        super().__init__()
        outputs, inputs = weight.shape
        # As peft begins: A by Kaiming's rule, B zero, so that nothing is changed at first.
        first = torch.empty(RANK, inputs).uniform_(-(inputs**-0.5), inputs**-0.5, generator=generator)
        self.a = nn.Parameter(first.to(weight.device))
        self.b = nn.Parameter(torch.zeros(outputs, RANK, device=weight.device))
        self._transposed = transposed

    def forward(self, weight: Tensor) -> Tensor:
        """In the weight's own precision."""
        added = self.b @ self.a * (ALPHA / RANK)
        added = added.T if self._transposed else added
        return (weight.float() + added * (weight != 0)).to(weight.dtype)


def masked_lora(task: Task) -> Generator[Progress, None, Rival]:
    """On every linear map of the decoder layers; it merges without filling a zero."""
    model, generator = copied(task.pair.pruned), torch.Generator().manual_seed(task.seed)
    named: dict[str, nn.Parameter] = {}
    for name, module in linear_maps(model).items():
        part = UnderMask(weight_of(module).detach(), not isinstance(module, nn.Linear), generator)
        parametrize.register_parametrization(module, "weight", part)
        named |= {f"{name}.a": part.a, f"{name}.b": part.b}
    rival = yield from trained(task, model, named, RATE)
    settle(model)
    return rival
