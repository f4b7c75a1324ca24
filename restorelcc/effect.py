"""What putting something back will do to the loss, predicted for every head and component from one backward pass.

A constant c added to a head changes the mean NLL by about g·c + ½ c·F c. The slope g = ∂NLL/∂c is the gradient at
c = 0; the curvature F comes from the same pass, as the outer products of the gradients of single texts.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from .components import LostComponents
from .errors import SettingError
from .layout import geometry, hooked, output_projections
from .models import ModelPair
from .objective import cross_entropy, distillation
from .progress import Progress
from .text import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Against = Literal["ce", "kl"]


@dataclass(frozen=True)
class Slopes:
    """Gradients of the loss by every head's constant, text by text. float32."""

    by_text: Tensor
    """[text, layer, head, d_head] ∂(summed loss of the text)/∂c, nats per activation unit."""
    counts: Tensor
    """[text] scored tokens."""


def slopes(pair: ModelPair, tokens: Tokens, against: Against = "ce", batch: int = 8) -> Generator[Progress, None, Slopes]:
    """One forward and backward pass of the pruned model over `tokens`, yielding after every batch.

    against: ce, the text's own tokens; kl, the dense model's next-token distribution. Raises SettingError.
    """
    model, shape = pair.pruned, pair.geometry
    projections = output_projections(model)
    rows = []
    for start in range(0, len(tokens), batch):
        yield Progress("differentiating by every head", start, len(tokens))
        part = tokens[start : start + batch]
        ids, scored = part.ids.to(model.device), part.scored.to(model.device)
        # One bias a text instead of one for all: its gradient is then the text's own.
        added = [torch.zeros(len(part), 1, shape.d_model, device=model.device, requires_grad=True) for _ in projections]
        with torch.enable_grad():
            with hooked(projections, lambda layer, _, output: output + added[layer].to(output)):
                logits = model(ids, use_cache=False).logits
            if against == "kl":
                with torch.no_grad():
                    teacher = pair.dense(ids.to(pair.dense.device), use_cache=False).logits.to(logits.device)
                loss = distillation(logits, teacher, scored) * scored[:, 1:].sum()
            else:
                loss = cross_entropy(logits, ids, scored) * scored[:, 1:].sum()
            written = torch.autograd.grad(loss, added)
        # A constant reaches the residual stream through W_O, so its gradient comes back through W_Oᵀ.
        by_layer = [one[:, 0] @ projection.weight.float() for one, projection in zip(written, projections, strict=True)]
        rows.append(shape.split(torch.stack(by_layer, dim=1)).cpu())
    yield Progress("differentiating by every head", len(tokens), len(tokens))
    if not rows:
        raise SettingError("There are no tokens to differentiate on.")
    return Slopes(torch.cat(rows), tokens.scored.sum(1))
