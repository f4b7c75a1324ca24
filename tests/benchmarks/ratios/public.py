"""What the paper's public code does to find components, here on any device: a sample after the other, with logits and
the hidden states of all layers, activations of all heads through NumPy and kept, and one SVD a head."""

import torch

from restorelcc.hf.layout import hooked, output_projections
from restorelcc.models.pair import ModelPair
from restorelcc.text.tokens import Tokens

LEADING = 10
"""Components that its constant is made of."""


def as_published(pair: ModelPair, tokens: Tokens, positions: str = "last") -> list[tuple[torch.Tensor, torch.Tensor]]:
    """[layer and head] of (its constant, its directions). positions: `last`, of each sample, as published, or `all`,
    where the others that are read anyway are kept too."""
    shape = pair.geometry
    kept = []
    for model in (pair.dense, pair.pruned):
        samples = []
        for ids in tokens.ids:
            heads = _read(model, ids[None])  # [layer, pos, head * d_head]
            some = heads[:, -1:] if positions == "last" else heads
            samples.append(some.transpose(0, 1).reshape(-1, shape.n_layers * shape.n_heads, shape.d_head))
        kept.append(torch.cat(samples))
    lost = kept[0] - kept[1]  # [sample, layer and head, d_head]
    return [_decomposed(lost[:, head]) for head in range(lost.shape[1])]


@torch.no_grad()
def _read(model: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
    """[layer, pos, head * d_head] float32 on the CPU."""
    seen: list[torch.Tensor] = []
    with hooked(output_projections(model), lambda _, inputs, __: seen.append(inputs.detach().clone())):
        hidden = model(ids.to(model.device), output_hidden_states=True).hidden_states
    torch.stack(hidden).squeeze().cpu()
    # NumPy has no bfloat16; the public code reads models in float16.
    return torch.stack([torch.tensor(z.float().cpu().numpy()) for z in seen]).squeeze(1)


def _decomposed(lost: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    left, values, directions = torch.linalg.svd(lost.float(), full_matrices=False)
    parts = [left[:, i].mean() * values[i] * directions[i] for i in range(left.shape[1])]
    return torch.stack(parts)[:LEADING].sum(0), directions
