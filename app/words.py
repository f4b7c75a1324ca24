"""What measures are called on the screen, their units and definitions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Word:
    """A measure, in words."""

    label: str
    unit: str
    help: str


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
