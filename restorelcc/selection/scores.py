"""The scores of heads: what each is, which end of it is picked first, what it takes, and where it is computed.

Adding one is a file of this wing with a function of `ScoreInputs`, and a row here. The command line's choices, the
Heads page, the strategies and README's table are drawn from the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ..inspection.definitions import TRAITS
from ..progress import Progress
from ..registry import Choice, lazily, markdown, table

if TYPE_CHECKING:
    from torch import Tensor

    from ..capture.components import LostComponents
    from ..capture.statistics import HeadStatistics
    from ..models.pair import ModelPair
    from ..text.tokens import Tokens


class Results(Protocol):
    """What is computed so far, by the name of the computation: a dict, or the app's store."""

    def get(self, computation: str, /) -> Any:
        """None where nothing is."""

    def __setitem__(self, computation: str, result: Any, /) -> None: ...


@dataclass(frozen=True)
class ScoreInputs:
    """What a score may be computed from."""

    pair: ModelPair
    statistics: HeadStatistics
    lost: LostComponents
    training: Tokens
    """Text to predict on."""
    held_out: Tokens
    """Calibration text to measure on, which nothing is trained on. Not the text that a restoration is judged by: what
    heads are chosen by would flatter them there."""
    contrast: str = "demo"
    """Source of the questions that probing asks (see `text.contrast`)."""
    seed: int = 0
    results: Results = field(default_factory=dict[str, Any])
    """Handed from one score to the next, so that what several share is computed once."""


@dataclass(frozen=True, kw_only=True)
class Measure(Choice):
    """A number for every head."""

    unit: str
    scale: Literal["loss", "change", "plain"] = "loss"
    """loss: from 0, in one hue growing darker; change: signed, of a loss, so that below 0 is better; plain: neither."""
    first: Literal["highest", "lowest"] = "highest"
    """Which end is looked at, and picked, first."""

    @property
    def lowest_first(self) -> bool:
        """Whether the head with the lowest value comes first."""
        return self.first == "lowest"

    def order(self, values: Tensor) -> Tensor:
        """[layer, head]: values turned so that the highest comes first."""
        return -values if self.lowest_first else values


@dataclass(frozen=True)
class Computation:
    """What one or several scores are read from."""

    name: str
    """By which its result is kept."""
    cost: str
    """What it takes, in words."""
    run: Callable[[ScoreInputs], Generator[Progress, None, Any]]
    """Gives an object with the scores as attributes, such as a `HeadScore`; yields progress. What measures one head
    after the other may be left half-way: it keeps what it has among the results, and goes on from there."""


@dataclass(frozen=True, kw_only=True)
class Score(Measure):
    """A measure by which heads are picked."""

    ranked: str = "Heads that lost most"
    """What the first heads by it are, as a heading."""
    computation: Computation
    values: str = "values"
    """The attribute of the computation's result that is this score, dotted where it is one of an attribute: [layer,
    head], NaN where not measured yet."""
    errors: str = "errors"
    """And that which is its standard error, where it has one."""


CAPTURE = Computation("captured", "nothing beyond the capture", lazily("restorelcc.selection.scoring:captured"))
EFFECT = Computation(
    "effect", "one backward pass over the calibration text", lazily("restorelcc.selection.predicted_effect:on_loss")
)
EFFECT_TOWARDS_DENSE = Computation(
    "towards_dense",
    "two backward passes over the calibration text, and one forward pass of the dense model",
    lazily("restorelcc.selection.predicted_effect:on_distance"),
)
PROBING = Computation(
    "probing",
    "every contrast item through both models, and one fit a head",
    lazily("restorelcc.selection.probing:probed"),
)
ONE_BY_ONE = "one pass over held-out calibration text a head, from its layer on"
CEILINGS = Computation("ceiling", ONE_BY_ONE, lazily("restorelcc.selection.ceilings:ceilings"))
MEASURED = Computation("measured", ONE_BY_ONE, lazily("restorelcc.selection.measured_effect:measured"))
SPLIT = Computation(
    "split",
    "one pass over a part of the calibration text, and a ridge regression a head or layer",
    lazily("restorelcc.selection.scoring:split"),
)
CLOSER = {
    "kinds": Computation(
        "kinds",
        "one pass of either model, with plain attention, over 16 windows of text and 8 of random tokens",
        lazily("restorelcc.selection.scoring:kinds"),
    ),
    "origin": Computation(
        "origin",
        "two passes over held-out calibration text a head, from its layer on, and one of either model with plain "
        "attention",
        lazily("restorelcc.selection.scoring:origin"),
    ),
}
CHANCE = Computation("chance", "nothing", lazily("restorelcc.selection.scoring:drawn"))

