"""Figures, names and definitions as people read them."""

from __future__ import annotations

from pathlib import PurePath

from restorelcc.models.loading import DEMO

HELP = {
    "perplexity": "exp of the mean negative log-likelihood per token: the number of equally likely next tokens the "
    "model is as unsure as. ± is one standard error, with windows of text as the sample.",
    "share": "Recovered share of the lost log-likelihood: (ln P_pruned − ln P_picks) / (ln P_pruned − ln P_dense). "
    "0 % is the pruned model, 100 % the dense one, below 0 % is worse than pruned.",
    "nearer": "Share of the pruned model's distance to the dense one that is gone: 1 − KL(dense ‖ restored) / "
    "KL(dense ‖ pruned), of the next token. What merely learns the text recovers likelihood without coming nearer.",
    "gain": "Mean change of the negative log-likelihood per token against the pruned model, paired by window, so that "
    "what both find hard cancels out. Within two standard errors of 0 it may be noise.",
}


def count(number: float) -> str:
    """A number of things, shortened: 6.9 M, 48 k, 512."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g} {letter}"
    return f"{number:.0f}"


def model_name(name: str) -> str:
    """What people call a model that is given by this name."""
    return "embedded model" if name == DEMO else name


def short_name(name: str) -> str:
    """A model's name where there is little room: of a folder, its last part; the whole of any other."""
    folder = PurePath(name)
    is_place = folder.is_absolute() or name.startswith((".", "~"))
    return (folder.name if is_place else "") or model_name(name)


def text_name(source: str) -> str:
    """A source of text where there is little room: of a file, its name."""
    return "embedded text" if source == DEMO else short_name(source)


def percent(share: float) -> str:
    """A share as whole per cent: 47%, −3% with a minus sign rather than a hyphen; never −0%."""
    return f"{round(share, 2) + 0.0:.0%}".replace("-", "−")


def signed(value: float, digits: int = 4) -> str:
    """A change: +0.0123, −0.0123 with a minus sign rather than a hyphen."""
    return f"{value:+.{digits}f}".replace("-", "−")


def head_name(head: tuple[int, int]) -> str:
    """Layer and head, counted from 0, as everywhere in the field: L2 H5."""
    return f"L{head[0]} H{head[1]}"
