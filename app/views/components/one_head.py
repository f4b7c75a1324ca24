"""Parts of the Components page that are about one head."""

from __future__ import annotations

import html

import pandas as pd
import streamlit as st

from restorelcc.selection.predicted_effect import PredictedEffect
from restorelcc.workspace import Workspace

from ...charts import common as charts
from ...charts import components as component_charts
from ...session import cache, state
from ...values.colours import colours
from ...values.names import LONGEST
from ...values.words import ALL_WORDS, head_name, signed
from ...widgets import controls
from ...work import scores
from ..heads.overview import look_at

Head = tuple[int, int]


def chosen_head(workspace: Workspace) -> Head:
    """The head in view: the session's, else the one that lost most by the measure in view; and ways to change it."""
    here = state.session()
    metric = here.metric if scores.missing(workspace, here.metric) == 0 else state.Session.metric
    word, table = ALL_WORDS[metric], scores.table(workspace, metric)
    if table is None:
        raise LookupError(f"{metric} orders heads before it is computed")
    layers, heads, _ = workspace.lost.shape
    order = charts.ranked(table, word)
    head = here.head if here.head is not None else order[0]
    rank = order.index(head)
    with st.container(horizontal=True, vertical_alignment="bottom", key="head-chooser"):
        for index, (label, limit) in enumerate((("Layer", layers), ("Head", heads))):
            parts = list(head)

            def moved(value: int, index: int = index, parts: list[int] = parts) -> None:
                parts[index] = int(value)
                look_at((parts[0], parts[1]))

            st.number_input(
                label, 0, limit - 1, width=110, **controls.mirrored(f"choose-{label.lower()}", head[index], moved)
            )
        st.button(
            "Previous",
            icon=":material/arrow_back:",
            key="previous-head",
            disabled=rank == 0,
            on_click=lambda: look_at(order[rank - 1]),
        )
        st.button(
            "Next",
            icon=":material/arrow_forward:",
            key="next-head",
            disabled=rank == len(order) - 1,
            on_click=lambda: look_at(order[rank + 1]),
        )
        st.markdown(
            f"<span class='muted'>number {rank + 1} of {len(order)} by {word.label.lower()}: "
            f"{float(table[head]):.3g}</span>",
            unsafe_allow_html=True,
        )
    return head


def scree(workspace: Workspace, head: Head) -> None:
    """Energies, and the ticks that pick."""
    here, picks = state.session(), state.picks()
    energy = workspace.lost.energy[head]
    picked = picks.components_of(*head)
    held = float(energy[picked].sum()) if picked else 0.0
    st.markdown(
        f"##### Components of {head_name(head)}",
        help="Eigenvectors of the mean of δz δzᵀ over tokens: the directions of RestoreLCC's SVD (Eq. 3), strongest "
        "first, not centred, because a shift of the mean is loss too.",
    )
    frame = workspace.lost.to_pandas().query(f"layer == {head[0]} and head == {head[1]}")
    controls.figure(
        component_charts.scree(energy, picked, here.component, colours(state.dark())),
        "scree",
        f"Bars of the lost energy of each component of {head_name(head)}; the strongest holds {float(energy[0]):.0%}.",
        frame.assign(cumulative=frame["energy"].cumsum(), picked=frame["component"].isin(picked)),
        on_select=_bar_selected,
        modes=("points",),
    )
    st.pills(
        f"Put back ({len(picked)} of {len(energy)}, holding {held:.0%} of the lost energy)",
        list(range(len(energy))),
        format_func=lambda i: f"{i} {here.names[(*head, i)]}" if (*head, i) in here.names else str(i),
        selection_mode="multi",
        wrap=True,
        help="Ticked components are put back with their mean magnitude α. A bar of the chart shows a component.",
        **controls.mirrored("ticks", picked, lambda chosen: _ticked(head, chosen)),
    )
    with st.container(horizontal=True, key="quick"):
        counts = {0: "None", 1: "First", 4: "First 4", 8: "First 8"}
        counts = {count: label for count, label in counts.items() if count < len(energy)} | {len(energy): "All"}
        for count, label in counts.items():
            st.button(
                label,
                key=f"quick-{count}",
                on_click=lambda count=count: state.choose(state.picks().of_head(*head, range(count))),
                disabled=picked == list(range(count)),
            )


