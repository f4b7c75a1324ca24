"""`inspect --closer`: a table each of what a closer look finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pandas as pd

from ...inspection.definitions import KINDS, LOOKS
from ...inspection.depth import departure
from ...inspection.kinds import members
from ...inspection.windows import windows
from ...progress_bar import watched
from ...registry import chosen
from ...selection.scores import SCORES, ScoreInputs
from ...selection.scoring import result_of
from ...text.tokens import Tokens
from ..console import records, show_table

MOST = 20  # windows that are told to people
Table = tuple[list[str], list[list[str]]]
"""Headings, and rows of cells."""


def looks(names: str) -> list[str]:
    """Those of a list with commas. Raises SettingError for one that is not known."""
    named = [name.strip() for name in names.split(",") if name.strip()]
    return [chosen(name, LOOKS, "Look").name for name in named]


def looked(inputs: ScoreInputs, tokens: Tokens, names: Iterable[str]) -> dict[str, pd.DataFrame]:
    """What each look finds, by its name; tokens: all of the text."""
    return {name: _LOOKS[name][0](inputs, tokens) for name in names}


def tell(found: dict[str, pd.DataFrame]) -> None:
    """For people."""
    for name, frame in found.items():
        show_table(LOOKS[name].title, *_LOOKS[name][1](frame))


def _kinds(inputs: ScoreInputs, _: Tokens) -> pd.DataFrame:
    """A row a head that is of a kind in the dense model, or nearest to it."""
    rows = [
        (member.kind, member.layer, member.head, member.dense, member.pruned, member.kept, not member.nearest)
        for member in members(watched(result_of(SCORES["induction"], inputs)))
    ]
    return pd.DataFrame(rows, columns=["kind", "layer", "head", "dense", "pruned", "kept", "of_the_kind"])


def _tell_kinds(frame: pd.DataFrame) -> Table:
    rows = []
    for row in records(frame):
        kind = KINDS[row["kind"]]
        name = kind.plural if row["of_the_kind"] else f"{kind.plural}: none, nearest is"
        figures = f"{row['dense']:.2f}", f"{row['pruned']:.2f}", f"{row['kept']:.0%}"
        rows.append([name, f"{row['layer']}.{row['head']}", *figures])
    return ["kind", "layer.head", "dense", "pruned", "kept"], rows


def _depth(inputs: ScoreInputs, _: Tokens) -> pd.DataFrame:
    """A row a layer, on held-out calibration text."""
    (found,) = watched(departure(inputs.pair, inputs.held_out))
    return found.to_pandas()


def _tell_depth(frame: pd.DataFrame) -> Table:
    rows = [[str(row["layer"]), f"{row['kl']:.4f} ± {row['kl_error']:.4f}"] for row in records(frame)]
    return ["after layer", "KL to the dense model, nats per token"], rows


def _windows(inputs: ScoreInputs, tokens: Tokens) -> pd.DataFrame:
    """A row a window, and the token that lost most in it as text."""
    frame = watched(windows(inputs.pair, tokens))
    places = zip(frame["window"], frame["position"], strict=True)
    return frame.assign(token=[str(inputs.pair.tokenizer.decode([int(tokens.ids[place])])) for place in places])


def _tell_windows(frame: pd.DataFrame) -> Table:
    columns = ["window", "tokens", "dense", "pruned", "lost, nats a token", "KL", "lost most at"]
    rows = []
    for row in records(frame.head(MOST)):
        figures = f"{row['dense']:.3f}", f"{row['pruned']:.3f}", f"{row['lost']:+.3f}", f"{row['kl']:.3f}"
        worst = f"{row['position']}: {row['token']!r}, {row['most']:+.2f}"
        rows.append([str(row["window"]), str(row["tokens"]), *figures, worst])
    return columns, rows


_LOOKS: dict[str, tuple[Callable[[ScoreInputs, Tokens], pd.DataFrame], Callable[[pd.DataFrame], Table]]] = {
    "kinds": (_kinds, _tell_kinds),
    "depth": (_depth, _tell_depth),
    "windows": (_windows, _tell_windows),
}
"""By name: what looks, and how what it finds is told."""
