"""Step 3: the loss has directions."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from restorelcc.workspace import Workspace

from ...charts import learn as learn_charts
from ...session import state
from ...values.colours import colours
from ...values.pages import PAGES
from ...values.picks import Head
from ...values.words import head_name
from ...widgets import controls
from .introduction import places


@st.fragment
def step(workspace: Workspace, head: Head) -> None:
    """Energy of the components of one head; how much the first k hold together."""
    left, right = places(3, "The loss has directions")
    shares = workspace.lost.energy[head]
    with left:
        st.markdown(
            r"Stack $\delta z$ of many tokens into a matrix and take its singular value decomposition (Eq. 3). Its "
            r"right singular vectors $v_1, v_2, \dots$ are the **components**: at right angles, strongest first. It is "
            "not centred, as principal components would be, since a shift of the mean is loss too."
        )
        count = st.slider(
            "Components 1 to …", 1, len(shares), min(4, len(shares)), key="learn-components", persist_state="session"
        )
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
        controls.figure(
            learn_charts.energy(shares, count, colours(state.dark())),
            "learn-energy",
            f"Energy of the components of {head_name(head)}: the first {count} hold {float(held[count - 1]):.0%}.",
            pd.DataFrame(
                {"component": range(1, len(shares) + 1), "energy": shares.numpy(), "cumulative": held.numpy()}
            ),
        )
