"""Step 2: the difference is the lost activation."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from restorelcc.workspace import Workspace

from ...charts import learn as learn_charts
from ...session import state
from ...values.colours import colours
from ...values.picks import Head
from ...values.words import head_name
from ...widgets import controls
from ...work import lessons
from .introduction import MAP, places


def step(workspace: Workspace) -> Head:
    """δz of one head as arrows; gives the head that this step and the next two are about."""
    left, right = places(2, "The difference is the lost activation")
    with left:
        st.markdown(
            "Run the same text through both models and subtract, token by token: "
            r"$\delta z = z_{\text{dense}} - z_{\text{pruned}}$ "
            "(Eq. 2). Each line is one token: it leads from where the pruned model is to where the dense one was. The "
            "thick arrow is their mean. If all lines were equal, one constant would undo the damage. They are not; but "
            "they need not cancel out either."
        )
        head = _chosen(workspace)
    with right, st.container(width=MAP + 60):
        _arrows(workspace, head)
    return head


def _chosen(workspace: Workspace) -> Head:
    """The head that is looked at, the control that chooses it, and how much of its loss is the same everywhere."""
    layers, heads, _ = workspace.lost.shape
    shares = lessons.constant_share(workspace)
    head: Head = st.selectbox(
        "Head of this step and the next two",
        [(layer, head) for layer in range(layers) for head in range(heads)],
        int(shares.argmax()),
        format_func=head_name,
        key="learn-head",
        persist_state="session",
        help="At first the head whose mean is easiest to see. It is not typical: step 4 shows all heads.",
    )
    st.markdown(
        f"{head_name(head)} lost **{float(workspace.loss.relative_error[head]):.0%}** of its energy. The mean "
        f"arrow holds **{float(shares[head]):.0%}** of that loss; in half of the heads it holds less "
        f"than {float(shares.quantile(0.5)):.0%}."
    )
    return head


def _arrows(workspace: Workspace, head: Head) -> None:
    """What the head lost at single tokens, as arrows."""
    points = lessons.plane(workspace, head)
    controls.figure(
        learn_charts.arrows(points, colours(state.dark())),
        "learn-arrows",
        f"Activations of {head_name(head)} in the dense and the pruned model on 60 tokens, joined by lines, and "
        "the mean of the differences as an arrow.",
        pd.DataFrame(
            {
                "dense_1": points.dense[:, 0],
                "dense_2": points.dense[:, 1],
                "pruned_1": points.pruned[:, 0],
                "pruned_2": points.pruned[:, 1],
            }
        ),
    )
    st.caption(
        f"In the plane of the head’s first two components (step 3), which hold {points.held:.0%} of what it lost; "
        "activation units. The view leaves out the farthest tokens; double-click it for all."
    )
