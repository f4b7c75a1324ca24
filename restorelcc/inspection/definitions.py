"""What heads are known to do, as numbers that their attention gives. Read without torch, for `--help`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ..registry import Choice, table


@dataclass(frozen=True, kw_only=True)
class Kind(Choice):
    """A kind of head, or a trait of its attention; its name is that of the field of `KindScores`."""

    unit: str
    plural: str = ""
    """What heads of the kind are called; empty for a trait, which no threshold makes a kind of."""


KINDS = table(
    Kind(
        name="previous_token",
        title="Previous token",
        plural="Previous-token heads",
        brief="attention to the token just before, on text",
        definition="Mean attention from a token to the one just before it, on text; tokens with fewer than 8 before "
        "them are left out. Induction needs such a head in a layer below (Elhage et al. 2021, *A Mathematical "
        "Framework for Transformer Circuits*).",
        unit="attention",
    ),
    Kind(
        name="duplicate_token",
        title="Duplicate token",
        plural="Duplicate-token heads",
        brief="attention to the same token earlier, where random tokens are repeated",
        definition="Random tokens, repeated once: mean attention from a token of the repetition to the same token "
        "where it stood first (Wang et al. 2022, *Interpretability in the Wild*).",
        unit="attention",
    ),
    Kind(
        name="induction",
        title="Induction",
        plural="Induction heads",
        brief="attention to what followed the same token earlier, where random tokens are repeated",
        definition="The prefix-matching score (Olsson et al. 2022, *In-context Learning and Induction Heads*). Random "
        "tokens, repeated once: mean attention from a token of the repetition to the token that followed it where it "
        "stood first.",
        unit="attention",
    ),
    Kind(
        name="first_token",
        title="First token",
        plural="First-token heads (attention sinks)",
        brief="attention to the first token, on text",
        definition="Mean attention to the first token of the text, which is where heads look that have nothing to do "
        "(attention sink: Xiao et al. 2023, *Efficient Streaming Language Models with Attention Sinks*); tokens with "
        "fewer than 8 before them are left out.",
        unit="attention",
    ),
    Kind(
        name="entropy",
        title="Entropy",
        brief="how widely a token's attention is spread, on text",
        definition="Mean over tokens of −Σ a ln a of the attention a from that token, on text: 0 where all of it goes "
        "to one token, ln n where it is even over n. Tokens with fewer than 8 before them are left out.",
        unit="nats",
    ),
    Kind(
        name="reach",
        title="Reach",
        brief="how far back a token's attention goes on average, on text",
        definition="Mean over tokens of Σ a · distance, of the attention a from that token: how many tokens back it "
        "looks on average, on text. Tokens with fewer than 8 before them are left out.",
        unit="tokens",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Trait(Choice):
    """A number for every head that a closer look gives: a row for the table of scores, whose fields these are."""

    unit: str
    scale: Literal["change", "plain"]
    first: Literal["highest", "lowest"]
    ranked: str
    computation: str
    """By its name."""
    values: str
    errors: str = "errors"


def _of_kinds() -> Iterator[Trait]:
    """What heads do in the dense model, then how pruning changed that."""
    for kind in KINDS.values():
        yield Trait(
            name=kind.name,
            title=kind.title,
            brief=f"{kind.brief}, in the dense model",
            definition=f"{kind.definition} In the dense model.",
            unit=kind.unit,
            scale="plain",
            first="highest",
            ranked=f"Heads with most {kind.title.lower()}",
            computation="kinds",
            values=f"dense.{kind.name}",
        )
    for kind in KINDS.values():
        yield Trait(
            name=f"{kind.name}_change",
            title=f"{kind.title}, change",
            brief=f"how pruning changed `{kind.name}`",
            definition=f"{kind.definition} In the pruned model minus in the dense one: below 0, pruning took it.",
            unit=kind.unit,
            scale="change",
            first="lowest",
            ranked=f"Heads that lost most {kind.title.lower()}",
            computation="kinds",
            values=f"change.{kind.name}",
        )


PATCHED = (
    "Above 0, the rest of the pruned model has come to terms with the damage. Measured on held-out calibration text."
)
TRAITS = table(
    *_of_kinds(),
    Trait(
        name="pattern",
        title="Pattern alone",
        brief="what the loss would change by if the head looked where it does in the dense model",
        definition="The pruned model where this head looks, token by token, as in the dense model and still carries "
        f"what pruning left (activation patching of its pattern alone): the change of the loss. {PATCHED}",
        unit="change of NLL, nats per token",
        scale="change",
        first="lowest",
        ranked="Heads with most to win from where they look",
        computation="origin",
        values="pattern.values",
        errors="pattern.errors",
    ),
    Trait(
        name="values",
        title="Values alone",
        brief="what the loss would change by if the head carried what it does in the dense model",
        definition="The pruned model where what this head carries from each token, and how it writes it, is the dense "
        "model's, and it looks where pruning left it (activation patching of W_O v alone): the change of the loss. "
        f"Both together are *Ceiling*. {PATCHED}",
        unit="change of NLL, nats per token",
        scale="change",
        first="lowest",
        ranked="Heads with most to win from what they carry",
        computation="origin",
        values="values.values",
        errors="values.errors",
    ),
)

LOOKS = table(
    Choice(
        name="kinds",
        title="Kinds of heads, and what pruning left of them",
        brief="which heads of the dense model are previous-token, duplicate-token, induction or first-token heads, and "
        "how strong they are in the pruned one",
    ),
    Choice(
        name="depth",
        title="Where the prediction departs",
        brief="how far the pruned model's next-token distribution is from the dense one's, read after every layer",
    ),
    Choice(
        name="windows",
        title="The text that was hit",
        brief="what every window of the text lost, and the token that lost most in it",
    ),
)
"""What the command line can look at closer, a table each."""
