"""A dense/pruned pair, loaded and checked to belong together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import LoadError, NoTokenizer, PairMismatch, SwappedSides, shortened
from ..hf.config import differences
from ..hf.layout import HeadGeometry, geometry, remarks, stored_in, vocabulary_size
from ..hf.narrow import head_weights
from ..text.calibration import LONGEST_WINDOW
from .checkpoint import precision_name
from .likeness import check_sides, judged, likeness, zero_share
from .loading import Loading, load_model, load_skeleton, load_tokenizer, source_of
from .matching import HeadWeights, Match, fewer_heads, matched, told
from .memory import placed
from .tokenizers import check_tokenizers

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class ModelPair:
    """One model before and after pruning. Both are shared by everybody: never change them."""

    dense: PreTrainedModel
    pruned: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    geometry: HeadGeometry
    """Of the dense model; the pruned one may have fewer heads."""
    dense_name: str
    pruned_name: str
    match: Match | None = None
    """Which heads the pruned model's are; None where it has them all."""
    notes: tuple[str, ...] = ()
    """What should be said of the pair, a sentence each: whose tokenizer reads text where one lacks, and what lies
    between the two beside pruning."""
    held: str = ""
    """Where their weights are, and why, if that is not in memory for want of it."""

    def remarks(self) -> list[str]:
        """`notes`, and what should be said of how each model was read and is held; a sentence each."""
        said = (self.held, *remarks(self.dense), *remarks(self.pruned), *self.notes)
        return list(dict.fromkeys(filter(None, said)))

    @property
    def present(self) -> Tensor:
        """[layer, head of the dense model] bool: whether the pruned model has it too."""
        kept = torch.zeros(self.geometry.n_layers, self.geometry.n_heads, dtype=torch.bool)
        return ~kept if self.match is None else kept.scatter(1, self.match.heads, True)

    def holder(self, layer: int, head: int) -> tuple[PreTrainedModel, int, int]:
        """(the pruned model if it has this head of the dense one, else the dense model; the layer; the head's number
        there)."""
        if self.match is None:
            return self.pruned, layer, head
        own = (self.match.heads[layer] == head).nonzero().flatten().tolist()
        return (self.pruned, layer, own[0]) if own else (self.dense, layer, head)

    def placed(self, layer: int, values: Tensor, among: Tensor) -> Tensor:
        """`values` [head of the pruned model, …] in the places of their heads among [head of the dense model, …]."""
        if self.match is None:
            return values
        return among.index_copy(0, self.match.heads[layer].to(among.device), values)


def load_pair(dense: str, pruned: str, loading: Loading | None = None) -> ModelPair:
    """Both models and their tokenizer, checked to belong together; weights stay on disk where memory does not hold both
    (see `memory.placed`). Raises LoadError or PairMismatch."""
    loading, held = placed((dense, pruned), loading)
    pair = _checked(load_model(dense, loading), load_model(pruned, loading), dense, pruned, loading)
    found = likeness(pair.dense, pair.pruned)
    said = judged(found, shortened(dense), shortened(pruned), pair.match is not None)
    return replace(pair, notes=(*pair.notes, *said), held=held)


def skeleton_pair(dense: str, pruned: str, loading: Loading | None = None) -> ModelPair:
    """The pair without its weights (see `load_skeleton`): its shape, tokenizer and heads, checked as `load_pair` does.

    Where heads have to be recognised by their weights, each model is loaded for that, one at a time. Raises LoadError
    or PairMismatch.
    """

    def weights() -> tuple[HeadWeights, HeadWeights]:
        return head_weights(load_model(dense, loading)), head_weights(load_model(pruned, loading))

    return _checked(load_skeleton(dense, loading), load_skeleton(pruned, loading), dense, pruned, loading, weights)


class OneAtATime:
    """The models of a pair that was read without its weights, each loaded when it is asked for and nobody's but the
    caller's; what was seen of one is held against the other."""

    def __init__(self, pair: ModelPair, loading: Loading | None = None) -> None:
        self.pair, self._loading = pair, loading
        self._zeros: dict[str, float] = {}
        self._said: list[str] = list(pair.remarks())

    def dense(self) -> PreTrainedModel:
        """The dense model. Raises LoadError, and PairMismatch where the sides are the wrong way round."""
        return self._seen("dense", load_model(self.pair.dense_name, self._loading))

    def pruned(self) -> PreTrainedModel:
        """The pruned model, told which heads it has. Raises as `dense` does."""
        model = load_model(self.pair.pruned_name, self._loading)
        if self.pair.match is not None:
            model.config.pruning = self.pair.pruned.config.pruning
        return self._seen("pruned", model)

    def _seen(self, side: str, model: PreTrainedModel) -> PreTrainedModel:
        self._said += remarks(model)
        self._zeros[side] = zero_share(model)
        if len(self._zeros) == 2 and self.pair.match is None:
            names = shortened(self.pair.dense_name), shortened(self.pair.pruned_name)
            check_sides(self._zeros["dense"], self._zeros["pruned"], *names)
        return model

    def remarks(self) -> list[str]:
        """What should be said of the two as far as they were seen; a sentence each."""
        return list(dict.fromkeys(self._said))


