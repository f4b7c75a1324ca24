"""The dense model as the teacher: its logits, each computed once as far as memory goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..hf.layout import device_of
from ..text.tokens import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Teacher:
    """The dense model's logits of some texts, kept as far as the memory allowed for them goes."""

    def __init__(self, dense: PreTrainedModel, tokens: Tokens, memory: int) -> None:
        self._dense, self._tokens, self._memory = dense, tokens, memory
        self._kept: dict[int, Tensor] = {}

    @torch.no_grad()
    def logits(self, texts: Tensor) -> Tensor:
        """[batch, pos, vocabulary] of the texts of these numbers."""
        names = texts.tolist()
        missing = sorted({name for name in names if name not in self._kept})
        fresh: dict[int, Tensor] = {}
        if missing:
            logits = self._dense(self._tokens.ids[missing].to(device_of(self._dense)), use_cache=False).logits
            fresh = dict(zip(missing, logits, strict=True))
            size = logits[0].numel() * logits.element_size()
            for name, row in fresh.items():
                if (len(self._kept) + 1) * size <= self._memory:
                    self._kept[name] = row.clone()  # A view would keep the whole batch alive.
        return torch.stack([self._kept[name] if name in self._kept else fresh[name] for name in names])
