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
from ..pruning import magnitude, sparsegpt, structured, wanda
from ..text.tokens import Tokens
from .allocation import ALLOCATIONS, outlier_share, owl
from .rule import Rule
from .sparsity import Pattern
from .stream import Stream

if TYPE_CHECKING:
    from transformers import PreTrainedModel

RULES: dict[str, Rule] = {"wanda": wanda, "sparsegpt": sparsegpt, "magnitude": magnitude}
STRUCTURED = "structured"
METHODS = (*RULES, STRUCTURED)


@dataclass(frozen=True)
class Pruning:
    """What to prune away."""

    method: str = "wanda"
    """wanda, sparsegpt or magnitude, which zero single weights, or structured, which removes heads and channels."""
    sparsity: float = 0.5
    """Share of each weight matrix that becomes zero, 0 to 1; set by the pattern where there is one. structured: share
    of the heads and of the MLP channels of every layer that goes."""
    pattern: str | None = None
    """n:m, such as 2:4: at most n of every m consecutive input weights are kept."""
    allocation: str = "uniform"
    """How sparsity varies over layers around `sparsity`: uniform, or owl, less where outliers are many."""

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise SettingError(f"Pruning method '{self.method}' is not known: give one of {', '.join(METHODS)}.")
        if self.allocation not in ALLOCATIONS:
            raise SettingError(f"Allocation '{self.allocation}' is not known: give {' or '.join(ALLOCATIONS)}.")
        if self.method == STRUCTURED and self.pattern is not None:
            raise SettingError(
                f"Pattern {self.pattern} says which single weights become zero, and structured pruning removes whole "
                "heads and channels. Give a ratio instead, or another method."
            )
        if self.allocation != "uniform" and (self.pattern is not None or self.method == STRUCTURED):
            fixed = f"pattern {self.pattern}" if self.pattern is not None else "structured pruning"
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
        owl = " owl" if self.allocation == "owl" else ""
        return f"{self.method}{owl} {self.pattern or f'{100 * self.sparsity:g} %'}"

    @property
    def reads(self) -> bool:
        """Whether calibration text decides anything."""
        return self.method not in RULES or RULES[self.method].NEEDS != "nothing" or self.allocation != "uniform"


def prune(
    model: PreTrainedModel, tokens: Tokens, pruning: Pruning, calibration: str = "", batch: int = 8
) -> Generator[Progress, None, PreTrainedModel]:
    """A pruned copy of `model`, whose config records how it came about; `model` itself is left as it is.

    Embeddings and the unembedding are not touched. Inputs of a layer come from the pruned layers below it; within a
    layer, from its own unpruned matrices, as in the reference code of Wanda and SparseGPT. calibration: the text's
    name, to record. Yields after every layer. Raises SettingError, and UnsupportedModel from structured pruning.
    """
    if is_spread(model):
        raise SettingError(
            "The model is spread over memory and disk, and pruning changes weights in place. Load it on one device "
            "(--device cpu), in half precision if need be."
        )
    twin = copied(model)
    record = asdict(pruning)
    if pruning.method == STRUCTURED:
        twin, kept = yield from structured.narrowed(twin, tokens, pruning.sparsity, batch)
        record = with_kept_heads(record, kept, geometry(model).n_heads)
    else:
        yield from _zeroed(twin, tokens, pruning, batch)
    if pruning.reads:
        record |= {"calibration": calibration, "tokens": int(tokens.real.sum()), "text": tokens.digest()}
    twin.config.pruning = record
    yield Progress("pruned", len(decoder_layers(twin)), len(decoder_layers(twin)))
    return twin


def _zeroed(twin: PreTrainedModel, tokens: Tokens, pruning: Pruning, batch: int) -> Generator[Progress, None, None]:
    """Zero single weights of `twin`, in place."""
    rule = RULES[pruning.method]
    pattern = Pattern.parse(pruning.pattern) if pruning.pattern else None
    layers = decoder_layers(twin)
    sparsities = [pruning.sparsity] * len(layers)
    if pruning.allocation == "owl":
        sparsities = yield from _owl(twin, tokens, pruning.sparsity, batch)
    stream = Stream(twin, tokens, batch) if rule.NEEDS != "nothing" else None
    for index, layer in enumerate(layers):
        yield Progress(f"pruning layer {index + 1} of {len(layers)}", index, len(layers))
        matrices = prunable(layer)
        inputs = stream.read(layer, matrices, rule.NEEDS) if stream else {}
        for name, matrix in matrices.items():
            matrix.weight.copy_(rule.pruned(matrix.weight, inputs.pop(name, None), sparsities[index], pattern))
        if stream:
            stream.advance(layer)


def _owl(model: PreTrainedModel, tokens: Tokens, target: float, batch: int) -> Generator[Progress, None, list[float]]:
    """Sparsity of every layer by the outliers among the Wanda scores of the model as it is."""
    stream, layers = Stream(model, tokens, batch), decoder_layers(model)
    shares, sizes = [], []
    for index, layer in enumerate(layers):
        yield Progress(f"counting outliers of layer {index + 1} of {len(layers)}", index, len(layers))
        matrices = prunable(layer)
        norms = stream.read(layer, matrices, "norms")
        shares.append(outlier_share([wanda.scores(matrix.weight, norms[name]) for name, matrix in matrices.items()]))
        sizes.append(sum(matrix.weight.numel() for matrix in matrices.values()))
        stream.advance(layer)
    return owl(target, shares, sizes)
