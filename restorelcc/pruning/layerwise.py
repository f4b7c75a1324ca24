"""Prune a model layer by layer, each layer seeing what the already pruned layers below it compute."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ..errors import SettingError
from ..hf.layout import decoder_layers, geometry
from ..hf.narrow import with_kept_heads
from ..hf.twins import copied
from ..hf.weights import is_spread, prunable
from ..progress import Progress
from ..registry import chosen
from ..text.tokens import Tokens
from .methods import ALLOCATIONS, METHODS, ROUNDINGS, Zeroing, narrows
from .sparsity import Pattern
from .stream import Stream

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Pruning:
    """How a model is pruned: by which method, and how much goes."""

    method: str = "wanda"
    """Of `METHODS`: one that zeroes single weights, or one that removes heads and channels."""
    sparsity: float = 0.5
    """Share of each weight matrix that becomes zero, 0 to 1; set by the pattern where there is one. Of a method that
    narrows: share of the heads and of the MLP channels of every layer that goes."""
    pattern: str | None = None
    """n:m, such as 2:4: at most n of every m consecutive input weights are kept."""
    allocation: str = "uniform"
    """Of `ALLOCATIONS`: how sparsity varies over layers around `sparsity`."""
    rounding: str = "down"
    """Of `ROUNDINGS`: what becomes of the fraction of a weight, where a share is of every row, as Wanda's is."""

    def __post_init__(self) -> None:
        chosen(self.method, METHODS, "Pruning method")
        chosen(self.allocation, ALLOCATIONS, "Allocation")
        chosen(self.rounding, ROUNDINGS, "Rounding")
        if self.narrows and self.pattern is not None:
            raise SettingError(
                f"Pattern {self.pattern} says which single weights become zero, and {self.method} pruning removes "
                "whole heads and channels. Give a ratio instead, or another method."
            )
        if self.varies and (self.pattern is not None or self.narrows):
            fixed = f"pattern {self.pattern}" if self.pattern is not None else f"{self.method} pruning"
            raise SettingError(
                f"Allocation {self.allocation} varies sparsity over layers, and {fixed} is the same in every layer. "
                "Give a sparsity, or leave the allocation uniform."
            )
        if self.pattern is not None:
            object.__setattr__(self, "sparsity", Pattern.parse(self.pattern).sparsity)
        elif not 0 < self.sparsity < 1:
            raise SettingError(
                f"A sparsity of {self.sparsity} makes no sense: it is the share of weights to remove, "
                "above 0 and below 1, such as 0.5."
            )

    def __str__(self) -> str:
        layers = f" {self.allocation}" if self.varies else ""
        return f"{self.method}{layers} {self.pattern or f'{100 * self.sparsity:g} %'}"

    @property
    def narrows(self) -> bool:
        """Whether heads and channels go, rather than single weights."""
        return narrows(self.method)

    @property
    def varies(self) -> bool:
        """Whether layers differ in sparsity."""
        return ALLOCATIONS[self.allocation].sparsities is not None

    @property
    def reads(self) -> bool:
        """Whether calibration text decides anything."""
        method = METHODS[self.method]
        return self.varies or not isinstance(method, Zeroing) or method.needs != "nothing"


def prune(
    model: PreTrainedModel,
    tokens: Tokens,
    pruning: Pruning,
    calibration: str = "",
    batch: int = 8,
    spent: bool = False,
) -> Generator[Progress, None, PreTrainedModel]:
    """A pruned copy of `model`, whose config records how it came about; `model` itself is left as it is.

    Embeddings and the unembedding are not touched. Inputs of a layer come from the pruned layers below it; within a
    layer, from its own unpruned matrices, as in the reference code of Wanda and SparseGPT. calibration: the text's
    name, to record. spent: nobody needs `model` any more, so it is pruned itself, in the memory of one. Yields after
    every layer. Raises SettingError, and UnsupportedModel from structured pruning.
    """
    if is_spread(model):
        raise SettingError(
            "The model is spread over memory and disk, and pruning changes weights in place. Load it on one device "
            "(--device cpu), in half precision if need be."
        )
    twin = model if spent else copied(model)
    record = asdict(pruning)
    method = METHODS[pruning.method]
    if isinstance(method, Zeroing):
        yield from _zeroed(twin, tokens, pruning, method, batch)
    else:
        heads = geometry(model).n_heads
        twin, kept = yield from method.narrowed(twin, tokens, pruning.sparsity, batch)
        record = with_kept_heads(record, kept, heads)
    if pruning.reads:
        record |= {"calibration": calibration, "tokens": int(tokens.real.sum()), "text": tokens.digest()}
    twin.config.pruning = record
    yield Progress("pruned", len(decoder_layers(twin)), len(decoder_layers(twin)))
    return twin


def _zeroed(
    twin: PreTrainedModel, tokens: Tokens, pruning: Pruning, rule: Zeroing, batch: int
) -> Generator[Progress, None, None]:
    """Zero single weights of `twin`, in place."""
    pattern = Pattern.parse(pruning.pattern) if pruning.pattern else None
    layers, allocation = decoder_layers(twin), ALLOCATIONS[pruning.allocation]
    sparsities = [pruning.sparsity] * len(layers)
    if allocation.sparsities is not None:
        sparsities = yield from allocation.sparsities(twin, tokens, pruning.sparsity, batch)
    stream = Stream(twin, tokens, batch) if rule.needs != "nothing" else None
    for index, layer in enumerate(layers):
        yield Progress(f"pruning layer {index + 1} of {len(layers)}", index, len(layers))
        matrices = prunable(layer)
        inputs = stream.read(layer, matrices, rule.needs) if stream else {}
        for name, matrix in matrices.items():
            # Where layers differ it is the whole that is to be as sparse as asked, so fractions are not left out.
            rounding = "nearest" if pruning.varies else pruning.rounding
            share = rule.share(matrix.weight.shape[1], sparsities[index], rounding)
            matrix.weight.copy_(rule.pruned(matrix.weight, inputs.pop(name, None), share, pattern))
        if stream:
            stream.advance(layer)
