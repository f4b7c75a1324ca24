"""One colour for each model everywhere, one hue for loss, one diverging scale for signed change; light and dark.

Dense, pruned and restored are Okabe and Ito's blue, vermillion and bluish green (2008), told apart by people with any
common colour blindness, and lightened for dark backgrounds.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Colours:
    """The colours of a theme, light or dark."""

    dense: str
    pruned: str
    restored: str
    text: str
    muted: str
    grid: str
    paper: str
    loss: tuple[str, ...]
    """From nothing lost to most lost: contrast with the background grows with the loss."""
    signed: tuple[str, str, str]
    """Below zero (better), zero, above zero (worse)."""

    def scale(self) -> list[list[object]]:
        """`loss` as Plotly wants it."""
        return [[index / (len(self.loss) - 1), colour] for index, colour in enumerate(self.loss)]

    def plain(self) -> list[list[object]]:
        """A colour scale, as Plotly wants it, for what is neither a loss nor signed."""
        return [[0.0, self.loss[0]], [1.0, self.dense]]

    def diverging(self) -> list[list[object]]:
        """`signed` as Plotly wants it; to be centred on 0."""
        return [[index / 2, colour] for index, colour in enumerate(self.signed)]


LIGHT = Colours(
    dense="#0072b2",
    pruned="#d55e00",
    restored="#00805e",
    text="#1d2733",
    muted="#66717f",
    grid="#e3e7ec",
    paper="#ffffff",
    loss=("#f6f1ed", "#fbd9be", "#f3a877", "#dc6f33", "#a8430f", "#5f2407"),
    signed=("#0072b2", "#f4f4f2", "#d55e00"),
)
DARK = Colours(
    dense="#56b4e9",
    pruned="#f08a4b",
    restored="#2fc79b",
    text="#e6eaef",
    muted="#98a3b0",
    grid="#2a323c",
    paper="#12161b",
    loss=("#1d2228", "#4a2b18", "#85441c", "#c56526", "#f39a5c", "#ffd9bd"),
    signed=("#56b4e9", "#20262d", "#f08a4b"),
)


def colours(dark: bool) -> Colours:
    """The colours of the theme in view."""
    return DARK if dark else LIGHT
