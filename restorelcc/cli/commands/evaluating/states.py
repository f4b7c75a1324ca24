"""The models that a command asks or times: one, what is put back into it, and the dense one beside them."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ....artifacts.export import adapter_fits, load_adapter
from ....compensation.interface import compensated, in_one
from ....errors import PairMismatch
from ....evaluation.comparison import Within
from ....hf.layout import vocabulary_size
from ....models.loading import Loading, load_model, load_tokenizer
from ...opening import note_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Named:
    """How they are named on a command line."""

    model: str
    adapter: Path | None
    against: str | None
    """The dense model."""


def opened(
    named: Named, loading: Loading, as_run: bool = False
) -> tuple[dict[str, tuple[PreTrainedModel, Within]], PreTrainedTokenizerBase]:
    """(by name: each with what is entered around its forward passes; the tokenizer of all). A model alone is `model`;
    beside a dense one, or below an adapter, it is `pruned`. as_run: what is put back is folded in where it can be.
    Raises LoadError, PairMismatch."""
    model, tokenizer = load_model(named.model, loading), load_tokenizer(named.model, loading)
    note_model(model)
    states: dict[str, tuple[PreTrainedModel, Within]] = {}
    if named.against is not None:
        dense = load_model(named.against, loading)
        if vocabulary_size(dense) != vocabulary_size(model):
            raise PairMismatch(
                f"{named.against} has {vocabulary_size(dense)} tokens and {named.model} {vocabulary_size(model)}, so "
                "they are not asked the same. Give the dense model that was pruned."
            )
        states["dense"] = (dense, nullcontext)
    alone = named.adapter is None and named.against is None
    states["model" if alone else "pruned"] = (model, nullcontext)
    if named.adapter is not None:
        adapter = load_adapter(named.adapter)
        adapter_fits(adapter, model)
        back = adapter.compensation
        states["restored"] = in_one(model, back) if as_run else (model, partial(compensated, model, back))
    return states, tokenizer
