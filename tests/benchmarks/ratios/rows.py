"""What our work costs beside the bare models, on one pair: the rows of the table."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import torch
from torch import nn

from restorelcc.capture.components import components
from restorelcc.capture.statistics import Positions, capture
from restorelcc.compensation.constants import Constants
from restorelcc.compensation.interface import compensated, folded
from restorelcc.evaluation.losses import cross_entropy
from restorelcc.evaluation.prefix import Prefix
from restorelcc.hf.layout import decoder_layers, layers_with_heads, output_projections
from restorelcc.hf.weights import prunable
from restorelcc.models.pair import ModelPair
from restorelcc.progress import finish
from restorelcc.pruning import sparsegpt, wanda
from restorelcc.pruning.layerwise import Pruning, prune
from restorelcc.restoration.settings import Settings
from restorelcc.restoration.training import Training
from restorelcc.selection.picks import everything
from restorelcc.selection.predicted_effect import slopes
from restorelcc.text.tokens import Tokens

from .public import as_published
from .timing import Row

SPARSITY = 0.5
PROMPT = 64
"""Tokens of a text where the paper's way is taken; an instruction of Alpaca has about as many."""


def rows(pair: ModelPair, tokens: Tokens, batch: int) -> Iterator[Row]:
    """tokens: whole windows, none of them padded. batch: windows a forward pass."""
    yield Row("capture / two bare decoder forwards", partial(_captured, pair, tokens, batch),
              partial(_decoders, pair, tokens, batch), 1.10)  # fmt: skip
    short = Tokens(*(part.unflatten(1, (-1, PROMPT)).flatten(0, 1) for part in
                     (tokens.ids, tokens.real, tokens.scored, tokens.response)))  # fmt: skip
    yield Row(f"capture and components of texts of {PROMPT} tokens by their last, times as fast as the public code",
              partial(_found, pair, short, batch, "last"), partial(as_published, pair, short), 5.0,
              least=True)  # fmt: skip
    yield Row("the same of all tokens of whole windows, all activations kept there",
              partial(_found, pair, tokens, batch, "all"), partial(as_published, pair, tokens, "all"),
              least=True)  # fmt: skip
    statistics = finish(capture(pair, tokens, batch=batch))
    lost = components(statistics)
    yield Row("components of all heads / one SVD a head", lambda: components(statistics),
              partial(_one_svd_a_head, statistics.samples.lost))  # fmt: skip
    prefix, count = Prefix(pair.pruned, tokens, batch), len(layers_with_heads(pair.pruned))
    finish(prefix.measured())
    for layer in sorted({count // 4, count // 2, 3 * count // 4}):
        name, target = f"perplexity after a change in layer {layer} of {count} / of the model", 1.10 - layer / count
        yield Row(name, partial(_again, prefix, layer), partial(_again, prefix, 0), target)
    yield Row("predicted effect of all components / forward and backward", partial(_slopes, pair, tokens, batch),
              partial(_backward, pair, tokens, batch), 1.2)  # fmt: skip
    some = tokens[:batch]
    settings = Settings(steps=10**6, batch=len(some), evaluate_every=10**6)
    training = Training(pair, lost, everything(lost.shape), some, some[:1], settings)
    loop = training.steps()
    for _ in range(2):  # the start, and the teacher's logits
        next(loop)
    yield Row(
        "restoration step / forward and backward", lambda: next(loop), partial(_backward, pair, some, batch), 1.05
    )
    for method, arithmetic, of, target in (
        ("wanda", _by_sorting, "its published arithmetic, a stable sort", 1.3),
        ("wanda", _by_wanda, "the arithmetic that is ours", None),
        ("sparsegpt", _by_sparsegpt, "the method's arithmetic", 1.3),
    ):
        yield Row(f"{method} / bare forward and {of}", partial(_pruned, pair, tokens, method, batch),
                  partial(_plainly_pruned, pair, tokens, batch, arithmetic), target)  # fmt: skip
    constants = Constants(torch.randn(*lost.shape[:2], pair.geometry.d_head) * 0.01)
    if constants.output_biases(pair.pruned) is not None:
        merged = folded(pair.pruned, constants)
        yield Row("speed of a merged checkpoint, of the pruned one's", partial(_forward, merged, some),
                  partial(_forward, pair.pruned, some), 0.98, least=True)  # fmt: skip
    yield Row("forward, compensated by hooks / bare", partial(_compensated, pair, constants, some),
              partial(_forward, pair.pruned, some))  # fmt: skip


def _captured(pair: ModelPair, tokens: Tokens, batch: int) -> None:
    finish(capture(pair, tokens, batch=batch))


@torch.no_grad()
def _decoders(pair: ModelPair, tokens: Tokens, batch: int) -> None:
    for model in (pair.dense, pair.pruned):
        for ids in tokens.ids.split(batch):
            model.base_model(ids.to(model.device), use_cache=False)


def _found(pair: ModelPair, tokens: Tokens, batch: int, positions: Positions) -> None:
    components(finish(capture(pair, tokens, positions, batch=batch)))


def _one_svd_a_head(lost: torch.Tensor) -> None:
    for layer in lost.double():
        for head in layer:
            torch.linalg.svd(head, full_matrices=False)


def _again(prefix: Prefix, layer: int) -> None:
    finish(prefix.again(layer))


def _slopes(pair: ModelPair, tokens: Tokens, batch: int) -> None:
    finish(slopes(pair, tokens, "ce", batch))


def _backward(pair: ModelPair, tokens: Tokens, batch: int) -> None:
    """Of what stands beside the heads' outputs, with frozen weights: to the output projection of the lowest layer."""
    entry = output_projections(pair.pruned)[0]
    for some in (tokens[start : start + batch] for start in range(0, len(tokens), batch)):
        shift = torch.zeros(1, dtype=pair.pruned.dtype, device=pair.pruned.device, requires_grad=True)
        ids, scored = some.ids.to(shift.device), some.scored.to(shift.device)
        hook = entry.register_forward_hook(lambda _, __, output, shift=shift: output + shift)
        logits = pair.pruned(ids, use_cache=False).logits
        hook.remove()
        cross_entropy(logits, ids, scored).backward()


def _pruned(pair: ModelPair, tokens: Tokens, method: str, batch: int) -> None:
    finish(prune(pair.dense, tokens, Pruning(method, SPARSITY), batch=batch))


Arithmetic = Callable[[nn.Linear, torch.Tensor], torch.Tensor]


@torch.no_grad()
def _plainly_pruned(pair: ModelPair, tokens: Tokens, batch: int, arithmetic: tuple[bool, Arithmetic]) -> None:
    """One forward pass of the dense model in which every matrix adds up what the method needs of its inputs, and then
    the method's own products."""
    whole, cut = arithmetic
    seen: dict[nn.Module, torch.Tensor] = {}

    def gather(module: nn.Module, inputs: tuple[torch.Tensor, ...], _: object) -> None:
        x = inputs[0].flatten(0, -2).float()
        seen[module] = seen.get(module, 0) + (x.T @ x if whole else x.square().sum(0))

    matrices = [m.module for layer in decoder_layers(pair.dense) for m in prunable(layer).values()]
    with ExitStack() as undo:
        for module in matrices:
            undo.callback(module.register_forward_hook(gather).remove)
        for ids in tokens.ids.split(batch):
            pair.dense.base_model(ids.to(pair.dense.device), use_cache=False)
    for module in matrices:
        cut(module, seen[module])


def _sorted_away(module: nn.Linear, seen: torch.Tensor) -> torch.Tensor:
    """As Wanda's public code has it."""
    scores = module.weight.float().abs() * seen.sqrt()
    drop = scores.sort(dim=-1, stable=True)[1][:, : int(scores.shape[1] * SPARSITY)]
    return module.weight.float().masked_fill(torch.zeros_like(scores, dtype=torch.bool).scatter_(1, drop, True), 0)


_by_sorting = (False, _sorted_away)
_by_wanda = (False, lambda module, seen: wanda.pruned(module.weight, seen.sqrt(), SPARSITY, None))
_by_sparsegpt = (True, lambda module, seen: sparsegpt.pruned(module.weight, seen, SPARSITY, None))


@torch.no_grad()
def _forward(model: nn.Module, tokens: Tokens) -> None:
    model(tokens.ids.to(model.device), use_cache=False)


def _compensated(pair: ModelPair, constants: Constants, tokens: Tokens) -> None:
    with compensated(pair.pruned, constants):
        _forward(pair.pruned, tokens)
