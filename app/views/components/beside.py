"""The head in view in another pair: what both lost of it, component by component."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from restorelcc.inspection.beside import check_same_shape
from restorelcc.workspace import Workspace

from ...charts.closer import still as charts
from ...session import state
from ...values.colours import colours
from ...values.picks import Head
from ...values.verbatim import in_markdown
from ...values.words import head_name
from ...widgets import beside as other_pair
from ...widgets import controls, feedback
from ...work.closer.other_pairs import named


def section(workspace: Workspace, head: Head) -> None:
    """Mean squares along the components of what each pair lost, and whether the first point the same way."""
    st.markdown(
        f"##### {head_name(head)} in another pair",
        help="Mean of (δz·v)² along each component of what this head lost, in either pair along its own components: "
        "the same number in two pairs need not be the same direction.",
    )
    recipe = other_pair.chosen(workspace, "components")
    other = None if recipe is None else other_pair.workspace_of(recipe, "beside-components")
    if recipe is None or other is None:
        return
    names = named(workspace.recipe, recipe), named(recipe, workspace.recipe)
    with feedback.guarded():
        check_same_shape(workspace.lost.shape, other.lost.shape, names)
        _bars(workspace, other, head, names)


def _bars(workspace: Workspace, other: Workspace, head: Head, names: tuple[str, str]) -> None:
    first, second = workspace.lost.variance[head].tolist(), other.lost.variance[head].tolist()
    controls.figure(
        charts.components(first, second, state.session().component, colours(state.dark()), names),
        "component-beside",
        f"Bars of what is lost along each component of {head_name(head)} in two pairs, {sum(first):.3g} in all in the "
        f"first and {sum(second):.3g} in the second.",
        pd.DataFrame({"component": range(len(first)), names[0]: first, names[1]: second}),
    )
    alike = float((workspace.lost.directions[head][0] @ other.lost.directions[head][0]).abs())
    times = f"{sum(second) / sum(first):.2f} times as much of this head" if sum(first) > 0 else "of this head"
    st.caption(
        f"{in_markdown(names[1])} lost {times} as {in_markdown(names[0])}. Cosine of the angle between their strongest "
        f"components: {alike:.2f}."
    )
