"""What every weight matrix of a decoder layer reads: the rows that norms and Hessians are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from typing import Any

import torch
from torch import Tensor, nn

from ..hf.layout import Stop
from ..hf.weights import Matrix, expert_activation, is_spread

Batch = tuple[Tensor, Tensor, dict[str, Any]]
"""(hidden states at the layer's entry [batch, pos, d_model], real tokens [batch, pos] bool, its other arguments)."""


@torch.no_grad()
def forward(layer: nn.Module, states: Tensor, arguments: dict[str, Any]) -> Tensor:
    """[batch, pos, d_model] what the layer makes of `states`."""
    output = layer(states, **arguments)
    result: Tensor = output[0] if isinstance(output, tuple) else output
    return result


@torch.no_grad()
def matrix_inputs(
    layer: nn.Module, matrices: Mapping[str, Matrix], batches: Iterable[Batch], add: Callable[[str, Tensor], None]
) -> None:
    """Pass every batch through `layer`; for each of its `matrices` call add(name, rows), once a batch.

    rows: [token, input] of real tokens, for an expert of those that were routed to it. Matrices that read the same
    tensor get the same object, one right after the other (q, k and v; gate and up), so that what is made of it can be
    kept. A matrix that nothing reached gets no call. A pass ends where the last of the matrices reads.
    """
    # Left early, a module would keep the weights that came for its forward pass.
    early = not is_spread(layer)
    unread: set[str] = set()
    now: list[Tensor] = []  # real tokens of the batch under way [token]
    last: list[Tensor] = []  # [an input as it came, its rows]
    experts: dict[nn.Module, dict[int, list[tuple[str, Matrix]]]] = {}

    def done(*names: str) -> None:
        unread.difference_update(names)
        if early and not unread:
            raise Stop

    def read(name: str, inputs: Tensor) -> None:
        if not last or last[0] is not inputs:
            flat, real = inputs.flatten(0, -2), now[0]
            # Experts that are modules of their own see a choice of tokens, which the mask does not fit.
            last[:] = [inputs, flat[real] if len(flat) == len(real) and not bool(real.all()) else flat]
        add(name, last[1])
        done(name)

    def read_experts(module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
        states, routed = (*args, *kwargs.values())[:2]  # [token, d_model], [token, choice] numbers of experts
        for expert, (entry, down) in experts[module].items():
            rows = states.flatten(0, -2)[(routed == expert).any(-1) & now[0]]
            if len(rows):
                add(entry[0], rows)
                add(down[0], expert_activation(entry[1], rows))
        done(*(name for pair in experts[module].values() for name, _ in pair))

    with ExitStack() as hooks:
        for name, matrix in matrices.items():
            if matrix.expert is None:
                hook = matrix.module.register_forward_pre_hook(lambda _, args, name=name: read(name, args[0]))
                hooks.callback(hook.remove)
            else:
                experts.setdefault(matrix.module, {}).setdefault(matrix.expert, []).append((name, matrix))
        for module in experts:
            hooks.callback(module.register_forward_pre_hook(read_experts, with_kwargs=True).remove)
        for states, real, arguments in batches:
            now[:], last[:] = [real.flatten()], []
            unread.update(matrices)
            with suppress(Stop):
                forward(layer, states, arguments)
