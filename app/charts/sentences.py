"""What one sees, said in a sentence that is made from the numbers in view."""

from __future__ import annotations

from torch import Tensor

from restorelcc.inspection.beside import Beside
from restorelcc.selection.scores import Measure

from ..values.words import head_name, signed


def of_map(table: Tensor, measure: Measure) -> str:
    """What a map of heads shows: its range, the heads that stand out, how it goes with depth. table: [layer, head], NaN
    where nothing is known yet. Empty where nothing is known."""
    known = table.double()
    values = known[known.isfinite()]
    if not len(values):
        return ""
    first = _first(known, measure)
    heads = ", ".join(head_name(head) for head in first)
    if measure.scale == "change":
        better = int((values < 0).sum())
        stand_out = f"{heads} would help most ({signed(float(known[first[0]]))})" if better else "none would help"
        return (
            f"Of {len(values)} heads {better} are below 0, where the model gets better: {stand_out}. "
            f"{_depth(known, measure)}"
        ).strip()
    middle = float(values.quantile(0.5))
    return (
        f"From {_short(float(values.min()))} to {_short(float(values.max()))}; half of the heads lie "
        f"above {_short(middle)}. {'Lowest' if measure.lowest_first else 'Highest'}: {heads}. {_depth(known, measure)}"
    ).strip()


def of_two(both: Beside, measure: Measure, names: tuple[str, str]) -> str:
    """What two maps beside each other show: in how many heads the second has more, which are furthest apart, whether it
    is the same heads that come first. names: of both, as Markdown."""
    difference = both.difference
    known = difference[difference.isfinite()]
    if not len(known):
        return ""
    first, second = names
    more, less = int((known > 0).sum()), int((known < 0).sum())
    loses = "loses" if measure.scale == "loss" else "has"
    (most, of_most), (rest, of_rest) = sorted([(more, "more"), (less, "less")], reverse=True)
    where = f"all {most} heads" if most == len(known) else f"{most} of {len(known)} heads, and {of_rest} in {rest}"
    apart = difference.abs().nan_to_num(-1.0).flatten().argsort(descending=True, stable=True)[:3]
    heads = [divmod(int(index), difference.shape[1]) for index in apart]
    furthest = ", ".join(f"{head_name(head)} ({signed(float(difference[head]), 3)})" for head in heads)
    said = f"{second} {loses} {of_most} than {first} in {where}. Furthest apart: {furthest}."
    return f"{said} {_same_heads(both.agreement)}".strip()


def _same_heads(agreement: float) -> str:
    """What a rank correlation of two maps means; empty where there is none."""
    if agreement != agreement:
        return ""
    if agreement > 0.9:
        says = "it is the same heads that come first in both"
    elif agreement > 0.5:
        says = "much the same heads come first in both"
    elif agreement > -0.5:
        says = "other heads come first in one than in the other"
    else:
        says = "heads that come first in one come last in the other"
    return f"Rank correlation {signed(agreement, 2)}: {says}."


def _first(table: Tensor, measure: Measure, most: int = 3) -> list[tuple[int, int]]:
    """Those that the measure has looked at first."""
    missing = float("inf") if measure.lowest_first else -float("inf")
    order = table.nan_to_num(missing).flatten().argsort(descending=not measure.lowest_first, stable=True)
    found = [divmod(int(index), table.shape[1]) for index in order[:most]]
    return [head for head in found if bool(table[head].isfinite())]


def _depth(table: Tensor, measure: Measure) -> str:
    """How the mean over the heads of a layer goes from the first layer to the last; empty for few or unknown ones."""
    means = table.mean(1)
    if len(means) < 3 or not bool(means.isfinite().all()) or float(means.std()) == 0:
        return ""
    ranks = means.argsort().argsort().double()
    depth = ranks.new_tensor(range(len(means)))
    # Spearman's, which asks for the order alone: losses grow by factors, not by steps.
    goes = float(((ranks - ranks.mean()) * (depth - depth.mean())).mean() / depth.var(correction=0))
    ends = f"{_short(float(means[0]))} on average in layer 0, {_short(float(means[-1]))} in layer {len(means) - 1}"
    if abs(goes) < 0.7:
        extreme = int(means.argmin() if measure.lowest_first else means.argmax())
        return f"It does not simply go with depth; layer {extreme} stands out."
    return f"It {'grows' if goes > 0 else 'falls'} with depth: {ends}."


def _short(value: float) -> str:
    return f"{value:.2g}".replace("-", "−") if abs(value) < 0.1 else f"{value:.2f}".replace("-", "−")
