"""The head in view, read on a passage of text: where it lost, and where it looks."""

from __future__ import annotations

import pandas as pd
import streamlit as st
import torch

from restorelcc.workspace import Workspace

from ...charts import heads as head_charts
from ...session import cache, state
from ...values.colours import colours
from ...values.passages import Passage
from ...values.picks import Head
from ...values.words import head_name
from ...widgets import controls
from ...widgets import tinted as tinted_text


def tinted(workspace: Workspace, head: Head, passage: Passage) -> None:
    """The passage, each token tinted by what the head lost there."""
    reading = cache.reading(workspace.recipe, passage, workspace)
    tokens = cache.strings_of(workspace.recipe, passage, workspace)
    share = reading.share[head]
    scale = float(torch.quantile(share, 0.97).clamp(min=1e-9))
    st.markdown(
        "##### The same head on a passage",
        help="The darker a token, the more of this head's activation was lost there. Hover a token for its share.",
    )
    colour = colours(state.dark()).pruned
    says = [f"lost {value:.1%} of the head's mean energy" for value in share.tolist()]
    parts = zip(tokens, says, (share / scale).tolist(), strict=True)
    spans = [tinted_text.Token(token, said, colour, strength) for token, said, strength in parts]
    tinted_text.show(spans, data_head=head_name(head))


def attention(workspace: Workspace, head: Head, passage: Passage) -> None:
    """Where the head looks on the passage: in the dense model, in the pruned one, and the difference."""
    reading = cache.reading(workspace.recipe, passage, workspace)
    tokens = cache.strings_of(workspace.recipe, passage, workspace)
    dense, pruned = reading.dense_attention[head], reading.pruned_attention[head]
    look = colours(state.dark())
    moved = float((dense - pruned).abs().sum(-1).mean() / 2)
    st.markdown(
        "##### Attention pattern on that passage",
        help="Row: the token that looks; column: the token looked at; each row sums to 1. In the difference, blue is "
        "attention that pruning took away and orange is attention it added.",
    )
    st.caption(f"On average a token's attention moved by {moved:.0%} of its mass.")
    views = (
        ("Dense", dense, False, "attention-dense"),
        ("Pruned", pruned, False, "attention-pruned"),
        ("Pruned − dense", pruned - dense, True, "attention-difference"),
    )
    for column, (label, weights, differs, key) in zip(st.columns(3), views, strict=True):
        with column:
            st.markdown(f"**{label}**")
            frame = pd.DataFrame(weights.numpy(), columns=[f"{i}:{token}" for i, token in enumerate(tokens)])
            controls.figure(
                head_charts.attention(weights, tokens, look, differs),
                key,
                f"Attention of layer {head[0]}, head {head[1]}, {label.lower()}, on {len(tokens)} tokens.",
                frame.assign(query=tokens),
            )
