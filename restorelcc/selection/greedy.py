"""In which order heads are worth restoring, if those before are restored as well.

Heads repeat one another: what two of them can repair is often the same shift of the output, and the best alone need not
be the best together. With constants c in a set of heads the loss changes by about g·c + ½ c·(F + λ)c as for one head
(see `predicted_effect`), F now with its blocks between heads, whose factors the same backward pass gave.
"""

from __future__ import annotations

import torch
from torch import Tensor

DAMPING = 16.0
"""Of λ of a head alone. Many heads step at once, so each is held shorter. Over six pairs, two families among them, 16
recovered 0 to 2 points more of held-out stories than 4, and 0.3 less on one; 1 and 64 less where they were tried."""


def in_turn(gradient: Tensor, factors: Tensor, floor: Tensor) -> Tensor:
    """[layer, head] predicted change of the loss still to be won when the head's turn comes, nats per token.

    Heads are taken one after the other, each time the one with which all so far win most. Lowest, that is most
    negative, for the first, and rising to what the last adds. float64.

    gradient: [layer, head, d_head] g; factors: [factor, layer, head, d_head] x with F = Σ x xᵀ over all heads at once;
    floor: [layer, head] λ of each head, above 0. Time grows with heads² · factors³, memory with heads · factors².
    """
    layers, heads, width = gradient.shape
    scale = (DAMPING * floor).double().sqrt().reshape(-1, 1, 1)
    spread = factors.double().permute(1, 2, 3, 0).reshape(layers * heads, width, len(factors)) / scale
    slope = gradient.double().reshape(layers * heads, width) / scale[:, 0]
    # With h and Y so scaled, what a set of heads wins is ½ h·(I + Y Yᵀ)⁻¹ h = ½ (h·h − Yᵀh·(I + YᵀY)⁻¹ Yᵀh): a small
    # system of as many unknowns as there are factors, whatever the number of heads, to which each head adds its own.
    squares = slope.square().sum(-1)
    mixed = torch.einsum("hdf,hd->hf", spread, slope)
    inner = torch.einsum("hdf,hde->hfe", spread, spread)
    square, mix, system = torch.zeros_like(squares[0]), torch.zeros_like(mixed[0]), torch.eye(len(factors)).double()
    left, order, won = list(range(layers * heads)), [], [0.0]
    while left:
        mixes = mix + mixed[left]
        solved = torch.cholesky_solve(mixes[..., None], torch.linalg.cholesky(system + inner[left]))
        wins = (square + squares[left] - (mixes * solved[..., 0]).sum(-1)) / 2
        best = int(wins.argmax())
        won.append(float(wins[best]))
        order.append(chosen := left.pop(best))
        square, mix, system = square + squares[chosen], mix + mixed[chosen], system + inner[chosen]
    remaining = torch.empty(layers * heads, dtype=torch.float64)
    remaining[order] = torch.tensor(won[:-1], dtype=torch.float64) - won[-1]
    return remaining.view(layers, heads)
