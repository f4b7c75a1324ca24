"""The component in view: how much, how often, what it reads and what it writes."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from restorelcc.selection.picks import Pick
from restorelcc.selection.predicted_effect import PredictedEffect
from restorelcc.workspace import Workspace

from ...charts import components as component_charts
from ...session import cache, state
from ...values.colours import colours
from ...values.names import LONGEST
from ...values.picks import Head
from ...values.verbatim import in_html
from ...values.words import signed
from ...widgets import controls, feedback
from ...work import scores


def section(workspace: Workspace, head: Head) -> None:
    """Everything about the component in view."""
    index = min(state.session().component, workspace.lost.shape[2] - 1)
    pick = (*head, index)
    _title(pick)
    _figures(workspace, pick)
    _magnitude(workspace, pick)
    _promised(workspace, pick)
    _reads_and_writes(workspace, head, index)


def _title(pick: Pick) -> None:
    """Which component it is, and what the person calls it."""
    name = state.session().names.get(pick, "")
    with st.container(horizontal=True, vertical_alignment="center", key="component-title"):
        st.markdown(f"##### Component {pick[2]}", width="stretch")
        st.text_input(
            "Name of the component",
            placeholder="Name it",
            label_visibility="collapsed",
            width=220,
            **controls.mirrored("component-name", name, lambda typed: _call(pick, typed)),
        )
    refused = st.session_state.pop("name-refused", "")
    if refused:
        feedback.refused(refused)


def _call(pick: Pick, name: str) -> None:
    """Refused, and the name as it was, where it is longer than a link takes."""
    if len(name) > LONGEST:
        st.session_state["name-refused"] = f"A name of {len(name)} characters does not do: give up to {LONGEST}."
    else:
        state.call(pick, name)


def _figures(workspace: Workspace, pick: Pick) -> None:
    """How much of the head's loss it holds, its mean, and how much of it is the same at every token."""
    lost = workspace.lost
    alpha, mean_square = float(lost.magnitude[pick]), float(lost.variance[pick])
    energy, constant = float(lost.energy[pick]), alpha**2 / mean_square if mean_square > 0 else 0.0
    columns = st.columns(3)
    columns[0].metric("Lost energy", f"{energy:.1%}", help="Its share of the head's squared lost activation.")
    columns[1].metric(
        "Mean α",
        signed(alpha, 3),
        help="Mean over tokens of δz·v, in activation units: what a constant puts back (Eq. 4).",
    )
    columns[2].metric(
        "Constant part",
        f"{constant:.0%}",
        help="α² / mean (δz·v)²: how much of this component's energy is the same at every token. Only that part can a "
        "constant bring back; the rest changes from token to token.",
    )


def _magnitude(workspace: Workspace, pick: Pick) -> None:
    """How strongly it is put back."""
    alpha, factor = float(workspace.lost.magnitude[pick]), state.picks().factor(pick)
    picked = pick in state.picks().selection.picks
    st.slider(
        "Magnitude put back, in multiples of α",
        min(-2.0, factor),
        max(4.0, factor),
        step=0.05,
        help="1 is the mean lost activation along this direction. Moving the slider picks the component.",
        **controls.mirrored("magnitude", factor, lambda value: state.choose(state.picks().scaled(pick, value))),
    )
    st.caption(
        f"Puts back {signed(alpha * factor, 3)} activation units along v{pick[2]} at every token."
        if picked
        else "Not picked: nothing of it is put back."
    )


def _promised(workspace: Workspace, pick: Pick) -> None:
    """What the component is predicted to do, now and at its best magnitude, and the button that takes that."""
    effect: PredictedEffect | None = scores.known(workspace.recipe, "effect")
    alpha = float(workspace.lost.magnitude[pick])
    if effect is None or alpha == 0:
        return
    best = float(effect.best[pick])
    now = float(effect.at(effect.best.new_tensor(state.picks().factor(pick) * alpha))[pick])
    with st.container(horizontal=True, vertical_alignment="center", key="promised"):
        st.caption(
            f"Alone, predicted to change the loss by {signed(now, 5)} nats per token at this magnitude, and at its "
            f"best, {signed(best, 3)}, by {signed(float(effect.of_component[pick]), 5)} ± "
            f"{float(effect.of_component_error[pick]):.5f}.",
            width="stretch",
        )
        factor = round(best / alpha, 2)
        st.button(
            "Put back its best",
            key="best-magnitude",
            icon=":material/tune:",
            help=f"{factor:g} times α. Together with others it can be too much: they overlap.",
            on_click=lambda: state.choose(state.picks().scaled(pick, factor)),
            disabled=pick in state.picks().selection.picks and state.picks().factor(pick) == factor,
        )


def _reads_and_writes(workspace: Workspace, head: Head, index: int) -> None:
    """The tokens where it is strongest, the vocabulary it moves, and its like in other layers."""
    if not feedback.models_there(workspace, "detail", dense=False):
        return
    reads, writes, others = st.tabs(["Where it is lost", "What it writes", "In other layers"])
    with reads:
        _reads(workspace, head, index)
    gone = not bool(workspace.lost.present[head])
    with writes:
        if feedback.models_there(workspace, "writes", dense=gone):
            _writes(workspace, head, index)
    with others:
        if feedback.models_there(workspace, "others"):
            _others(workspace, head, index)


def _reads(workspace: Workspace, head: Head, index: int) -> None:
    """The tokens at which it was lost most, in their contexts."""
    rows = []
    for moment in cache.moments(workspace.recipe, *head, index, 8, workspace):
        before, token, after = (in_html(part) for part in moment.parts)
        rows.append(
            f'<div class="context"><span class="value">{signed(moment.value, 2)}</span> '
            f"{before}<b>{token}</b>{after}</div>"
        )
    st.caption("δz·v, in activation units, at the sampled tokens where it is largest.")
    st.html("".join(rows))


def _writes(workspace: Workspace, head: Head, index: int) -> None:
    """The vocabulary that a component moves."""
    promoted, suppressed = cache.vocabulary(workspace.recipe, *head, index, 8, workspace)
    st.caption(
        "Through W_O, the final norm's gain and the unembedding: the direct path alone, without what later layers "
        "make of it."
    )
    controls.figure(
        component_charts.words(promoted, suppressed, colours(state.dark())),
        "words",
        f"Words promoted: {', '.join(word for word, _ in promoted)}. Suppressed: "
        f"{', '.join(word for word, _ in suppressed)}.",
        pd.DataFrame([*promoted, *suppressed], columns=["token", "logit_change"]),
    )


def _others(workspace: Workspace, head: Head, index: int) -> None:
    """The components of the same head that write alike, in every layer."""
    table = cache.alike(workspace.recipe, *head, index, workspace)
    rest = table.abs().clone()
    rest[head[0]] = 0
    layer, component = divmod(int(rest.argmax()), table.shape[1])
    st.caption(
        f"Cosine of what it writes into the residual stream with what the components of head {head[1]} write in "
        f"every layer; signs are arbitrary. Most alike: component {component} of layer {layer}, "
        f"{signed(float(table[layer, component]), 2)}."
    )
    controls.figure(
        component_charts.alike(table, head[0], index, colours(state.dark())),
        "alike",
        f"Map of cosines by layer and component; the largest in another layer is "
        f"{float(table[layer, component]):.2f}, component {component} of layer {layer}.",
        pd.DataFrame(table.numpy(), columns=[f"component {i}" for i in range(table.shape[1])])
        .rename_axis("layer")
        .reset_index(),
    )