SCORES = table(
    Score(
        name="relative_error",
        title="Relative error",
        brief="lost share of the dense energy, E‖z_d − z_p‖² / E‖z_d‖²",
        definition="E‖z_dense − z_pruned‖² / E‖z_dense‖² over tokens: 0 is nothing lost, 1 is as much as there was. "
        "The obvious measure, and a poor guide to what is worth restoring: deeper heads show what shallower ones lost.",
        unit="share of dense energy",
        computation=CAPTURE,
        values="relative_error",
    ),
    Score(
        name="cosine_distance",
        title="Cosine distance",
        brief="1 − cosine between dense and pruned activations, blind to size",
        definition="1 − E[z_d·z_p] / √(E‖z_d‖² E‖z_p‖²): 0 for equal directions, 1 for unrelated ones. Blind to size.",
        unit="1 − cosine",
        computation=CAPTURE,
        values="cosine_distance",
    ),
    Score(
        name="output_weighted",
        title="Output-weighted",
        brief="what is lost in the residual stream, as a share of what the layer's attention writes there",
        definition="√(E‖W_O (z_d − z_p)‖² / E‖attention output‖²): the loss where it matters, in the residual stream, "
        "against what the whole layer's attention writes there.",
        unit="share of attention output",
        computation=CAPTURE,
        values="output_weighted",
    ),
    Score(
        name="mean_squared_error",
        title="Mean squared error",
        brief="E‖z_d − z_p‖² / d_head, to compare heads of one layer",
        definition="E‖z_d − z_p‖² / d_head, in squared activation units: grows with the size of a layer's activations, "
        "so it compares heads of one layer rather than layers.",
        unit="activation²",
        computation=CAPTURE,
        values="mean_squared_error",
    ),
    Score(
        name="together_dense",
        title="Together, to dense",
        brief="what the head is predicted to add to those before it, towards the dense model",
        definition="What restoring does to the distance to the dense model's next-token distribution, which "
        "distillation minimises. Heads can repeat one another, so the best alone need not be the best together: they "
        "are taken one after the other, each time the one with which all taken so far are predicted to bring the "
        "pruned model nearest. The value is what is still to be won when a head's turn comes, lowest for the first.",
        unit="change of KL, nats per token",
        scale="change",
        first="lowest",
        ranked="Heads to restore, in turn",
        computation=EFFECT_TOWARDS_DENSE,
        values="in_turn",
    ),
    Score(
        name="together",
        title="Predicted, together",
        brief="the same for the loss on the text",
        definition="Heads one after the other, like *Together, to dense*, but by the predicted loss on the calibration "
        "text. What would only be learned of the text's author counts here too: on evaluation text by the same author "
        "it recovered more than *Together, to dense*, on another less (see Learn, step 5).",
        unit="change of NLL, nats per token",
        scale="change",
        first="lowest",
        ranked="Heads to restore, in turn",
        computation=EFFECT,
        values="in_turn",
    ),
    Score(
        name="towards_dense",
        title="Predicted, to dense",
        brief="what the head's best constant alone is predicted to do to the distance to the dense model",
        definition="What the best constant in this head alone is predicted to do to the distance to the dense model: "
        "g·s + ½ s·F s at s = −(F + λ)⁻¹ g, with g = ∂KL/∂c and F the Fisher information of its constant, for all "
        "heads at once. Below 0 is better. It cannot be won by learning the text's author, and it is less noisy.",
        unit="change of KL, nats per token",
        scale="change",
        first="lowest",
        ranked="Heads most worth restoring",
        computation=EFFECT_TOWARDS_DENSE,
        values="of_head",
        errors="of_head_error",
    ),
    Score(
        name="predicted",
        title="Predicted effect",
        brief="the same for the loss on the text",
        definition="What the best constant in this head alone is predicted to do to the loss on the calibration text: "
        "g·s + ½ s·F s at s = −(F + λ)⁻¹ g, with g = ∂NLL/∂c and F its Fisher information, for all heads at once. "
        "Below 0 is better. What would only be learned of the text's author counts here too.",
        unit="change of NLL, nats per token",
        scale="change",
        first="lowest",
        ranked="Heads most worth restoring",
        computation=EFFECT,
        values="of_head",
        errors="of_head_error",
    ),
    Score(
        name="gradient",
        title="Gradient norm",
        brief="how steeply the loss falls along the best direction",
        definition="‖∂NLL/∂c‖: how steeply the loss falls along the best direction, blind to how far one can go.",
        unit="nats per activation unit",
        scale="plain",
        ranked="Steepest heads",
        computation=EFFECT,
        values="gradient_norm",
    ),
    Score(
        name="probing",
        title="Probe accuracy",
        brief="how often a linear probe tells right responses from wrong ones (RestoreLCC, Eq. 7)",
        definition="A linear probe reads this head and guesses whether a response is the right one or the most similar "
        "wrong one (the paper's Eq. 7, fitted on 70 % of the pairs); this is the share of held-out guesses that are "
        "correct, 0.5 being chance. High accuracy means that the dense head tells right from wrong, not that pruning "
        "damaged it nor that restoring it helps: the constant put back is the same in every row, so the probe's bias "
        "absorbs it, and neither it nor the number of components can change what a linear probe attains.",
        unit="share of held-out guesses",
        scale="plain",
        ranked="Heads that tell right from wrong",
        computation=PROBING,
        values="accuracy",
        errors="stderr",
    ),
    Score(
        name="ceiling",
        title="Ceiling",
        brief="what the loss would change by if nothing were lost there (activation patching)",
        definition="The pruned model with what this head writes replaced, token by token, by what it writes in the "
        "dense model (activation patching): the change of the loss if nothing were lost there. A constant stands for "
        "its mean alone and wins less, unless it is trained to make up for damage elsewhere. Above 0, the rest of the "
        "pruned model has come to terms with the damage. Measured on held-out calibration text.",
        unit="change of NLL, nats per token",
        scale="change",
        first="lowest",
        ranked="Heads with most to win",
        computation=CEILINGS,
    ),
    Score(
        name="measured",
        title="Measured effect",
        brief="the prediction for each head alone, put to the test on text that it was not made on",
        definition="The change of the loss on held-out calibration text with the predicted best constant in this head "
        "alone: the prediction put to the test, in its order.",
        unit="change of NLL, nats per token",
        scale="change",
        first="lowest",
        ranked="Heads most worth restoring",
        computation=MEASURED,
    ),
    Score(
        name="by_constant",
        title="Back by a constant",
        brief="share of what was lost that a constant, its mean, brings back, on text that it was not taken from",
        definition="Share of E‖δz‖² that adding the mean of δz undoes, on calibration text that the mean is not of. It "
        "is known before any training: where it is high, a constant suffices.",
        unit="share of the lost energy",
        scale="plain",
        ranked="Heads that a constant helps most",
        computation=SPLIT,
        values="constant",
    ),
    Score(
        name="by_weights",
        title="Back by weights",
        brief="share of what was lost that no constant brings back and surviving weights could: a linear map of what "
        "the head's layer still computes",
        definition="What a linear map of the pruned model's activations of the whole layer undoes of E‖δz‖² beyond a "
        "constant (a ridge regression, judged on text that it was not fitted on): where it is high, surviving weights "
        "are worth training.",
        unit="share of the lost energy",
        scale="plain",
        ranked="Heads that weights help most",
        computation=SPLIT,
        values="weights",
    ),
    Score(
        name="gone",
        title="Gone",
        brief="share of what was lost that neither brings back, a constant or a linear map",
        definition="Share of E‖δz‖² that neither a constant nor a linear map of what is still computed undoes.",
        unit="share of the lost energy",
        scale="plain",
        first="lowest",
        ranked="Heads of which least is gone",
        computation=SPLIT,
        values="gone",
    ),
    *(Score(**asdict(trait) | {"computation": CLOSER[trait.computation]}) for trait in TRAITS.values()),
    Score(
        name="random",
        title="Chance",
        brief="drawn by --seed: the baseline",
        definition="Heads in random order: what anything clever has to beat.",
        unit="0 to 1",
        scale="plain",
        ranked="Heads as drawn",
        computation=CHANCE,
    ),
)


def captured() -> dict[str, Score]:
    """Measures of what heads lost, which come with the capture."""
    return {name: score for name, score in SCORES.items() if score.computation is CAPTURE}


def computed() -> dict[str, Score]:
    """Reasons to pick a head that take some computing."""
    skipped = (CAPTURE, CHANCE, *CLOSER.values())
    return {name: score for name, score in SCORES.items() if score.computation not in skipped}


def closer() -> dict[str, Score]:
    """What heads do and how pruning changed that: measures, but no reasons to pick a head."""
    return {name: score for name, score in SCORES.items() if score.computation in CLOSER.values()}


def offered() -> dict[str, Score]:
    """All measures of heads that can be looked at."""
    return captured() | computed() | closer()


def scores_table() -> str:
    """README's, in Markdown."""
    rows = [
        (f"`{score.name}`", score.title, score.brief, score.unit, score.first, score.computation.cost)
        for score in SCORES.values()
    ]
    return markdown(("score", "on the pages", "what it is", "unit", "first", "takes"), rows)
