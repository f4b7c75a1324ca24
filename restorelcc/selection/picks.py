"""Which components of which heads to put back: the one thing a person edits, and strategies that fill it in."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from ..capture.components import LostComponents
from ..errors import SettingError
from ..foreign import foreign

FORMAT = 1
MOST = 2**23
"""Components of a model: the largest that are published have 2**21."""
Pick = tuple[int, int, int]
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Selection:
    """A set of (layer, head, component). Hashable, so that it can be part of a cache key."""

    shape: Shape
    """(layers, heads, components per head) that the picks are from."""
    picks: frozenset[Pick]

    def __post_init__(self) -> None:
        for pick in self.picks:
            if len(pick) != 3 or not all(0 <= index < limit for index, limit in zip(pick, self.shape, strict=True)):
                raise SettingError(f"Pick {pick} is not within (layers, heads, components) = {self.shape}.")

    def __len__(self) -> int:
        return len(self.picks)

    @property
    def heads(self) -> frozenset[tuple[int, int]]:
        """(layer, head) with at least one picked component."""
        return frozenset((layer, head) for layer, head, _ in self.picks)

    def mask(self) -> Tensor:
        """[layer, head, component] bool."""
        mask = torch.zeros(self.shape, dtype=torch.bool)
        if self.picks:
            mask[tuple(torch.tensor(sorted(self.picks)).T)] = True
        return mask

    def added(self, picks: Iterable[Pick]) -> "Selection":
        """With these picks too."""
        return Selection(self.shape, self.picks | frozenset(picks))

    def removed(self, picks: Iterable[Pick]) -> "Selection":
        """Without these picks."""
        return Selection(self.shape, self.picks - frozenset(picks))

    def within(self, present: Tensor) -> "Selection":
        """Without picks of heads that pruning removed; present: [layer, head] bool."""
        heads = {(layer, head) for layer, head in present.nonzero().tolist()}
        return Selection(self.shape, frozenset(pick for pick in self.picks if pick[:2] in heads))

    def to_json(self) -> str:
        """Components by 'layer.head', or "all" where a head has all of them."""
        by_head: dict[str, Any] = {}
        for layer, head, component in sorted(self.picks):
            by_head.setdefault(f"{layer}.{head}", []).append(component)
        whole = {name: "all" if len(chosen) == self.shape[2] else chosen for name, chosen in by_head.items()}
        return json.dumps({"format": FORMAT, "shape": self.shape, "picks": whole})

    @classmethod
    def from_json(cls, text: str) -> "Selection":
        """What `to_json` wrote. Raises SettingError."""
        with foreign(
            lambda reason: SettingError(f"This is not a selection as RestoreLCC Studio writes it ({reason}).")
        ):
            data = json.loads(text)
            if data["format"] != FORMAT:
                raise SettingError(f"This selection has format {data['format']}; this version reads format {FORMAT}.")
            layers, heads, components = data["shape"]
            if not is_shape(data["shape"]):
                raise ValueError("its shape is that of no model")
            picks = set()
            for name, chosen in data["picks"].items():
                layer, head = map(int, name.split("."))
                picks |= {(layer, head, int(i)) for i in (range(components) if chosen == "all" else chosen)}
            return cls((layers, heads, components), frozenset(picks))


def is_shape(value: object) -> bool:
    """Whether it is [layers, heads, components], as JSON has it, of a model that there could be."""
    sizes = value if isinstance(value, list) and len(value) == 3 else [0]
    return all(type(size) is int and size > 0 for size in sizes) and math.prod(sizes) <= MOST


def everything(shape: Shape) -> Selection:
    """Every component of every head."""
    layers, heads, components = (range(count) for count in shape)
    return Selection(shape, frozenset(product(layers, heads, components)))


def of_heads(shape: Shape, heads: Iterable[tuple[int, int]], components: int | None = None) -> Selection:
    """The first `components` (strongest; all by default) of the given heads. Raises SettingError."""
    count = shape[2] if components is None else components
    if not 1 <= count <= shape[2]:
        raise SettingError(f"{count} components a head makes no sense: these heads have 1 to {shape[2]}.")
    return Selection(shape, frozenset((layer, head, i) for layer, head in heads for i in range(count)))


def top_heads(
    shape: Shape, score: Tensor, count: int, components: int | None = None, present: Tensor | None = None
) -> Selection:
    """The `count` heads of highest score [layer, head], with their first `components`; of those `present` [layer, head]
    where pruning removed some. Raises SettingError."""
    _check_count(count, shape[0] * shape[1] if present is None else int(present.sum()), "heads")
    if present is not None:
        score = score.masked_fill(~present, -torch.inf)
    best = score.flatten().argsort(descending=True, stable=True)[:count].tolist()
    return of_heads(shape, [divmod(index, shape[1]) for index in best], components)


def share_of_heads(components: LostComponents, score: Tensor, share: float, first: int | None = None) -> Selection:
    """Of the heads that pruning left, the share of highest score [layer, head], one at least, with their `first`
    components (all by default). Raises SettingError."""
    check_share(share)
    count = max(1, round(share * int(components.present.sum())))
    return top_heads(components.shape, score, count, first, components.present)


def check_share(share: float) -> None:
    """Raises SettingError for what is no share of the heads."""
    if not 0 < share <= 1:
        raise SettingError(f"A share of {share} heads makes no sense: give more than 0 and at most 1.")


def random_score(shape: Shape, seed: int) -> Tensor:
    """[layer, head] that orders heads by chance, the same for the same seed."""
    return torch.rand(shape[:2], generator=torch.Generator().manual_seed(seed))


def random_heads(
    shape: Shape, count: int, seed: int, components: int | None = None, present: Tensor | None = None
) -> Selection:
    """`count` heads drawn at random, the same for the same seed. Raises SettingError."""
    return top_heads(shape, random_score(shape, seed), count, components, present)


def top_components(components: LostComponents, count: int, score: Tensor | None = None) -> Selection:
    """The `count` components of highest score [layer, head, component] over all heads.

    Without a score, those that carry most lost energy, in squared activation units; not by share of their own head's
    energy, which would favour heads that lost little. Raises SettingError.
    """
    order = _offered(components, score)
    _check_count(count, len(order), "components")
    return Selection(components.shape, frozenset(order[:count]))


def within_budget(
    components: LostComponents, budget: int, learned: bool = True, score: Tensor | None = None
) -> Selection:
    """The components of highest score (see `top_components`) for at most `budget` trained parameters, in that order.

    A component costs one parameter, its magnitude β; the first of a head costs d_head more where a learned component b
    is trained beside it. What no longer fits is passed over for what does. Raises SettingError if nothing fits.
    """
    width = components.directions.shape[-1] if learned else 0
    left, taken, picks = budget, set(), []
    for layer, head, component in _offered(components, score):
        cost = 1 if (layer, head) in taken else 1 + width
        if cost <= left:
            left -= cost
            taken.add((layer, head))
            picks.append((layer, head, component))
        if left == 0:
            break
    if not picks:
        raise SettingError(f"A budget of {budget} parameters is too small: one component needs {1 + width}.")
    return Selection(components.shape, frozenset(picks))


def _offered(components: LostComponents, score: Tensor | None) -> list[Pick]:
    """Components of heads that are there, highest score first."""
    values = (components.variance if score is None else score).flatten()
    _, heads, width = components.shape
    present = components.present.flatten()
    order = values.argsort(descending=True, stable=True).tolist()
    return [(*divmod(index // width, heads), index % width) for index in order if present[index // width]]


def _check_count(count: int, most: int, what: str) -> None:
    if not 1 <= count <= most:
        raise SettingError(f"{count} {what} cannot be picked: there are {most}, and at least 1 is needed.")
