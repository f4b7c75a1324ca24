"""What measures are called on the screen, their units and definitions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from restorelcc.models.loading import DEMO
from restorelcc.selection.scores import Score, captured, computed


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


def _word(score: Score) -> Word:
    return Word(score.title, score.unit, score.definition, score.scale, score.ranked, score.computation.cost)


METRIC_WORDS = {name: _word(score) for name, score in captured().items()}
SCORE_WORDS = {name: _word(score) for name, score in computed().items()}
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
