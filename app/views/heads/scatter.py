"""Heads on two measures: what is the largest loss need not be what is worth repairing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import streamlit as st
import torch

from restorelcc.selection.scores import Measure
from restorelcc.workspace import Workspace

from ...charts.heads import Axis, agreement, head_scatter
from ...session import measures, state
from ...session.axes import DEPTH, Axes
from ...values.colours import colours
from ...values.words import signed
from ...widgets import computing, controls
from ...work import scores

LAYER = Measure(name=DEPTH, title="Layer", brief="how deep the head lies", unit="layer", scale="plain")


def section(workspace: Workspace) -> None:
    """The scatter and the controls of its axes; for a measure that is not computed yet, what that takes."""
    st.markdown(
        "##### Heads on two measures",
        help="Every point is a head. What a measure would have you look at first lies to the right, or at the top. "
        "A click looks at a head; a box adds the heads in it to the picks.",
    )
    _controls()
    axes = state.session().axes
    missing = [name for name in dict.fromkeys((axes.x, axes.y, axes.colour)) if not _known(workspace, name)]
    if missing:
        _ask(workspace, missing[0])
        return
    x, y = _axis(workspace, axes.x, axes.log_x), _axis(workspace, axes.y, axes.log_y)
    colour = _axis(workspace, axes.colour)
    session = state.session()
    picked, box = list(state.picks().by_head()), session.mouse == "box"
    frame = workspace.loss.to_pandas()[["layer", "head"]]
    frame = frame.assign(**{axis.measure.name: axis.values for axis in (x, y, colour) if axis.measure.name != DEPTH})
    controls.figure(
        head_scatter(x, y, colour, colours(state.dark()), picked, session.head, box),
        "head-scatter",
        f"Scatter of heads by {x.measure.title.lower()} and {y.measure.title.lower()}. {_reading(x, y)}",
        frame,
        on_select=lambda: _selected(workspace),
    )
    st.caption(_reading(x, y))


def _controls() -> None:
    """Two axes and a colour to choose, each axis linear or logarithmic where it can be."""
    offered = measures.rows()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="axes"):
        for field, label in (("x", "Across"), ("y", "Up"), ("colour", "Colour")):
            names = [*offered] if field != "colour" else [DEPTH, *offered]
            now = getattr(state.session().axes, field)
            st.selectbox(
                label,
                names,
                format_func=lambda name: LAYER.title if name == DEPTH else offered[name].title,
                width=165,
                **controls.mirrored(f"axis-{field}", now if now in names else names[0], _set(field)),
            )
        for field, label in (("x", "Log across"), ("y", "Log up")):
            measure, log = offered.get(getattr(state.session().axes, field)), f"log_{field}"
            signed_values = measure is not None and measure.scale == "change"
            st.checkbox(
                label,
                disabled=signed_values,
                help="It lies on both sides of 0." if signed_values else "Leaves out heads at 0 or below.",
                **controls.mirrored(f"log-{field}", getattr(state.session().axes, log), _set(log)),
            )


def _set(field: str) -> Callable[[object], None]:
    def change(value: object) -> None:
        session = state.session()
        session.axes = replace(session.axes, **{field: value})  # type: ignore[arg-type]

    return change


def _known(workspace: Workspace, name: str) -> bool:
    return name == DEPTH or (name in measures.rows() and measures.table(workspace, name) is not None)


def _ask(workspace: Workspace, name: str) -> None:
    """What a measure takes that is not there yet. name: of one that is computed, or of an own one that is gone."""
    row = measures.rows().get(name)
    if row is None:
        state.session().axes = Axes()
        st.rerun()
    st.caption(
        f"**{row.title}** says: {row.brief}. Once it is known, this shows how little the largest loss says of what is "
        "worth repairing, or how much."
    )
    computing.asked(
        scores.key(workspace, name),
        "scatter",
        row.computation.cost,
        f"Compute {row.title.lower()}",
        lambda: scores.submit(workspace, name, state.session().owner, row.title),
    )


def _axis(workspace: Workspace, name: str, log: bool = False) -> Axis:
    layers, heads, _ = workspace.lost.shape
    if name == DEPTH:
        return Axis(LAYER, torch.arange(layers).double()[:, None].expand(layers, heads))
    table, row = measures.table(workspace, name), measures.row(name)
    if table is None:
        raise LookupError(f"{name} is drawn before it is computed")
    return Axis(row, table, log and row.scale != "change")


def _reading(x: Axis, y: Axis) -> str:
    """What the scatter says, in a sentence."""
    rho, count = agreement(x, y)
    if math.isnan(rho):
        return "Too few heads are known of both to say whether they agree."
    first, second = x.measure.title.lower(), y.measure.title.lower()
    if rho > 0.5:
        says = f"what comes first by {first} mostly comes first by {second} too"
    elif rho < -0.5:
        says = f"what comes first by {first} mostly comes last by {second}"
    else:
        says = f"what comes first by {first} says little of what comes first by {second}"
    return f"Rank correlation {signed(rho, 2)} over {count} heads: {says}."


def _selected(workspace: Workspace) -> None:
    heads = [(point[0], point[1]) for point in controls.selected_points("head-scatter")]
    if len(heads) == 1 and state.session().mouse == "look":
        state.look_at(heads[0])
    elif heads:
        state.pick_heads(workspace, heads)