def _ticked(head: Head, chosen: list[int]) -> None:
    new = set(chosen) - set(state.picks().components_of(*head))
    if new:
        state.session().component = max(new)
    state.choose(state.picks().of_head(*head, chosen))


def _bar_selected() -> None:
    points = controls.selected_points("scree")
    if points:
        state.session().component = points[0][0]


def detail(workspace: Workspace, head: Head) -> None:
    """One component: how much, how often, what it reads and what it writes."""
    here, lost = state.session(), workspace.lost
    index = min(here.component, lost.shape[2] - 1)
    pick = (*head, index)
    alpha, energy = float(lost.magnitude[pick]), float(lost.energy[pick])
    rms = float(lost.variance[pick]) ** 0.5
    with st.container(horizontal=True, vertical_alignment="center", key="component-title"):
        st.markdown(f"##### Component {index}", width="stretch")
        st.text_input(
            "Name of the component",
            placeholder="Name it",
            max_chars=LONGEST,
            label_visibility="collapsed",
            width=220,
            **controls.mirrored("component-name", here.names.get(pick, ""), lambda name: state.call(pick, name)),
        )
    columns = st.columns(3)
    columns[0].metric("Lost energy", f"{energy:.1%}", help="Its share of the head's squared lost activation.")
    columns[1].metric(
        "Mean α",
        signed(alpha, 3),
        help="Mean over tokens of δz·v, in activation units: what a constant puts back (Eq. 4).",
    )
    share = alpha**2 / rms**2 if rms > 0 else 0.0
    columns[2].metric(
        "Constant part",
        f"{share:.0%}",
        help="α² / mean (δz·v)²: how much of this component's energy is the same at every token. Only that part can a "
        "constant bring back; the rest changes from token to token.",
    )
    factor = state.picks().factor(pick)
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
        f"Puts back {signed(alpha * factor, 3)} activation units along v{index} at every token."
        if picked
        else "Not picked: nothing of it is put back."
    )
    _promised(workspace, pick, alpha)
    reads_and_writes(workspace, head, index)


def _promised(workspace: Workspace, pick: tuple[int, int, int], alpha: float) -> None:
    """What the component is predicted to do, now and at its best magnitude, and the button that takes that."""
    effect: PredictedEffect | None = scores.known(workspace.recipe, "effect")
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


def reads_and_writes(workspace: Workspace, head: Head, index: int) -> None:
    """The tokens where it is strongest, the vocabulary it moves, and its like in other layers."""
    reads, writes, others = st.tabs(["Where it is lost", "What it writes", "In other layers"])
    with reads:
        rows = []
        for moment in cache.moments(workspace.recipe, *head, index, 8, workspace):
            parts = [html.escape(part).replace("\n", " ↵ ") for part in (moment.before, moment.token, moment.after)]
            rows.append(
                f'<div class="context"><span class="value">{signed(moment.value, 2)}</span> '
                f"{parts[0]}<b>{parts[1]}</b>{parts[2]}</div>"
            )
        st.caption("δz·v, in activation units, at the sampled tokens where it is largest.")
        st.html("".join(rows))
    with writes:
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
    with others:
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


def plane(workspace: Workspace, head: Head) -> None:
    """PCA of the differences, and the two clouds on its axes."""
    here = state.session()
    view = cache.projection(workspace.recipe, *head, workspace)
    names = cache.sample_contexts(workspace.recipe, workspace)
    picked = state.picks().components_of(*head)
    st.markdown(
        f"##### Sampled tokens of {head_name(head)}, seen flat",
        help="Principal components (scikit-learn) of the differences about their mean. The head's own components are "
        "not centred, so a v need not lie along an axis.",
    )
    kind = st.segmented_control(
        "Show",
        ["Differences", "Dense and pruned"],
        default="Differences",
        required=True,
        key="plane-kind",
        persist_state="session",
        label_visibility="collapsed",
    )
    look = colours(state.dark())
    if kind == "Differences":
        chart = component_charts.differences(view, names, picked, here.component, look)
        alt = f"Differences of {len(names)} tokens on two principal axes, with directions of components."
    else:
        chart = component_charts.clouds(view, names, look)
        alt = f"Dense and pruned activations of {len(names)} tokens on the principal axes of their differences."
    frame = pd.DataFrame({"token": names})
    for name in ("lost", "dense", "pruned"):
        frame[[f"{name}_1", f"{name}_2"]] = getattr(view, name)
    controls.figure(chart, "plane", alt, frame)
