"""What is still lost of the head in view, component by component, with something put back."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from restorelcc.workspace import Workspace

from ...charts.closer import still as charts
from ...session import state
from ...values.colours import colours
from ...values.picks import Head
from ...values.words import head_name
from ...widgets import computing, controls


def section(workspace: Workspace, head: Head) -> None:
    """Mean squares along the components of what was lost, before and after."""
    st.markdown(
        f"##### What is still lost of {head_name(head)}",
        help="Mean of (δz·v)² over the text that heads were read on, along each component of what was lost before: "
        "with nothing put back, and with what is chosen in place in every layer.",
    )
    known = computing.still_lost(workspace, "component")
    if known is None:
        return
    back, after = known
    before, now = workspace.lost.variance[head].tolist(), after.variance[head].tolist()
    controls.figure(
        charts.components(before, now, state.session().component, colours(state.dark())),
        "still-lost",
        f"Bars of what is lost along each component of {head_name(head)}, {sum(before):.3g} in all before and "
        f"{sum(now):.3g} after.",
        pd.DataFrame({"component": range(len(before)), "before": before, "after": now}),
    )
    left = sum(now) / sum(before) if sum(before) > 0 else 1.0
    st.caption(f"With {back.title}, {left:.0%} of the squared lost activation of this head is left.")
