"""Two pairs side by side, in step: two sparsities, two methods, two texts."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import streamlit as st

from restorelcc.inspection.beside import Beside, beside
from restorelcc.selection.scores import SCORES, Measure
from restorelcc.workspace import Workspace

from ....charts.sentences import of_two
from ....session import measures, state
from ....values.verbatim import in_markdown, visible
from ....values.words import head_name, text_name
from ....widgets import beside as other_pair
from ....widgets import feedback
from ....work import scores
from ....work.closer.other_pairs import named
from .in_step import Side, frame, maps, one

HELP = (
    "Head by head, two pairs of one shape by the measure in view: the same model pruned more or less, by another "
    "method, or read on another text. Both maps have one scale, and the third shows what lies between them. A click on "
    "any looks at the head."
)
TABLE = "beside-table"
LISTED = 10


def section(workspace: Workspace) -> None:
    """Choose the other pair; both maps, their difference, and the heads that are furthest apart."""
    st.markdown("##### Beside another pair", help=HELP)
    recipe = other_pair.chosen(workspace, "heads")
    if recipe is None:
        st.caption("Choose a pair above to see its heads beside these.")
        return
    other = other_pair.workspace_of(recipe, "beside")
    if other is None:
        return
    names = named(workspace.recipe, recipe), named(recipe, workspace.recipe)
    metric = _in_both(workspace, other)
    table, second = measures.table(workspace, metric), scores.table(other, metric)
    if table is None or second is None:
        raise LookupError(f"{metric} is drawn before it is computed")
    with feedback.guarded():
        both = beside(table, second, names)
        _drawn(SCORES[metric], both, names)
        st.caption(f"{_read_on(workspace, other)} A green dot marks heads with picks.")


def _in_both(workspace: Workspace, other: Workspace) -> str:
    """The measure in view, or where it is not known of both pairs the usual one, which is said."""
    metric, usual = state.session().metric, state.Session.metric
    if metric in SCORES and all(scores.table(pair, metric) is not None for pair in (workspace, other)):
        return metric
    st.caption(
        f"*{in_markdown(measures.row(metric).title)}* is not known of both pairs: look at it in each first. Here is "
        f"{SCORES[usual].title.lower()}."
    )
    return usual


def _drawn(measure: Measure, both: Beside, names: tuple[str, str]) -> None:
    maps(measure, Side("here", names[0], both.first), Side("beside", names[1], both.second))
    st.markdown(of_two(both, measure, (in_markdown(names[0]), in_markdown(names[1]))))
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown(f"**Difference**: {in_markdown(names[1])} − {in_markdown(names[0])}")
        between = replace(measure, title="Difference", scale="change")
        one(between, Side("difference", "difference", both.difference), both, names)
    with right:
        st.markdown("**Heads that are furthest apart**")
        _furthest(both, names)


def _furthest(both: Beside, names: tuple[str, str]) -> None:
    """A row a head; a click looks at it."""
    rows = frame(both, names).dropna().sort_values("difference", key=abs, ascending=False)[:LISTED]
    heads = [(int(layer), int(head)) for layer, head in zip(rows["layer"], rows["head"], strict=True)]

    def selected() -> None:
        chosen = st.session_state[TABLE]["selection"]["rows"]
        if chosen:
            state.look_at(heads[chosen[0]])

    shown = pd.DataFrame({"head": [head_name(head) for head in heads]})
    values = {visible(name): rows[name].to_numpy() for name in (*names, "difference")}
    st.dataframe(
        shown.assign(**values),
        hide_index=True,
        key=TABLE,
        on_select=selected,
        selection_mode="single-row",
        column_config={name: st.column_config.NumberColumn(format="%.4f") for name in values},
    )


def _read_on(workspace: Workspace, other: Workspace) -> str:
    """How much of which text both were read on."""
    texts = [
        f"{pair.findings.statistics.count:,} tokens of {in_markdown(text_name(pair.recipe.calibration))}"
        for pair in (workspace, other)
    ]
    return f"Both were read on {texts[0]}." if texts[0] == texts[1] else f"Read on {texts[0]}; {texts[1]} there."
