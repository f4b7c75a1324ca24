"""The component in view on a passage of text, one's own or the pair's: at which tokens it was lost."""

from __future__ import annotations

import streamlit as st

from restorelcc.workspace import Workspace

from ...session import cache, state
from ...values.colours import colours
from ...values.picks import Head
from ...values.words import head_name, signed
from ...widgets import feedback, passages, tinted


def section(workspace: Workspace, head: Head) -> None:
    """Each token tinted by what was lost along the component there."""
    index = min(state.session().component, workspace.lost.shape[2] - 1)
    st.markdown(
        f"##### Component {index} of {head_name(head)} on a passage",
        help="δz·v of each token, in activation units: blue where it is above 0, orange where it is below. What is "
        "alike at every token a constant brings back; the rest it cannot.",
    )
    passage = passages.chosen(workspace)
    if not feedback.models_there(workspace, "component-passage") or not passages.written(passage):
        return
    with feedback.guarded():
        values = cache.along(workspace.recipe, passage, *head, index, workspace)
        tokens = cache.strings_of(workspace.recipe, passage, workspace)
        look, most = colours(state.dark()), max(1e-9, *map(abs, values))
        tinted.show(
            [
                tinted.Token(
                    token, f"δz·v {signed(value, 3)}", look.dense if value > 0 else look.pruned, abs(value) / most
                )
                for token, value in zip(tokens, values, strict=True)
            ],
            data_component=str(index),
        )
        st.caption(
            f"The mean over the calibration text, α, is {signed(float(workspace.lost.magnitude[*head, index]), 3)}."
        )
