"""By layer, how far the pruned model's prediction is from the dense one's."""

from __future__ import annotations

import streamlit as st

from restorelcc.inspection.depth import Departure
from restorelcc.workspace import Workspace

from ....charts.closer import depth as charts
from ....session import cache, state
from ....values.colours import colours
from ....widgets import computing, controls, feedback, in_place, passages
from ....work import scores
from ....work.closer import found

HELP = (
    "What leaves a layer is read as if it were the last: through the final norm and the unembedding (logit lens, "
    "nostalgebraist 2020), each model by its own. KL(dense ‖ pruned) of the next token, nats per token; at the last "
    "layer it is that of the outputs. Bands are standard errors with windows as the sample."
)


def section(workspace: Workspace) -> None:
    """On average over the live set, and token by token on a passage."""
    st.markdown("##### Where the prediction departs", help=HELP)
    back = in_place.chosen(workspace, "depth")
    what = f"depth {'' if back is None else back.name}"
    departures: list[Departure] | None = scores.known(workspace.recipe, what)
    if departures is None:
        owner = state.session().owner
        computing.asked(
            found.key(workspace, what),
            "depth",
            "one pass of each model over the live set, and its unembedding once a layer",
            "Read every layer's prediction",
            lambda: found.submit(
                workspace, what, owner, "Reading every layer's prediction", lambda: found.depth_work(workspace, back)
            ),
        )
    else:
        _average(departures)
    _on_a_passage(workspace)


def _average(departures: list[Departure]) -> None:
    frames = dict(zip(("pruned", "restored"), (each.to_pandas() for each in departures), strict=False))
    last = frames["pruned"].iloc[-1]
    half = int((frames["pruned"]["kl"] >= frames["pruned"]["kl"].max() / 2).argmax())
    table = frames["pruned"]
    if "restored" in frames:
        table = table.merge(frames["restored"], on="layer", suffixes=("", "_restored"))
    controls.figure(
        charts.departure(frames, colours(state.dark())),
        "departure",
        f"KL to the dense model by layer; after the last {last['kl']:.3f} nats per token.",
        table,
    )
    st.caption(
        f"On the live set. After the last layer {last['kl']:.3f} nats per token; half of the most is reached after "
        f"layer {half}."
    )


def _on_a_passage(workspace: Workspace) -> None:
    """Layer × token."""
    passage = state.session().passage
    if not workspace.loaded or not passages.written(passage):
        return
    with feedback.guarded():
        kl = cache.departure_on(workspace.recipe, passages.fitted(workspace, passage), workspace)
        tokens = cache.strings_of(workspace.recipe, passages.fitted(workspace, passage), workspace)
        st.markdown("On the passage that heads are read on, at the token that is predicted next:")
        controls.figure(
            charts.departure_map(kl, tokens, colours(state.dark())),
            "departure-passage",
            f"Map of KL by layer and token over {len(tokens)} tokens.",
            charts.departure_table(kl, tokens),
        )
