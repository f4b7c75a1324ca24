"""Which heads are of a kind in the dense model, and what pruning left of them."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from restorelcc.inspection.definitions import KINDS
from restorelcc.inspection.kinds import OF_A_KIND, HeadKinds, Member, members
from restorelcc.registry import definitions
from restorelcc.selection.scores import SCORES, closer
from restorelcc.workspace import Workspace

from ....session import state
from ....values.words import head_name
from ....widgets import computing
from ....work import scores

TABLE = "kinds-table"
ABOUT = (
    f"A head is one of a kind where that attention is {OF_A_KIND} or more in the dense model. Random tokens, repeated, "
    "tell induction from mere knowledge of the language: nothing else says what comes.\n\n"
)


def section(workspace: Workspace) -> None:
    """A row a head of a kind; a click looks at it."""
    kinds: HeadKinds | None = scores.known(workspace.recipe, SCORES["induction"].computation.name)
    st.markdown("##### Kinds of heads, and what pruning left of them", help=ABOUT + definitions(KINDS))
    if kinds is None:
        cost = SCORES["induction"].computation.cost
        owner = state.session().owner
        computing.asked(
            scores.key(workspace, "induction"),
            "kinds",
            cost,
            "See which heads are of which kind",
            lambda: scores.submit(workspace, "induction", owner, "Kinds of heads"),
        )
        return
    rows = members(kinds)
    st.markdown(_sentence(rows))
    table, shown = st.columns([7, 5], gap="medium")
    with table:
        st.dataframe(
            pd.DataFrame([_row(member) for member in rows]),
            hide_index=True,
            key=TABLE,
            on_select=lambda: _selected(rows),
            selection_mode="single-row",
            column_config={
                "dense": st.column_config.NumberColumn(format="%.2f"),
                "pruned": st.column_config.NumberColumn(format="%.2f"),
                "kept": st.column_config.NumberColumn(format="percent"),
            },
        )
        st.caption("Click a row's box to look at its head.")
    with shown:
        st.markdown("As colours, on the map above:")
        with st.container(horizontal=True, key="kinds-on-the-map"):
            for name in closer():
                if SCORES[name].computation is SCORES["induction"].computation:
                    st.button(
                        SCORES[name].title,
                        key=f"show-{name}",
                        disabled=state.session().metric == name,
                        on_click=_show,
                        args=(name,),
                    )


def _sentence(rows: list[Member]) -> str:
    """What pruning took, in words."""
    parts = []
    for name, kind in KINDS.items():
        own = [member for member in rows if member.kind == name and not member.nearest]
        if own:
            kept = sum(member.pruned for member in own) / sum(member.dense for member in own)
            parts.append(f"{kind.plural.lower()}: {len(own)}, {kept:.0%} of their attention is left")
        elif kind.plural:
            parts.append(f"{kind.plural.lower()}: none")
    return "; ".join(parts).capitalize() + "."


def _row(member: Member) -> dict[str, object]:
    plural = KINDS[member.kind].plural
    return {
        "kind": f"{plural}: none, nearest is" if member.nearest else plural,
        "head": head_name((member.layer, member.head)),
        "dense": member.dense,
        "pruned": member.pruned,
        "kept": member.kept,
    }


def _selected(rows: list[Member]) -> None:
    chosen = st.session_state[TABLE]["selection"]["rows"]
    if chosen:
        state.look_at((rows[chosen[0]].layer, rows[chosen[0]].head))


def _show(name: str) -> None:
    state.session().metric = name
