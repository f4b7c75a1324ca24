"""The runs compared as figures: learning curves, and perplexity against size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from restorelcc.artifacts.runs import Run
from restorelcc.errors import LoadError

from ...charts import compare as compare_charts
from ...session import cache, state
from ...values import run_facts
from ...values.colours import colours
from ...values.verbatim import in_markdown
from ...values.words import HELP
from ...widgets import controls

SHARES = ("recovered", "recovered_stderr", "nearer", "nearer_stderr")


def metrics(runs: Sequence[Run]) -> dict[str, pd.DataFrame]:
    """What happened at each step, by the run's folder name; runs whose steps cannot be read are named, and left out."""
    steps: dict[str, pd.DataFrame] = {}
    lacking = []
    for run in runs:
        try:
            steps[run.folder.name] = cache.metrics(str(run.folder), run)
        except LoadError:
            lacking.append(in_markdown(run.name))
    if lacking:
        st.caption(f"Without readable training steps: {', '.join(lacking)}.")
    return steps


def by_step(runs: Sequence[Run]) -> None:
    """Learning curves over one another."""
    st.markdown(
        "##### Learning curves",
        help="The held-out text chooses the best step; it is not trained on. Shares put runs of different pairs on one "
        f"scale. {HELP['share']} {HELP['nearer']}",
    )
    view, steps = _view(), metrics(runs)
    frame = compare_charts.curve_table(runs, steps)
    ends = {
        run.folder.name: compare_charts.lines(run, steps[run.folder.name]) for run in runs if run.folder.name in steps
    }
    smooth = f"loss, mean of {compare_charts.SMOOTH} steps"
    controls.figure(
        compare_charts.curves(runs, view, frame, ends, colours(state.dark())),
        "compare-curves",
        f"{compare_charts.VIEWS[view][0]} by step of {len(runs)} runs: {', '.join(run.name for run in runs)}.",
        frame.drop(columns="folder").rename(columns={"smooth": smooth}),
    )
    _remarks(runs, view, ends)
    if view == "share":
        _unmeasured(runs, frame)


def _unmeasured(runs: Sequence[Run], frame: pd.DataFrame) -> None:
    """Whose share is drawn while its distance to the dense model is not known."""
    known = frame.groupby("folder")[["share", "nearer"]].count()
    lacking = set(known[(known["share"] > 0) & (known["nearer"] == 0)].index)
    if lacking:
        names = ", ".join(in_markdown(run.name) for run in runs if run.folder.name in lacking)
        st.caption(
            f"Distance unknown: how much nearer to the dense model training came was not measured by step of {names}, "
            "which minimised another loss, so its share may be what learns the text."
        )


def _view() -> str:
    """Which of the curves is drawn, and the control that chooses it."""
    view = st.segmented_control(
        "Curve",
        list(compare_charts.VIEWS),
        format_func=lambda name: compare_charts.VIEWS[name][0],
        required=True,
        label_visibility="collapsed",
        **controls.mirrored(
            "curve-view",
            st.session_state.get("compare-view", "perplexity"),
            lambda name: st.session_state.update({"compare-view": name}),
        ),
    )
    return str(view)


def _remarks(runs: Sequence[Run], view: str, ends: Mapping[str, Mapping[str, float]]) -> None:
    """What the curves leave out. ends: as `charts.compare.lines` gives them, by the run's folder name."""
    lacking = [in_markdown(run.name) for run in runs if run.folder.name in ends and len(ends[run.folder.name]) < 2]
    if view == "perplexity" and len({run_facts.pair_names(run) for run in runs}) > 1:
        st.caption("These runs are of several pairs, so only lines that hold for all of them are drawn.")
    if view == "share" and lacking:
        st.caption(
            f"The dense model was not measured on the held-out text, so there is no share of: {', '.join(lacking)}."
        )
    if view == "loss":
        st.caption(
            f"Each point is the mean of up to {compare_charts.SMOOTH} steps. Losses of different kinds do not compare."
        )


def by_size(runs: Sequence[Run]) -> None:
    """Perplexity against trained parameters."""
    st.markdown(
        "##### Perplexity against trained parameters",
        help="Bars are one standard error of each perplexity by itself. Runs on the same text share most of that "
        "noise, so they may differ clearly even where bars overlap.",
    )
    frame = run_facts.table(runs, [], {})
    controls.figure(
        compare_charts.against_size(runs, frame, colours(state.dark())),
        "compare-sizes",
        f"Perplexity of {len(runs)} restored models against how many numbers were trained, with standard errors.",
        frame[["run", "trained", "perplexity", "stderr", *SHARES]],
    )
