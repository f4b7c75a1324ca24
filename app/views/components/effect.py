"""What putting back a component of the head in view does to the loss: predicted for all, and measured one by one."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from restorelcc.evaluation.perplexity import Difference
from restorelcc.selection.predicted_effect import PredictedEffect
from restorelcc.selection.scores import SCORES
from restorelcc.workspace import Workspace

from ...charts import components as component_charts
from ...session import state
from ...values.colours import colours
from ...values.picks import Head
from ...values.words import head_name, signed
from ...widgets import controls, feedback
from ...work import scores
from ...work.jobs import jobs

HELP = (
    "What this component alone, at its best magnitude β*, is predicted to do to the loss: slope·β + ½ curvature·β², "
    "from one backward pass for all heads and components at once. Below 0 is better. Dots are measurements on "
    "held-out calibration text, with the standard error of the paired difference. The live set is no help here: it is "
    "part of the text that a restoration is judged by."
)


def compute(workspace: Workspace, place: str) -> None:
    """What the prediction takes, and the button for it; its progress once it is asked for.

    place: where on the page, to tell two buttons apart.
    """
    job = jobs.find(scores.key(workspace, "predicted"))
    if job is not None:
        feedback.progress(job)
    if job is None or job.finished:
        st.caption(f"Not predicted for this pair yet. It takes {SCORES['predicted'].computation.cost}.")
        st.button(
            "Predict the effect of every component",
            key=f"predict-{place}",
            icon=":material/calculate:",
            on_click=scores.submit,
            args=(workspace, "predicted", state.session().owner, SCORES["predicted"].title),
        )


def section(workspace: Workspace, head: Head) -> None:
    """The predicted and measured changes of the loss by component, and the button that measures the others."""
    st.markdown(f"##### What putting back a component of {head_name(head)} does", help=HELP)
    effect: PredictedEffect | None = scores.known(workspace.recipe, "effect")
    if effect is None:
        compute(workspace, "head")
        return
    measured = _measured(workspace, head)
    change = effect.of_component[head]
    best = int(change.argmin())
    frame = _table(effect, head, measured)
    picked, shown = state.picks().components_of(*head), state.session().component
    controls.figure(
        component_charts.effects(frame, picked, shown, colours(state.dark())),
        "component-effects",
        f"Bars of the predicted change of the loss by component of {head_name(head)}; component {best} does most, "
        f"{signed(float(change[best]))} nats per token. {len(measured)} of them are measured.",
        frame,
        on_select=_bar_selected,
        modes=("points",),
    )
    _measuring(workspace, head, len(change) - len(measured))


def _measured(workspace: Workspace, head: Head) -> dict[int, Difference]:
    """What each component of the head does alone, as far as it is measured."""
    alone = scores.known(workspace.recipe, "components")
    return {place[2]: change for place, change in (alone.changes if alone else {}).items() if place[:2] == head}


def _table(effect: PredictedEffect, head: Head, measured: dict[int, Difference]) -> pd.DataFrame:
    """One row a component of the head, as `charts.components.effects` wants it."""
    components = range(len(effect.of_component[head]))
    return pd.DataFrame(
        {
            "component": components,
            "predicted": effect.of_component[head].numpy(),
            "predicted_error": effect.of_component_error[head].numpy(),
            "best_magnitude": effect.best[head].numpy(),
            "measured": [measured[i].nats if i in measured else None for i in components],
            "measured_error": [measured[i].stderr if i in measured else None for i in components],
        }
    )


def _measuring(workspace: Workspace, head: Head, missing: int) -> None:
    """The button that measures the `missing` components, or how far that is."""
    job = jobs.find(scores.components_key(workspace, *head))
    if job is not None:
        feedback.progress(job)
    if job is not None and not job.finished:
        st.fragment(_arrivals, run_every=feedback.ARRIVALS)(workspace, head, missing)
    elif missing:
        st.button(
            f"Measure {missing} components",
            key="measure-components",
            icon=":material/straighten:",
            help="Each alone at its best magnitude, most promising first, on "
            f"{workspace.held_out.count:,} tokens of held-out calibration text.",
            on_click=scores.submit_components,
            args=(workspace, *head, state.session().owner),
        )


def _arrivals(workspace: Workspace, head: Head, missing: int) -> None:
    """Draw anew when more components have been measured."""
    if workspace.lost.shape[2] - len(_measured(workspace, head)) != missing:
        st.rerun()


def _bar_selected() -> None:
    points = controls.selected_points("component-effects")
    if points:
        state.session().component = points[0][0]
