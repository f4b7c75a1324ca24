"""What a restoration is trained on, where it starts, and what its learning rate is counted in: a table each.

Adding a loss is a function in `evaluation.losses` and a row here; a start or a unit is a row. The command line, the
forms of the app, the model card and README are drawn from them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..registry import Choice, lazily, table

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..capture.components import LostComponents
    from .parameters import Parameters


@dataclass(frozen=True, kw_only=True)
class Kind(Choice):
    """What is trained: a kind of compensation, by its name among `compensation.kinds.KINDS`."""

    numbers: str
    """Which numbers, and where they end up."""


WHAT = table(
    Kind(
        name="constants",
        title="Constants",
        brief="a constant per head, which folds into a bias",
        definition="A constant per head, added to its activation at every position: the fewest numbers, and no weight "
        "changes.",
        numbers="One β a component, and d_head for b of every head. They fold into a bias.",
    ),
    Kind(
        name="weights",
        title="Surviving weights",
        brief="the weights that pruning left, every zero in its place",
        definition="The weights that pruning left, moved towards what the dense model computes. Every zero stays where "
        "it was, so the checkpoint is as sparse, as fast and at home wherever the pruned one was.",
        numbers="One for each weight that is not zero. The model gets no more of them.",
    ),
)


TRAINED: dict[str, Callable[..., Parameters]] = {
    "constants": lazily("restorelcc.restoration.constants:ConstantParameters"),
    "weights": lazily("restorelcc.restoration.weights:WeightParameters"),
}
"""How each kind of compensation that can be trained is, by its name among `compensation.kinds.KINDS`: the registry."""


@dataclass(frozen=True, kw_only=True)
class Where(Choice):
    """Which surviving weights are trained."""

    reach: Literal["output", "attention", "layer"]
    """As `hf.slices.Reach` has it."""
    unit: float
    """What rates are counted in, as a share of the root mean square of a matrix's surviving weights: the fewer weights
    there are, the further each may go."""


WHERE = table(
    Where(
        name="output",
        title="Output projections",
        brief="of the output projections, by which picked heads write",
        reach="output",
        unit=0.1,
    ),
    Where(
        name="attention",
        title="Attention",
        brief="of the attention of picked heads: what they read by too",
        reach="attention",
        unit=0.06,
    ),
    Where(
        name="all",
        title="Whole layers",
        brief="of that, and of the MLPs of layers with a picked head",
        reach="layer",
        unit=0.04,
    ),
)


@dataclass(frozen=True, kw_only=True)
class Way(Choice):
    """How training goes through the model."""

    blocks: float
    """Share of the steps, the first ones, in which one layer after the other is trained; the others go through the
    whole network."""
    after: float = 1.0
    """Share of the peak rate that steps through the network take where layers were trained or solved for before: the
    first steps of Adam move every number by the whole rate, which is more than such layers bear."""
    solves: bool = False
    """Whether the first steps solve for the weights of one layer each. Constants are not solved for."""


WAYS = table(
    Way(
        name="whole",
        title="The whole network",
        brief="all at once, by what the network predicts",
        definition="All that is trained moves at every step, by the loss of the next-token distribution. It comes "
        "nearest, and holds gradients of all layers in memory.",
        blocks=0.0,
    ),
    Way(
        name="blocks",
        title="Layer by layer",
        brief="one layer after the other, by the hidden states that it gives",
        definition="One layer after the other, towards the hidden states that the dense model's gives: mean over "
        "tokens of ‖h − h_dense‖² / ‖h_dense‖². One layer, its gradients and its optimiser are in memory. A step is "
        "one batch through as many layers as are trained, so that it costs what a step through the network does.",
        blocks=1.0,
    ),
    Way(
        name="both",
        title="Layer by layer, then the network",
        brief="layers for three quarters of the steps, then the network",
        definition="Three quarters of the steps layer by layer, then the whole network from there.",
        blocks=0.75,
        after=0.25,
    ),
    Way(
        name="solved",
        title="Solved layer by layer, then the network",
        brief="weights solved for, a layer a step, then the network",
        definition="The first steps take a layer each: the surviving weights of each of its matrices that come "
        "nearest, by least squares over all the text as the restored layers below pass it on, to what the dense matrix "
        "gives. "
        "The others go through the whole network from there.",
        blocks=0.0,
        after=0.25,
        solves=True,
    ),
)


@dataclass(frozen=True, kw_only=True)
class Loss(Choice):
    """What restoration minimises: a mean over tokens, nats per token."""

    short: str
    """Of what was trained with it, in legends."""
    sentence: str
    """How the values were trained, for the model card: "200 values trained …"."""
    against: Literal["dense", "text"]
    """What the next-token distribution is held against: the dense model's, or the token that came."""
    over: Literal["scored", "response"]
    """The tokens that it is a mean over, by their name among `Tokens`."""
    compute: Callable[[Tensor, Tensor, Tensor], Tensor]
    """Of logits [batch, pos, vocabulary], of the dense model's or of token ids [batch, pos], and of the tokens that
    count, [batch, pos] bool."""
    judged_by: Literal["nll", "kl"]
    """What of a `TokenLoss` it is the mean of: measuring perplexity gives both."""


