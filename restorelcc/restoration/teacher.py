"""The dense model as the teacher: each text passes through it once, as far as memory goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..evaluation.ending import ended, left
from ..hf.layout import device_of, geometry, vocabulary_size
from ..text.tokens import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Teacher:
    """The dense model's logits of some texts: kept where the memory allowed for them is enough for all; otherwise what
    leaves its last layer is, which takes a hundredth where the vocabulary is large, and costs the unembedding."""

    def __init__(self, dense: PreTrainedModel, tokens: Tokens, memory: int) -> None:
        self._dense, self._tokens, self._memory = dense, tokens, memory
        self._kept: dict[int, Tensor] = {}
        texts, each = len(tokens), tokens.ids.shape[1] * dense.dtype.itemsize
        # Where nothing at all is kept, states would be passed through the unembedding apart for nothing.
        self._whole = texts * each * vocabulary_size(dense) <= memory or each * geometry(dense).d_model > memory
        """Whether logits are kept."""

    @torch.no_grad()
    def logits(self, texts: Tensor) -> Tensor:
        """[batch, pos, vocabulary] of the texts of these numbers."""
        names = texts.tolist()
        missing = sorted({name for name in names if name not in self._kept})
        fresh = dict(zip(missing, self._read(self._tokens.ids[missing]), strict=True)) if missing else {}
        for name, row in fresh.items():
            if (len(self._kept) + 1) * row.numel() * row.element_size() <= self._memory:
                self._kept[name] = row.clone()  # A view would keep the whole batch alive.
        rows = torch.stack([self._kept[name] if name in self._kept else fresh[name] for name in names])
        return rows if self._whole else ended(self._dense, self._tokens.ids[names], rows)

    def _read(self, ids: Tensor) -> Tensor:
        """[text, pos, …] of what is kept."""
        if not self._whole:
            return left(self._dense, ids)
        logits: Tensor = self._dense(ids.to(device_of(self._dense)), use_cache=False).logits
        return logits
