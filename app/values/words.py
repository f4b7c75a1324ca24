"""What measures are called on the screen, their units and definitions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from restorelcc.models.loading import DEMO


@dataclass(frozen=True)
class Word:
    """A measure, in words."""

    label: str
    unit: str
    help: str
    scale: Literal["loss", "change", "plain"] = "loss"
    """loss: one hue growing darker; change: signed, of the loss, so that below 0 is better; plain: neither."""
    ranked: str = "Heads that lost most"
    """What the first of an order by it are."""
    cost: str = ""
    """What it takes to compute, where it is not there from the start."""

    @property
    def lowest_first(self) -> bool:
        """Whether the lowest value is the one to look at first."""
        return self.scale == "change"


METRIC_WORDS = {
    "relative_error": Word(
        "Relative error",
        "share of dense energy",
        "E‖z_dense − z_pruned‖² / E‖z_dense‖² over tokens: 0 is nothing lost, 1 is as much as there was. The obvious "
        "measure, and a poor guide to what is worth restoring: deeper heads show what shallower ones lost.",
    ),
    "cosine_distance": Word(
        "Cosine distance",
        "1 − cosine",
        "1 − E[z_d·z_p] / √(E‖z_d‖² E‖z_p‖²): 0 for equal directions, 1 for unrelated ones. Blind to size.",
    ),
    "output_weighted": Word(
        "Output-weighted",
        "share of attention output",
        "√(E‖W_O (z_d − z_p)‖² / E‖attention output‖²): the loss where it matters, in the residual stream, against "
        "what the whole layer's attention writes there.",
    ),
    "mean_squared_error": Word(
        "Mean squared error",
        "activation²",
        "E‖z_d − z_p‖² / d_head, in squared activation units: grows with the size of a layer's activations, so it "
        "compares heads of one layer rather than layers.",
    ),
}

SCORE_WORDS = {
    "together_dense": Word(
        "Together, to dense",
        "change of KL, nats per token",
        "What restoring does to the distance to the dense model's next-token distribution, which distillation "
        "minimises. Heads can repeat one another, so the best alone need not be the best together: they are taken one "
        "after the other, each time the one with which all taken so far are predicted to bring the pruned model "
        "nearest. The value is what is still to be won when a head's turn comes, lowest for the first.",
        "change",
        "Heads to restore, in turn",
        "two backward passes over the calibration text, and one forward pass of the dense model",
    ),
    "together": Word(
        "Predicted, together",
        "change of NLL, nats per token",
        "Heads one after the other, like *Together, to dense*, but by the predicted loss on the calibration text. What "
        "would only be learned of the text's author counts here too: on evaluation text by the same author it "
        "recovered more than *Together, to dense*, on another less (see Learn, step 5).",
        "change",
        "Heads to restore, in turn",
        "one backward pass over the calibration text",
    ),
    "towards_dense": Word(
        "Predicted, to dense",
        "change of KL, nats per token",
        "What the best constant in this head alone is predicted to do to the distance to the dense model: "
        "g·s + ½ s·F s at s = −(F + λ)⁻¹ g, with g = ∂KL/∂c and F the Fisher information of its constant, for all "
        "heads at once. Below 0 is better. It cannot be won by learning the text's author, and it is less noisy.",
        "change",
        "Heads most worth restoring",
        "two backward passes over the calibration text, and one forward pass of the dense model",
    ),
    "predicted": Word(
        "Predicted effect",
        "change of NLL, nats per token",
        "What the best constant in this head alone is predicted to do to the loss on the calibration text: "
        "g·s + ½ s·F s at s = −(F + λ)⁻¹ g, with g = ∂NLL/∂c and F its Fisher information, for all heads at once. "
        "Below 0 is better. What would only be learned of the text's author counts here too.",
        "change",
        "Heads most worth restoring",
        "one backward pass over the calibration text",
    ),
    "gradient": Word(
        "Gradient norm",
        "nats per activation unit",
        "‖∂NLL/∂c‖: how steeply the loss falls along the best direction, blind to how far one can go.",
        "plain",
        "Steepest heads",
        "one backward pass over the calibration text",
    ),
    "probing": Word(
        "Probe accuracy",
        "share of held-out guesses",
        "A linear probe reads this head and guesses whether a response is the right one or the most similar wrong one "
        "(the paper's Eq. 7, fitted on 70 % of the pairs); this is the share of held-out guesses that are correct, 0.5 "
        "being chance. High accuracy means that the dense head tells right from wrong, not that pruning damaged it nor "
        "that restoring it helps: the constant put back is the same in every row, so the probe's bias absorbs it, and "
        "neither it nor the number of components can change what a linear probe attains.",
        "plain",
        "Heads that tell right from wrong",
        "every contrast item through both models, and one fit a head",
    ),
    "ceiling": Word(
        "Ceiling",
        "change of NLL, nats per token",
        "The pruned model with what this head writes replaced, token by token, by what it writes in the dense model "
        "(activation patching): the change of the loss if nothing were lost there. A constant stands "
        "for its mean alone and wins less, unless it is trained to make up for damage elsewhere. Above 0, the rest of "
        "the pruned model has come to terms with the damage.",
        "change",
        "Heads with most to win",
        "one pass over the live set a head, from its layer on",
    ),
    "measured": Word(
        "Measured effect",
        "change of NLL, nats per token",
        "The change of the loss on the live set with the predicted best constant in this head alone: the prediction "
        "put to the test, in its order.",
        "change",
        "Heads most worth restoring",
        "one pass over the live set a head, from its layer on",
    ),
}
ALL_WORDS = METRIC_WORDS | SCORE_WORDS

HELP = {
    "perplexity": "exp of the mean negative log-likelihood per token: the number of equally likely next tokens the "
    "model is as unsure as. ± is one standard error, with windows of text as the sample.",
    "share": "Recovered share of the lost log-likelihood: (ln P_pruned − ln P_picks) / (ln P_pruned − ln P_dense). "
    "0 % is the pruned model, 100 % the dense one, below 0 % is worse than pruned.",
    "gain": "Mean change of the negative log-likelihood per token against the pruned model, paired by window, so that "
    "what both find hard cancels out. Within two standard errors of 0 it may be noise.",
}


def count(number: float) -> str:
    """6.9 M, 48 k, 512."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g} {letter}"
    return f"{number:.0f}"


def model_name(name: str) -> str:
    """As people would call it."""
    return "embedded model" if name == DEMO else name


def percent(share: float) -> str:
    """Whole per cent, with a real minus sign."""
    return f"{share:.0%}".replace("-", "−")


def seconds(value: float) -> str:
    """42 s, 3 min 05 s."""
    whole = round(value)
    return f"{whole} s" if whole < 90 else f"{whole // 60} min {whole % 60:02d} s"


def signed(value: float, digits: int = 4) -> str:
    """With a real minus sign."""
    return f"{value:+.{digits}f}".replace("-", "−")


def head_name(head: tuple[int, int]) -> str:
    """Layer and head, counted from 0, as everywhere in the field: L2 H5."""
    return f"L{head[0]} H{head[1]}"
