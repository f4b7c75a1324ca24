"""Steps 2 and 3: the difference is the lost activation, and it has directions."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from ...charts import learn as learn_charts
from ...session import state
from ...values.colours import colours
from ...values.pages import PAGES
from ...values.picks import Head
from ...values.words import head_name
from .introduction import MAP, Source, choice, chosen, figure, heading, places, term, written


def _heads(source: Source) -> list[Head]:
    layers, heads, _ = source.facts.shape
    return [(layer, head) for layer in range(layers) for head in range(heads)]


def _link(head: Head) -> str:
    return "{}.{}".format(*head)


def in_view(source: Source) -> Head:
    """The head that steps 2 to 4 are about, where the control that chooses it is not on the screen."""
    return chosen("head", _heads(source), source.facts.plainest, _link)


def _looked_at(source: Source) -> Head:
    """That head, and the control that chooses it."""
    every = _heads(source)
    head: Head = st.selectbox(
        "Head of steps 2 to 4",
        every,
        format_func=head_name,
        help="At first the head whose mean is easiest to see. It is not typical: step 4 shows all heads.",
        **choice("head", every, source.facts.plainest, _link),
    )
    return head


def step(source: Source) -> Head:
    """δz of one head as arrows; gives the head that this step and the next two are about."""
    heading(2)
    left, right = places(2)
    with left:
        written(
            "Run the same text through both models and subtract, token by token: "
            r"$\delta z = z_{\text{dense}} - z_{\text{pruned}}$ "
            "(Eq. 2). Each line is one token: it leads from where the pruned model is to where the dense one was. The "
            "thick arrow is their mean. If all lines were equal, one constant would undo the damage. They are not; but "
            "they need not cancel out either."
        )
        head = _looked_at(source)
        share = source.facts.constant_share
        written(
            f"{head_name(head)} lost **{float(source.facts.relative_error[head]):.0%}** of its {term('Energy')}. The "
            f"mean arrow holds **{float(share[head]):.0%}** of that loss; in half of the heads it holds less than "
            f"{float(share.quantile(0.5)):.0%}."
        )
    with right, st.container(width=MAP + 60):
        _arrows(source, head)
    return head


def _arrows(source: Source, head: Head) -> None:
    """What the head lost at single tokens, as arrows."""
    points = source.facts.plane(head)
    figure(
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


@st.fragment
def directions(source: Source, head: Head) -> None:
    """Energy of the components of one head; how much the first k hold together."""
    heading(3)
    left, right = places(3)
    shares = source.facts.energy[head]
    with left:
        written(
            r"Stack $\delta z$ of many tokens into a matrix and take its singular value decomposition (Eq. 3). Its "
            rf"right singular vectors $v_1, v_2, \dots$ are the {term('Component', '**components**')}: at right "
            "angles, strongest first. It is not centred, as principal components would be, since a shift of the mean "
            "is loss too."
        )
        numbers = range(1, len(shares) + 1)
        count = st.slider("Components 1 to …", 1, len(shares), **choice("components", numbers, min(4, len(shares))))
        held = shares.cumsum(0)
        needed = int((held < 0.9).sum()) + 1
        st.markdown(
            f"Components 1 to {count} of {head_name(head)} hold **{float(held[count - 1]):.0%}** of what it lost. 90% "
            f"takes {needed} of {len(shares)}; in a loss without directions every one would hold "
            f"{1 / len(shares):.0%}."
        )
        st.caption("This is what could come back if each token got its own amount of every component.")
        st.page_link(PAGES["components"].link, label="Components of the open pair", icon=":material/arrow_forward:")
    with right:
        figure(
            learn_charts.energy(shares, count, colours(state.dark())),
            "learn-energy",
            f"Energy of the components of {head_name(head)}: the first {count} hold {float(held[count - 1]):.0%}.",
            pd.DataFrame(
                {"component": range(1, len(shares) + 1), "energy": shares.numpy(), "cumulative": held.numpy()}
            ),
        )
