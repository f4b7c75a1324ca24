"""What a person picked: components of heads, and how strongly each is put back."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from torch import Tensor

from restorelcc.errors import SettingError
from restorelcc.selection.picks import Pick, Selection, Shape, everything

Head = tuple[int, int]
"""(layer, head)"""

# In links, as patterns. No more digits than an index can have: Python refuses to read thousands of them.
WHOLE = r"[0-9]{1,6}"
REAL = r"-?[0-9]+(?:\.[0-9]+)?(?:e-?[0-9]+)?"


@dataclass(frozen=True)
class Picks:
    """Which components are put back, and how strongly. Hashable, so that it can be a cache key."""

    selection: Selection
    factors: tuple[tuple[Pick, float], ...] = ()
    """Sorted; how many times α a component is put back with, where that is not 1."""

    @classmethod
    def none(cls, shape: Shape) -> Picks:
        """Nothing picked."""
        return cls(Selection(shape, frozenset()))

    def __len__(self) -> int:
        return len(self.selection)

    def factor(self, pick: Pick) -> float:
        """How many times α a component is, or would be, put back with."""
        return dict(self.factors).get(pick, 1.0)

    def weights(self) -> Tensor:
        """[layer, head, component] float: 0 where not picked, else the factor of α."""
        weights = self.selection.mask().double()
        for pick, factor in self.factors:
            weights[pick] = factor
        return weights

    def of(self, selection: Selection) -> Picks:
        """Another selection; factors stay where the component stays."""
        return Picks(selection, tuple(item for item in self.factors if item[0] in selection.picks))

    def of_head(self, layer: int, head: int, components: Iterable[int]) -> Picks:
        """Exactly these components of one head; other heads as they are."""
        others = frozenset(pick for pick in self.selection.picks if pick[:2] != (layer, head))
        return self.of(replace(self.selection, picks=others | {(layer, head, i) for i in components}))

    def components_of(self, layer: int, head: int) -> list[int]:
        """Picked components of one head, ascending."""
        return sorted(pick[2] for pick in self.selection.picks if pick[:2] == (layer, head))

    def scaled(self, pick: Pick, factor: float) -> Picks:
        """One component picked, with `factor` times its α."""
        factors = {other: value for other, value in self.factors if other != pick}
        if factor != 1.0:
            factors[pick] = factor
        return Picks(self.selection.added([pick]), tuple(sorted(factors.items())))

    def by_head(self) -> dict[tuple[int, int], int]:
        """How many components of each head are picked; heads without any are left out."""
        return dict(Counter(pick[:2] for pick in self.selection.picks))

    def by_layer(self) -> dict[int, tuple[tuple[int, int, float], ...]]:
        """What is put back in each layer: (head, component, how many times α), ascending; layers without any are left
        out."""
        factors, layers = dict(self.factors), defaultdict(list)
        for pick in sorted(self.selection.picks):
            layers[pick[0]].append((pick[1], pick[2], factors.get(pick, 1.0)))
        return {layer: tuple(picked) for layer, picked in layers.items()}

    # --- as text, for links -------------------------------------------------------------------------------------

    def to_text(self) -> str:
        """Such as `2.3` (all of head 3 of layer 2), `2.4_0-3_7`, `2.5_0*1.5`; or `all`."""
        if len(self) and len(self) == math.prod(self.selection.shape) and not self.factors:
            return "all"
        factors = dict(self.factors)
        components: dict[tuple[int, int], list[int]] = {}
        for layer, head, component in self.selection.picks:
            components.setdefault((layer, head), []).append(component)
        heads = []
        for layer, head in sorted(components):
            chosen = sorted(components[layer, head])
            plain = [i for i in chosen if (layer, head, i) not in factors]
            if len(plain) == self.selection.shape[2]:
                heads.append(f"{layer}.{head}")
                continue
            scaled = [f"{i}*{_number(factors[layer, head, i])}" for i in chosen if (layer, head, i) in factors]
            heads.append("_".join([f"{layer}.{head}", *_ranges(plain), *scaled]))
        return "~".join(heads)

    @classmethod
    def from_text(cls, text: str, shape: Shape) -> Picks:
        """What `to_text` wrote, for a pair of this shape. Raises SettingError."""
        if text == "all":
            return cls(everything(shape))
        picks: set[Pick] = set()
        factors: dict[Pick, float] = {}
        for part in filter(None, text.split("~")):
            unreadable = SettingError(f"The link's picks cannot be read at '{part[:40]}'. Pick again.")
            name, *components = part.split("_")
            matched = re.fullmatch(rf"({WHOLE})\.({WHOLE})", name)
            if matched is None:
                raise unreadable
            layer, head = int(matched[1]), int(matched[2])
            for component in components or [f"0-{shape[2] - 1}"]:
                found = re.fullmatch(rf"({WHOLE})(?:-({WHOLE})|\*({REAL}))?", component)
                if found is None:
                    raise unreadable
                first, last, factor = int(found[1]), int(found[2] or found[1]), float(found[3] or 1)
                if first > last or not math.isfinite(factor):
                    raise unreadable
                if last >= shape[2]:
                    raise SettingError(f"The link picks component {last}; heads of this pair have {shape[2]}.")
                picks |= {(layer, head, i) for i in range(first, last + 1)}
                if factor != 1.0:
                    factors[layer, head, first] = factor
        return cls(Selection(shape, frozenset(picks)), tuple(sorted(factors.items())))


def _number(value: float) -> str:
    """As short as reads back the same; without the plus sign, which is a space in links."""
    short = f"{value:g}"
    return (short if float(short) == value else repr(value)).replace("e+", "e")


def _ranges(numbers: list[int]) -> list[str]:
    """0, 1, 2, 5 → '0-2', '5'."""
    groups: list[list[int]] = []
    for number in numbers:
        if groups and number == groups[-1][-1] + 1:
            groups[-1].append(number)
        else:
            groups.append([number])
    return [f"{group[0]}-{group[-1]}" if len(group) > 1 else str(group[0]) for group in groups]
