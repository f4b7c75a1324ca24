"""What whoever started the server permits: reading pickled weights, running code that comes with a model.

Both can do anything on this machine, so neither a page nor a link grants them. Nothing of the engine is imported here:
the server reads this before it takes seconds to import torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

START = "python -m streamlit run app/main.py --"
"""What goes before the flags."""


@dataclass(frozen=True)
class Permits:
    """As `Loading` calls them."""

    allow_pickle: bool = False
    trust_remote_code: bool = False

    @property
    def lacking(self) -> list[str]:
        """Flags that were not given."""
        return [flag for flag, name in FLAGS.items() if not getattr(self, name)]


FLAGS = {f"--{field.name.replace('_', '-')}": field.name for field in fields(Permits)}
_given = Permits()


def give(arguments: Sequence[str]) -> None:
    """Once, as the server starts: what its command line says. Raises ValueError for anything else that it says."""
    global _given
    unknown = [argument for argument in arguments if argument not in FLAGS]
    if unknown:
        raise ValueError(
            f"{' '.join(unknown)[:200]!r} is not known: after -- there may be {', '.join(FLAGS)}, --processes N and "
            "--studio FILE."
        )
    _given = Permits(**{name: flag in arguments for flag, name in FLAGS.items()})


def given() -> Permits:
    """What was permitted; nothing where nobody was asked."""
    return _given