def _checked(
    dense: PreTrainedModel,
    pruned: PreTrainedModel,
    dense_name: str,
    pruned_name: str,
    loading: Loading | None,
    weights: Callable[[], tuple[HeadWeights, HeadWeights]] | None = None,
) -> ModelPair:
    tokenizer, notes = shared_tokenizer(dense_name, pruned_name, loading)
    match = matched(dense, pruned, Path(source_of(pruned_name)), weights)
    pair = paired(dense, pruned, tokenizer, dense_name, pruned_name, match)
    return replace(pair, notes=(*notes, *pair.notes))


def shared_tokenizer(
    dense: str, pruned: str, loading: Loading | None = None
) -> tuple[PreTrainedTokenizerBase, tuple[str, ...]]:
    """(the dense model's tokenizer, or the pruned one's where it has none; what should be said of that).

    Raises LoadError where neither can be had, PairMismatch where they read the same text as different tokens.
    """
    tokenizers: dict[str, PreTrainedTokenizerBase] = {}
    failures: dict[str, LoadError] = {}
    for side, name in (("dense", dense), ("pruned", pruned)):
        try:
            tokenizers[side] = load_tokenizer(name, loading)
        except LoadError as error:
            failures[side] = error
    if not tokenizers:
        raise failures["dense"]
    if not failures:
        check_tokenizers(tokenizers["dense"], tokenizers["pruned"])
        return tokenizers["dense"], ()
    ((side, tokenizer),), ((other, failure),) = tokenizers.items(), failures.items()
    what = "has no tokenizer" if isinstance(failure, NoTokenizer) else "has a tokenizer that cannot be loaded"
    return tokenizer, (f"The {other} model {what}: text is read with the {side} one's, and nothing tells if it fits.",)


def paired(
    dense: PreTrainedModel,
    pruned: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    dense_name: str,
    pruned_name: str,
    match: Match | None = None,
) -> ModelPair:
    """A pair of models already loaded. Raises PairMismatch, saying in which shapes they differ, or in what else that
    makes them compute different things with the same weights.

    A pruned model with fewer heads needs a `match`, or a config that says which they are.
    """
    ours, theirs = geometry(dense), geometry(pruned)
    if fewer_heads(ours, theirs):
        match = match or told(ours, pruned)
    differ = [
        f"{field.name} {getattr(ours, field.name)} against {getattr(theirs, field.name)}"
        for field in fields(HeadGeometry)
        if getattr(ours, field.name) != getattr(theirs, field.name)
        and not (match is not None and field.name in ("n_heads", "n_kv_heads"))
    ]
    vocabularies = [vocabulary_size(model) for model in (dense, pruned)]
    if vocabularies[0] != vocabularies[1]:
        differ.append(f"vocabulary {vocabularies[0]} against {vocabularies[1]}")
    names = shortened(dense_name), shortened(pruned_name)
    if fewer_heads(theirs, ours):
        raise SwappedSides(
            f"{names[0]}, given as the dense model, has fewer heads than {names[1]} ({'; '.join(differ)}): they are "
            "the wrong way round. Give the model with more heads as the dense one."
        )
    if differ:
        raise PairMismatch(
            f"{names[0]} and {names[1]} differ in shape ({'; '.join(differ)}), so their heads cannot be compared. "
            "Give the model that was pruned, and a pruned model that kept its shape, or its heads with a map of them."
        )
    said = _beside_shape(dense, pruned, *names)
    return ModelPair(dense, pruned, tokenizer, ours, dense_name, pruned_name, match, tuple(said))


def _beside_shape(dense: PreTrainedModel, pruned: PreTrainedModel, dense_name: str, pruned_name: str) -> list[str]:
    """What should be said of how their configs and precisions differ, a sentence each. Raises PairMismatch where that
    is certain to be no pruning."""
    found = differences(dense, pruned, LONGEST_WINDOW)
    other = [str(difference) for difference in found if difference.function]
    if other:
        raise PairMismatch(
            f"{dense_name} and {pruned_name} compute different things with the same weights "
            f"({shortened('; '.join(other))}), and that would be taken for what pruning took. Give the model that was "
            "pruned, or mend the config that is wrong."
        )
    said = []
    if found:
        listed = shortened("; ".join(map(str, found)), 200)
        said.append(f"The configs of {dense_name} and {pruned_name} differ in more than pruning: {listed}.")
    kinds = [precision_name(stored_in(model)) for model in (dense, pruned)]
    if kinds[0] != kinds[1]:
        said.append(
            f"{dense_name} is stored in {kinds[0]} and {pruned_name} in {kinds[1]}: what that rounds is part of what "
            "is shown as lost."
        )
    return said
