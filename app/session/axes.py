"""What the scatter of heads shows on its axes, as a person chose it and as a link says it."""

from __future__ import annotations

from dataclasses import dataclass

from restorelcc.selection.scores import offered

DEPTH = "layer"
"""The colour that is no measure: how deep a head lies."""


@dataclass(frozen=True)
class Axes:
    """By default, the largest loss against what is worth repairing: two different things."""

    x: str = "relative_error"
    y: str = "towards_dense"
    colour: str = DEPTH
    log_x: bool = False
    log_y: bool = False

    def to_text(self) -> str:
        """Such as `relative_error~predicted~layer~x`: names of measures, and which axes are logarithmic. Empty at the
        default, and where a measure is one's own, which others do not have."""
        if self == Axes() or not {self.x, self.y, self.colour} <= {*offered(), DEPTH}:
            return ""
        return "~".join((self.x, self.y, self.colour, "x" * self.log_x + "y" * self.log_y)).rstrip("~")

    @classmethod
    def from_text(cls, text: str) -> Axes:
        """What `to_text` wrote; what it names and nobody knows is at its default."""
        plain, parts = cls(), [*text.split("~"), *[""] * 4]
        x, y, colour, log = parts[:4]
        measures = offered()
        return cls(
            x if x in measures else plain.x,
            y if y in measures else plain.y,
            colour if colour in measures else plain.colour,
            "x" in log,
            "y" in log,
        )
