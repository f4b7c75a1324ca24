"""LoRA (Hu et al. 2021, arXiv 2106.09685) and DoRA (Liu et al. 2024, arXiv 2402.09353), by peft."""

from __future__ import annotations

import copy
from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from ...hf.twins import copied
from ...progress import Progress
from .in_model import linear_maps, trained
from .rival import Rival, Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel

RANK, ALPHA = 8, 16
RATE = 2e-3


def lora(task: Task) -> Generator[Progress, None, Rival]:
    """Beside every linear map of the decoder layers."""
    return (yield from _adapted(task, use_dora=False))


def dora(task: Task) -> Generator[Progress, None, Rival]:
    """The same, with the magnitude of every output's weights trained apart."""
    return (yield from _adapted(task, use_dora=True))


def _adapted(task: Task, use_dora: bool) -> Generator[Progress, None, Rival]:
    from peft import LoraConfig, get_peft_model

    model = copied(task.pair.pruned)
    maps = linear_maps(model)
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=list(maps), use_dora=use_dora)
    torch.manual_seed(task.seed)  # peft draws A from the global generator
    adapted = get_peft_model(model, config)
    named = {name: part for name, part in adapted.named_parameters() if part.requires_grad}
    rival = yield from trained(task, model, named, RATE)
    beside = sum(part.numel() for part in named.values())
    return Rival(model, rival.trained, rival.tokens, merged=partial(_merged, adapted), beside=beside)


def _merged(adapted: Any) -> PreTrainedModel:
    """Every product in its weight; the adapted model stays as it is."""
    merged: PreTrainedModel = copy.deepcopy(adapted).merge_and_unload()
    return merged
