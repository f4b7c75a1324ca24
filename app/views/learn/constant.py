"""Step 4: what can be put back is a constant; what putting it back untrained does to perplexity."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from restorelcc.errors import RestoreLCCError
from restorelcc.selection.scores import Measure
from restorelcc.workspace import Workspace

from ...charts import learn as learn_charts
from ...charts.head_map import head_map
from ...session import state
from ...values.colours import colours
from ...values.picks import Head, Picks
from ...values.words import head_name, signed
from ...widgets import controls, feedback
from ...work import lessons
from ...work.live import Measured, Superseded, lane
from .introduction import MAP, places

COUNTS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256)
SCOPES = {"head": "This head", "shallow": "First two layers", "all": "All heads"}
CONSTANT = Measure(
    name="constant",
    title="Share a constant can hold",
    brief="share of what a head lost that is the same at every token",
    definition="‖E δz‖² / E‖δz‖² over tokens.",
    unit="share of lost energy",
)


@st.fragment
def step(workspace: Workspace, head: Head) -> None:
    """How little one constant can hold; and what putting it back untrained does to perplexity."""
    _share_of_a_constant(workspace, head)
    st.markdown("##### Add component 1, 2, 3 …")
    left, right = st.columns([5, 7], gap="large")
    counts = [count for count in COUNTS if count < workspace.lost.shape[2]] + [workspace.lost.shape[2]]
    with left:
        scope, count = _choice(head, counts)
    with right:
        place = st.empty()
    picks = {k: Picks(lessons.first_components(workspace.lost.shape, scope, head, k)) for k in counts}
    measured = _measured(workspace, picks[count], left, place)
    if measured is None:
        return
    with left:
        _verdict(count, measured)
    known = [(k, result) for k in counts if (result := lane.known(workspace, picks[k])) is not None]
    with place.container():
        _figure(known, measured, scope, count, counts[-1])


def _share_of_a_constant(workspace: Workspace, head: Head) -> None:
    """The map of how much of each head's loss is the same at every token."""
    left, right = places(4, "What can be put back is a constant")
    table = lessons.constant_share(workspace)
    least, middle, most = (float(table.quantile(q)) for q in (0, 0.5, 1))
    with left:
        st.markdown(
            "Only something that is the same for every token costs nothing later (step 6). So each component gets its "
            r"mean amount: $c = \sum_i \alpha_i v_i$ with $\alpha_i = \mathbb{E}[\delta z] \cdot v_i$ (Eq. 4). The map "
            r"shows the share of a head’s lost energy that the whole mean holds, $\lVert\mathbb{E}\,\delta z\rVert^2 / "
            r"\mathbb{E}\lVert\delta z\rVert^2$. No constant can hold more."
        )
        st.markdown(
            f"It is {least:.0%} to {most:.0%}, in half of the heads under **{middle:.0%}**; in {head_name(head)} "
            f"{float(table[head]):.0%}. By far most of the loss depends on the token."
            if middle < 0.4
            else f"It is {least:.0%} to {most:.0%}, in half of the heads under **{middle:.0%}**."
        )
    with right, st.container(width=MAP):
        controls.figure(
            head_map(table, CONSTANT, colours(state.dark()), height=330),
            "learn-constant",
            f"Share of lost energy that a constant can hold, by layer and head: {least:.0%} to {most:.0%}.",
            controls.by_head(table, "constant_share"),
        )


def _choice(head: Head, counts: list[int]) -> tuple[str, int]:
    """(in which heads, how many components of each) are put back, and the controls for both."""
    scope = st.segmented_control(
        "Where",
        list(SCOPES),
        default="all",
        required=True,
        format_func=lambda name: head_name(head) if name == "head" else SCOPES[name],
        key="learn-scope",
        persist_state="session",
    )
    count = st.select_slider(
        "Components of each head put back, untrained", counts, 0, key="learn-count", persist_state="session"
    )
    return str(scope), int(count)


def _measured(workspace: Workspace, picks: Picks, words: DeltaGenerator, place: DeltaGenerator) -> Measured | None:
    """What putting these components back does; None, with the reason on the screen, where it is not known."""
    with place.container():
        if len(picks) and not feedback.models_there(workspace, "learn-constant", dense=False):
            return None
    try:
        with place, st.spinner("Measuring perplexity"):
            # A name of its own: the header measures for the same tab at the same time.
            return lane.ask(workspace, picks, f"{state.session().tab}-learn").result()
    except Superseded:
        return None
    except RestoreLCCError as error:
        feedback.refused(error, words)
        return None


def _verdict(count: int, measured: Measured) -> None:
    """What it did to perplexity, in words."""
    if count == 0:
        st.markdown("Nothing is put back yet: this is the pruned model. Slide to add components.")
    else:
        gain, picked = measured.gain, measured.picked
        noise = ", which may be noise" if abs(gain.z) < 2 else ""
        effect = "better" if gain.nats < 0 else "worse"
        st.markdown(
            f"Perplexity **{picked.value:.2f}** ± {picked.stderr:.2f}: {signed(gain.nats)} ± {gain.stderr:.4f} nats "
            f"against pruned, {effect}{noise}. Recovered **{measured.share:.0%}** ± "
            f"{measured.share_error:.0%}.".replace("-", "−")
        )
    st.caption(
        "Activations closer on average need not make a better model. What deeper heads lost contains what "
        "shallower heads lost, since they read it: put back everywhere, part of it is put back twice. Compare the "
        "first two layers with all heads. Points stay as you measure them; bars are one standard error, "
        f"paired over {measured.windows} windows."
    )


def _figure(known: list[tuple[int, Measured]], measured: Measured, scope: str, count: int, most: int) -> None:
    """The change of the NLL by number of components, as far as measured; `measured` is of `count`."""
    rows = [(k, point.picked.value, point.gain.nats, point.gain.stderr, point.share) for k, point in known]
    controls.figure(
        learn_charts.injections(known, colours(state.dark()), count, most),
        "learn-injections",
        f"Change of the NLL per token with components put back untrained in {SCOPES[scope].lower()}. At {count}: "
        f"{measured.gain.nats:+.4f} nats.",
        pd.DataFrame(
            rows, columns=["components", "perplexity", "nats_against_pruned", "standard_error", "recovered_share"]
        ),
    )
