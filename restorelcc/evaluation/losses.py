"""What restoration minimises, computed a piece of a row at a time so that float32 logits of a whole batch, or of a long
row of a large vocabulary, never exist at once."""

from typing import Any

import torch
from torch import Tensor

PIECE = 2**25
"""Numbers of the logits that are looked at together in float32, of which several copies are made."""
CACHED = 2**18
"""As many on a processor, whose cache holds them: what is made of them is read again at once."""


def positions(chosen: Tensor, vocabulary: int) -> tuple[Tensor, ...]:
    """Of [pos] bool the positions that are chosen, as many together as may be in float32."""
    most = min(PIECE, CACHED) if chosen.device.type == "cpu" else PIECE
    pieces: tuple[Tensor, ...] = chosen.nonzero().flatten().split(max(1, most // vocabulary))
    return pieces


class _SoftTargetLoss(torch.autograd.Function):
    """Σ over chosen positions of KL(target ‖ model), or of −ln p(target) for a hard target.

    The gradient by the logits is softmax(logits) − target either way, known as soon as the loss is, so it is kept in
    the logits' own precision instead of the graph of a float32 softmax.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, chosen: Tensor) -> Tensor:
        """logits: [batch, pos, vocabulary]; target: teacher logits of that shape, or token ids [batch, pos];
        chosen: [batch, pos] bool."""
        gradient = torch.zeros_like(logits)
        total = torch.zeros((), device=logits.device)
        pieces = [(row, at) for row in range(len(logits)) for at in positions(chosen[row], logits.shape[-1])]
        for row, at in pieces:
            model = logits[row][at].float().log_softmax(-1)
            # In place from here on: what is written anew costs more than what is computed.
            if target.ndim == 3:
                teacher = target[row][at].float().log_softmax(-1)
                likely = teacher.exp()
                total += teacher.sub_(model).mul_(likely).sum()
                slope = model.exp_().sub_(likely)
            else:
                ids = target[row][at][:, None]
                total -= model.gather(-1, ids).sum()
                slope = model.exp_()
                slope.scatter_add_(-1, ids, torch.full_like(ids, -1, dtype=slope.dtype))
            gradient[row, at] = slope.to(gradient.dtype)
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * upstream.to(gradient.dtype), None, None


def distillation(logits: Tensor, teacher: Tensor, scored: Tensor) -> Tensor:
    """Mean over scored tokens of KL(dense ‖ model) of the next-token distribution, nats per token.

    logits, teacher: [batch, pos, vocabulary]; scored: [batch, pos] bool, True where that token is predicted, which
    is done by the position before it.
    """
    chosen = scored[:, 1:]
    total: Tensor = _SoftTargetLoss.apply(logits[:, :-1], teacher[:, :-1], chosen)  # type: ignore[no-untyped-call]
    return total / chosen.sum()


def cross_entropy(logits: Tensor, ids: Tensor, scored: Tensor) -> Tensor:
    """Mean over scored tokens of −ln p(token), nats per token.

    logits: [batch, pos, vocabulary]; ids, scored: [batch, pos].
    """
    chosen = scored[:, 1:]
    total: Tensor = _SoftTargetLoss.apply(logits[:, :-1], ids[:, 1:], chosen)  # type: ignore[no-untyped-call]
    return total / chosen.sum()
