"""Methods against each other as one table and one picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from restorelcc.artifacts.experiments import Experiment, both_errors
from restorelcc.artifacts.runs import Run
from restorelcc.errors import LoadError
from restorelcc.registry import definitions
from restorelcc.restoration.baselines.methods import METHODS

from ..charts.neighbours import shares as share_charts
from ..session import cache, state
from ..values import run_facts
from ..values.colours import colours
from ..values.verbatim import in_markdown, visible
from ..values.words import HELP, percent, short_name, text_name
from . import controls

WHAT = {
    "nearer": ("Nearer to dense", "nearer to the dense model"),
    "recovered": ("Recovered", "recovered share"),
}
"""What the picture shows: (on the switch, on the axis)."""
ERROR = (
    "Standard error of one restoration over windows of text, or of the mean over seeds where that is larger. All are "
    "judged on the same windows, so methods may differ clearly even where bars overlap."
)


def about(found: Experiment) -> str:
    """What an experiment was made on and with, as Markdown."""
    steps, batch, seeds = (found.budget(name) for name in ("steps", "batch", "seeds"))
    judged = [_text(found, purpose) for purpose in ("there", "elsewhere") if found.text(purpose)]
    return (
        f"{_pair(found)}. {steps:,} steps of {batch} windows, {seeds} seed{'' if seeds == 1 else 's'}; judged on "
        f"{' and elsewhere on '.join(judged)}, which nothing was trained on."
    )


def _text(found: Experiment, purpose: str) -> str:
    windows = found.windows(purpose)
    return in_markdown(text_name(found.text(purpose))) + ("" if windows is None else f" ({windows} windows)")


def _pair(found: Experiment) -> str:
    return in_markdown(" → ".join(short_name(name) for name in found.pair))


def table(found: Experiment, key: str) -> None:
    """A row a method: what it recovers, there and elsewhere, and what it takes."""
    frame = found.table()
    if frame.empty:
        st.info("No method could repair this pair.", icon=":material/block:")
    else:
        shown = _shown(frame)
        st.dataframe(
            shown,
            key=key,
            hide_index=True,
            placeholder="–",
            column_config=_columns(),
            alt="Table of methods: "
            + "; ".join(
                f"{name} {_said(share)}" for name, share in zip(shown["method"], shown["recovered"], strict=True)
            ),
        )
    for title, why in found.refusals:
        st.caption(f"{in_markdown(title)}: {in_markdown(why)}")


def _said(share: float) -> str:
    return f"recovered {percent(share)}" if share == share else "recovered unknown"


def _shown(frame: pd.DataFrame) -> pd.DataFrame:
    """The table as it is read: every share with one error, memory in MB, what it costs at inference in words."""
    shown = pd.DataFrame({"method": [visible(title) for title in frame["title"]]})
    for name in SHARES:
        shown[name], shown[f"{name}_error"] = frame[name], both_errors(frame, name)
    for name in ("trained", "seconds", "kept"):
        shown[name] = frame[name]
    shown["peak"] = frame["peak"] / 1e6
    shown["inference"] = [
        "free" if free else f"{beside:,} products a token, or dense" if beside else "dense where zeros are gone"
        for free, beside in zip(frame["free"], frame["beside"], strict=True)
    ]
    order = ["method", *(f"{name}{part}" for name in SHARES for part in ("", "_error")), "trained", "seconds", "peak"]
    return shown[[*order, "kept", "inference"]]


SHARES = {
    "recovered": ("recovered", HELP["share"]),
    "nearer": ("nearer", HELP["nearer"]),
    "elsewhere": ("elsewhere", "Recovered on text of another kind."),
    "nearer_elsewhere": ("nearer, elsewhere", "Nearer to the dense model on text of another kind."),
}


def _columns() -> dict[str, Any]:
    column = st.column_config
    columns: dict[str, Any] = {
        "method": column.TextColumn("method", pinned=True, help=definitions(METHODS)),
        "trained": column.NumberColumn("parameters", format="localized", help="Numbers trained or solved for."),
        "seconds": column.NumberColumn(
            "seconds",
            format="%.0f",
            help="Of one, measuring left out, on whatever machine it ran, and whatever else did.",
        ),
        "peak": column.NumberColumn("peak, MB", format="%.0f", help="Memory taken above what was held before."),
        "kept": column.NumberColumn(
            "zeros kept", format="percent", help="Of the pruned model's zeros, those left once all is in the weights."
        ),
        "inference": column.TextColumn("at inference", help="What a forward pass costs beyond the pruned model's."),
    }
    for name, (label, meaning) in SHARES.items():
        columns[name] = column.NumberColumn(label, format="percent", help=meaning)
        columns[f"{name}_error"] = column.NumberColumn("±", format="percent", help=ERROR)
    return columns


def picture(found: Experiment, key: str, share: str, runs: Sequence[Run] = ()) -> None:
    """One of `WHAT` against parameters and seconds, of methods and of a person's runs."""
    frame = pd.concat([_of_methods(found, share), _of_runs(runs, share)], ignore_index=True)
    frame = frame.dropna(subset=["share"])
    if frame.empty:
        st.info("Pruning lost nothing of this on the text judged by, so there is no share of it to draw.")
        return
    title, theme = WHAT[share][1], colours(state.dark())
    said = ", ".join(f"{row['name']} {percent(row['share'])}" for row in frame.to_dict("records"))
    controls.figure(
        share_charts.against_cost(frame, title, theme),
        key,
        f"{title.capitalize()} against numbers trained and against seconds: {said}.",
        frame.drop(columns="whose"),
        narrow=share_charts.against_cost(frame, title, theme, narrow=True),
    )


def _of_methods(found: Experiment, share: str) -> pd.DataFrame:
    frame = found.table()
    ours = [name in METHODS and METHODS[name].ours for name in frame["method"]]
    return pd.DataFrame(
        {
            "name": [visible(title) for title in frame["title"]],
            "whose": ["ours" if own else "others" for own in ours],
            "share": frame[share],
            "error": both_errors(frame, share),
            "trained": frame["trained"],
            "seconds": frame["seconds"],
            "kept": ~(frame["kept"] < 1),
        }
    )


def _of_runs(runs: Sequence[Run], share: str) -> pd.DataFrame:
    """Each with the seconds of its training; constants and weights under the mask keep every zero."""
    facts = run_facts.table(runs, [], {}).to_dict("records") if runs else []
    rows = [
        {
            "name": row["run"],
            "whose": "run",
            "share": row[share],
            "error": row[f"{share}_stderr"],
            "trained": row["trained"],
            "seconds": _seconds(run),
            "kept": True,
        }
        for run, row in zip(runs, facts, strict=True)
    ]
    return pd.DataFrame(rows, columns=["name", "whose", "share", "error", "trained", "seconds", "kept"]).astype(
        {"share": float, "error": float, "trained": float, "seconds": float, "kept": bool}
    )


def _seconds(run: Run) -> float:
    """NaN where its steps cannot be read."""
    try:
        return float(cache.metrics(str(run.folder), run)["seconds"].max())
    except (LoadError, KeyError, ValueError):
        return float("nan")


def switch(key: str, value: str, write: Any) -> str:
    """Which of `WHAT` the picture shows, and the control that chooses it."""
    return str(
        st.segmented_control(
            "Share",
            list(WHAT),
            format_func=lambda name: WHAT[name][0],
            required=True,
            label_visibility="collapsed",
            **controls.mirrored(key, value, write),
        )
    )
