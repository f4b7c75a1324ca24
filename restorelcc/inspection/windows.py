"""The text that was hit: what each window of a text lost, what came back of it, and what got worse."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import nullcontext

import pandas as pd
from torch import Tensor

from ..evaluation.comparison import Within, side_by_side
from ..evaluation.perplexity import TokenLoss
from ..models.pair import ModelPair
from ..progress import Progress
from ..text.tokens import Tokens


def windows(
    pair: ModelPair, tokens: Tokens, within: Within | None = None, batch: int = 8
) -> Generator[Progress, None, pd.DataFrame]:
    """`hit` on these tokens; yields after every batch of every model.

    within: what is put back, such as `lambda: compensated(pair.pruned, c)`. Raises NotFinite."""
    others = [(pair.pruned, nullcontext), *([] if within is None else [(pair.pruned, within)])]
    dense, pruned, *restored = yield from side_by_side(pair.dense, tokens, others, batch)
    return hit(dense, pruned, restored[0] if restored else None)


def hit(dense: TokenLoss, pruned: TokenLoss, restored: TokenLoss | None = None) -> pd.DataFrame:
    """A row a window with scored tokens, what lost most first.

    window, tokens (scored); dense, pruned: mean NLL, nats per token; lost = pruned − dense; kl: mean KL(dense ‖
    pruned); position of the token that lost most, and how much (most). With something put back: restored; back =
    pruned − restored, below 0 where it got worse; still = restored − dense; kl_restored.
    """
    counts = pruned.scored.sum(1)
    some = counts > 0

    def mean(values: Tensor) -> Tensor:
        return (values * pruned.scored).sum(1)[some] / counts[some]

    apart = (pruned.nll - dense.nll).masked_fill(~pruned.scored, float("-inf"))
    most, position = apart[some].max(1)
    columns = {
        "window": some.nonzero().flatten(),
        "tokens": counts[some],
        "dense": mean(dense.nll),
        "pruned": mean(pruned.nll),
        "lost": mean(pruned.nll - dense.nll),
        "position": position,
        "most": most,
    }
    if pruned.kl is not None:
        columns["kl"] = mean(pruned.kl)
    if restored is not None:
        columns |= {
            "restored": mean(restored.nll),
            "back": mean(pruned.nll - restored.nll),
            "still": mean(restored.nll - dense.nll),
        }
        if restored.kl is not None:
            columns["kl_restored"] = mean(restored.kl)
    frame = pd.DataFrame({name: values.numpy() for name, values in columns.items()})
    return frame.sort_values("lost", ascending=False, ignore_index=True)
