"""Low rank: LoRA (Hu et al. 2021, arXiv 2106.09685) and DoRA (Liu et al. 2024, arXiv 2402.09353), by peft; and on the
weights that survived alone (MaskLoRA of PERP: Zimmer et al. 2023, arXiv 2312.15230, section 3.2)."""

from __future__ import annotations

import copy
from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ...hf.twins import copied
from ...hf.weights import weight_of
from ...progress import Progress
from .in_model import linear_maps, settle, trained
from .rival import Rival, Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel

RANK, ALPHA = 8, 16
# Each the best of a grid (tests/benchmarks/rivals/rates.py: embedded pair at Wanda 50 %, 40 steps of 4 windows, judged
# by windows held out of the calibration text, ± 1.2 points), by how much nearer to the dense model it came, in %. LoRA:
# 41.6 at 5e-4, 49.5 at 1e-3, 53.5 at 2e-3, 53.7 at 4e-3, 37.3 at 8e-3. Under the mask: 53.2 at 2e-3, 55.4 at 4e-3,
# 52.2 ± 2.2 at 8e-3.
LORA_RATE = MASKED_RATE = 4e-3
DORA_RATE = 2e-3  # a step below LoRA's, as its authors have it; not tried apart


def lora(task: Task) -> Generator[Progress, None, Rival]:
    """Beside every linear map of the decoder layers."""
    return (yield from _adapted(task, LORA_RATE, use_dora=False))


def dora(task: Task) -> Generator[Progress, None, Rival]:
    """The same, with the magnitude of every output's weights trained apart."""
    return (yield from _adapted(task, DORA_RATE, use_dora=True))


def _adapted(task: Task, lr: float, use_dora: bool) -> Generator[Progress, None, Rival]:
    from peft import LoraConfig, get_peft_model

    model = copied(task.pair.pruned)
    maps = linear_maps(model)
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=list(maps), use_dora=use_dora)
    torch.manual_seed(task.seed)  # peft draws A from the global generator
    adapted = get_peft_model(model, config)
    named = {name: part for name, part in adapted.named_parameters() if part.requires_grad}
    rival = yield from trained(task, model, named, lr)
    beside = sum(part.numel() for part in named.values())
    return Rival(model, rival.trained, rival.tokens, merged=partial(_merged, adapted), beside=beside)


def _merged(adapted: Any) -> PreTrainedModel:
    """Every product in its weight; the adapted model stays as it is."""
    merged: PreTrainedModel = copy.deepcopy(adapted).merge_and_unload()
    return merged


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
    rival = yield from trained(task, model, named, MASKED_RATE)
    settle(model)
    return rival
