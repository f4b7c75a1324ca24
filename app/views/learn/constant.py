"""Step 4: what can be put back is a constant; what putting it back untrained does to perplexity."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from restorelcc.errors import RestoreLCCError
from restorelcc.selection.scores import Measure

from ...charts import learn as learn_charts
from ...charts.head_map import head_map
from ...session import state
from ...values.colours import colours
from ...values.picks import Head, Picks
from ...values.words import head_name, percent, signed
from ...widgets import controls, feedback
from ...work import lessons
from ...work.live import Measured, Superseded, lane
from . import known_lessons
from .introduction import MAP, Source, choice, figure, heading, places, term, written

SCOPES = {"head": "This head", "shallow": "First two layers", "all": "All heads"}
CONSTANT = Measure(
    name="constant",
    title="Share a constant can hold",
    brief="share of what a head lost that is the same at every token",
    definition="‖E δz‖² / E‖δz‖² over tokens.",
    unit="share of lost energy",
)


@st.fragment
def step(source: Source, head: Head) -> None:
    """How little one constant can hold; and what putting it back untrained does to perplexity."""
    heading(4)
    _share_of_a_constant(source, head)
    st.markdown("##### Add component 1, 2, 3 …")
    left, right = st.columns([5, 7], gap="large")
    counts = lessons.counts(source.facts.shape[2])
    with left:
        scope, count = _choice(head, counts)
    with right:
        place = st.empty()
    known = _known(source, scope, head, counts)
    measured = known.get(count) if source.known else None
    if measured is None:
        measured = _measured(source, (scope, head, count), left, place)
    if measured is None:
        return
    known[count] = measured
    with left:
        _verdict(count, measured)
    with place.container():
        _figure(sorted(known.items()), measured, scope, count, counts[-1])


def _share_of_a_constant(source: Source, head: Head) -> None:
    """The map of how much of each head's loss is the same at every token."""
    left, right = places(4)
    table = source.facts.constant_share
    least, middle, most = (float(table.quantile(q)) for q in (0, 0.5, 1))
    with left:
        written(
            f"Only something that is the same for every token costs nothing later (step 6): the "
            f"{term('Compensation', 'compensation')}. So each component gets its mean amount, its "
            rf"{term('α, magnitude', 'magnitude')} $\alpha_i = \mathbb{{E}}[\delta z] \cdot v_i$: "
            r"$c = \sum_i \alpha_i v_i$ (Eq. 4). The map "
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
        figure(
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
        required=True,
        format_func=lambda name: head_name(head) if name == "head" else SCOPES[name],
        **choice("scope", list(SCOPES), "all"),
    )
    count = st.select_slider("Components of each head put back, untrained", counts, **choice("count", counts, 0))
    return str(scope), int(count)


def _known(source: Source, scope: str, head: Head, counts: list[int]) -> dict[int, Measured]:
    """What is known by how many components, without measuring."""
    known: dict[int, Measured] = {}
    for count in counts:
        beforehand = known_lessons.put_back(scope, head, count) if source.known else None
        if beforehand is None and source.workspace is not None:
            picks = Picks(lessons.first_components(source.facts.shape, scope, head, count))
            beforehand = lane.known(source.workspace, picks)
        if beforehand is not None:
            known[count] = beforehand
    if 0 not in known and source.known:
        known[0] = known_lessons.nothing_put_back()
    return known


def _measured(
    source: Source, asked: tuple[str, Head, int], words: DeltaGenerator, place: DeltaGenerator
) -> Measured | None:
    """What putting these components back does; None, with the reason on the screen, where it is not known."""
    workspace, picks = source.workspace, Picks(lessons.first_components(source.facts.shape, *asked))
    if workspace is None:
        words.caption("The pair is not open yet, and of this head nothing was measured beforehand.")
        return None
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
            f"{measured.share_error:.0%} of the lost likelihood".replace("-", "−")
            + (
                f", nearer to the dense model’s distribution by **{percent(measured.nearer.value)}** ± "
                f"{percent(measured.nearer.stderr)}."
                if measured.nearer.known
                else "."
            )
        )
    st.caption(
        "Activations closer on average need not make a better model. What deeper heads lost contains what "
        "shallower heads lost, since they read it: put back everywhere, part of it is put back twice. Compare the "
        "first two layers with all heads. Bars are one standard error, "
        f"paired over {measured.windows} windows."
    )


def _figure(known: list[tuple[int, Measured]], measured: Measured, scope: str, count: int, most: int) -> None:
    """The change of the NLL by number of components, as far as measured; `measured` is of `count`."""
    rows = [
        (k, point.picked.value, point.gain.nats, point.gain.stderr, point.share, point.nearer.value)
        for k, point in known
    ]
    figure(
        learn_charts.injections(known, colours(state.dark()), count, most),
        "learn-injections",
        f"Change of the NLL per token with components put back untrained in {SCOPES[scope].lower()}. At {count}: "
        f"{measured.gain.nats:+.4f} nats.",
        pd.DataFrame(
            rows,
            columns=["components", "perplexity", "nats_against_pruned", "standard_error", "recovered_share", "nearer"],
        ),
    )