LOSSES = table(
    Loss(
        name="kl",
        title="Distil the dense model",
        brief="distil the dense model",
        definition="Mean over tokens of KL(dense ‖ restored) of the next-token distribution. It needs the fewest "
        "tokens, and learns what was lost rather than the text.",
        short="distilled",
        sentence="to match the dense model's distribution over the next token",
        against="dense",
        over="scored",
        compute=lazily("restorelcc.evaluation.losses:distillation"),
        judged_by="kl",
    ),
    Loss(
        name="ce",
        title="Cross-entropy of the text",
        brief="cross-entropy of the text",
        definition="Mean over tokens of −ln p(token).",
        short="cross-entropy",
        sentence="on the cross-entropy of the text",
        against="text",
        over="scored",
        compute=lazily("restorelcc.evaluation.losses:cross_entropy"),
        judged_by="nll",
    ),
    Loss(
        name="response",
        title="Cross-entropy of responses",
        brief="cross-entropy of answers only",
        definition="The same over the tokens of responses to prompts: the paper's. On plain text, which has no "
        "prompts, it is that of the text.",
        short="cross-entropy of responses",
        sentence="on the cross-entropy of answers",
        against="text",
        over="response",
        compute=lazily("restorelcc.evaluation.losses:cross_entropy"),
        judged_by="nll",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Start(Choice):
    """Where what is trained starts from."""

    values: Callable[[Tensor, torch.Generator], Tensor]
    """From the mean of what was lost along what is trained, of any shape; activation units."""
    sentence: str
    """What it starts from, as it follows on 'Starts from'."""
    by_hand: bool = False
    """Whether the mean is multiplied by the magnitudes that a person set, where they are given."""


def _zeros(alpha: Tensor, _: torch.Generator) -> Tensor:
    return alpha.new_zeros(alpha.shape)


def _noise(alpha: Tensor, generator: torch.Generator) -> Tensor:
    """Feng et al.'s N(0, 1e-3), in activation units."""
    return alpha.new_empty(alpha.shape).normal_(generator=generator) * 1e-3


def _means(alpha: Tensor, _: torch.Generator) -> Tensor:
    return alpha.clone()


STARTS = table(
    Start(name="zero", title="Zero", brief="β and b from 0", values=_zeros, sentence="nothing put back"),
    Start(
        name="noise",
        title="Noise, N(0, 1e-3)",
        brief="N(0, 1e-3), as published",
        values=_noise,
        sentence="noise, N(0, 1e-3)",
    ),
    Start(
        name="alpha",
        title="Mean lost activation α",
        brief="β from α, the mean lost activation",
        values=_means,
        sentence="the mean lost activation α of every picked component",
    ),
    Start(
        name="picked",
        title="What is picked: α times magnitudes set by hand",
        brief="β from α times the magnitudes that were set by hand in the app",
        values=_means,
        sentence="what the picks put back as they are: α times the magnitudes set by hand",
        by_hand=True,
    ),
)


@dataclass(frozen=True, kw_only=True)
class Unit(Choice):
    """What the learning rate is counted in."""

    of_heads: Callable[[LostComponents], Tensor]
    """[layer, head, 1] its size in each head, activation units."""
    of_weights: Callable[[Tensor, float], float]
    """Its size in a weight matrix whose zeros do not count, in units of the weights; by `Where.unit`."""
    deepest: int | None = None
    """Layers of weights trained at once up to which a rate is taken as it is given; of more, √(deepest / layers) of it.
    None: it always is."""

    def share(self, layers: int) -> float:
        """Of the rate where so many layers are trained at once: their steps add up in the residual stream."""
        return 1.0 if self.deepest is None else min(1.0, (self.deepest / layers) ** 0.5)


def _ones(components: LostComponents) -> Tensor:
    return components.magnitude.float().new_ones(*components.shape[:2], 1)


def _one(_: Tensor, unit: float) -> float:
    return 1.0


UNITS = table(
    Unit(
        name="loss",
        title="RMS of what each head lost",
        brief="each head's root mean square loss",
        definition="One rate fits every head, layer and model if it is counted in what that head lost; activations "
        "differ in size by orders of magnitude. Of weights: 4 to 10 % of the root mean square of those of the matrix "
        "that survived. Where weights of more than 8 layers are trained at once, √(8 / layers) of the rate is taken.",
        deepest=8,
        of_heads=lazily("restorelcc.restoration.constants:lost_units"),
        of_weights=lazily("restorelcc.restoration.weights:unit_of"),
    ),
    Unit(
        name="activation",
        title="Activation units",
        brief="plain units, as published",
        definition="The same in every head.",
        of_heads=_ones,
        of_weights=_one,
    ),
)

POSITIONS = table(
    Choice(
        name="all",
        title="All tokens",
        brief="every token of the text",
        definition="Of what every head lost at all tokens of the text.",
    ),
    Choice(
        name="last",
        title="The last token of a question",
        brief="the last token of every question, as published",
        definition="Of what every head lost at the last token of every question, as the paper's are; of plain text, "
        "which asks nothing, at the last token of every window. Components are counted anew, strongest first.",
    ),
)
PRECISIONS = table(
    Choice(name="float32", title="float32", brief="32 bits"),
    Choice(
        name="bfloat16",
        title="bfloat16",
        brief="16 bits, as published: small steps of large numbers are lost",
    ),
)
KEEPS = table(
    Choice(name="best", title="The best", brief="that of the lowest held-out loss"),
    Choice(name="last", title="The last", brief="the last one, as published"),
)
