"""What could come back at all, beside the ceilings of single heads: all heads perfect, all MLPs, trained constants."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from restorelcc.restoration.bounds import CONSTANTS, DENSE, HEADS, MLPS, PRUNED
from restorelcc.workspace import Workspace

from ...charts.neighbours import both_shares
from ...session import state
from ...values.colours import colours
from ...values.words import HELP as HELP_OF
from ...values.words import percent
from ...widgets import controls, feedback
from ...work import scores
from ...work.jobs import State, jobs

TITLE = "What could come back at all"
HELP = (
    "Constants: the best known, one trained for every head on all the calibration text; each is the same at every "
    "token. Heads, MLPs: what they write in the pruned model replaced, token by token, by what they write in the dense "
    "model (activation patching), everything else as pruned. Trained constants may also make up for some of what MLPs "
    "lost, so perfect heads are a yardstick rather than a limit."
)
NAMES = {CONSTANTS: "Constants in all heads", HEADS: "All heads perfect", MLPS: "All MLPs perfect"}
COST = "one restoration of all heads, and one pass over the live set, which is evaluation text, a layer"


def section(workspace: Workspace) -> None:
    """The bounds, or what they take and the button that computes them."""
    bounds = scores.known(workspace.recipe, "bounds")
    st.markdown(f"##### {TITLE}", help=HELP)
    job = jobs.find(scores.bounds_key(workspace))
    if job is not None and (not job.finished or job.state in (State.FAILED, State.CANCELLED)):
        feedback.progress(job)
    if bounds is not None:
        _figure(bounds.to_pandas())
    elif job is None or job.finished:
        st.caption(f"Not computed for this pair yet. It takes {COST}.")
        st.button(
            "Compute",
            key="compute-bounds",
            icon=":material/calculate:",
            on_click=scores.submit_bounds,
            args=(workspace, state.session().owner, TITLE),
        )


def _figure(frame: pd.DataFrame) -> None:
    if frame["recovered_share"].isna().any():
        st.info("On this text the pruned model is no worse than the dense one, so there is nothing to recover.")
        return
    rows = frame[~frame["what"].isin([PRUNED, DENSE])]
    rows = rows.assign(name=[_name(what, layer) for what, layer in zip(rows["what"], rows["layer"], strict=True)])
    shares, nearer = _whole_model(rows, "recovered_share"), _whole_model(rows, "nearer")
    written = {what: f"{percent(share)}, nearer {percent(nearer[what])}," for what, share in shares.items()}
    controls.figure(
        both_shares.bars(rows, colours(state.dark()), marked=(NAMES[CONSTANTS],)),
        "bounds",
        f"Recovered share on the live set: {written[CONSTANTS]} with constants in all heads, {written[HEADS]} with "
        f"all heads perfect, {written[MLPS]} with all MLPs perfect.",
        frame,
    )
    st.caption(
        f"{_reading(shares, nearer)} Lines are one standard error.", help=f"{HELP_OF['share']} {HELP_OF['nearer']}"
    )


def _reading(shares: dict[str, float], nearer: dict[str, float]) -> str:
    """What the shares of the whole model mean. nearer: of its distance to the dense one that is gone."""
    written = {what: percent(share) for what, share in shares.items()}
    near = {what: percent(share) for what, share in nearer.items()}
    if shares[HEADS] < 0:
        heads = (
            f"With every head perfect the model is worse than pruned ({written[HEADS]}): its heads have come to terms "
            "with what its MLPs get wrong, and what dense heads write no longer fits."
        )
    else:
        heads = f"With every head perfect {written[HEADS]} would come back."
    return (
        f"{heads} With every MLP perfect it would be {written[MLPS]}. Constants trained in all heads bring back "
        f"{written[CONSTANTS]}; they are fitted to the pruned model as it is. Nearer to the dense model: {near[HEADS]} "
        f"with every head perfect, {near[MLPS]} with every MLP, {near[CONSTANTS]} with constants."
    )


def _name(what: str, layer: object) -> str:
    return NAMES[what] if layer is pd.NA else f"Heads of layer {layer} perfect"


def _whole_model(rows: pd.DataFrame, share: str) -> dict[str, float]:
    """The shares of this column that are not of one layer alone, by what is made perfect."""
    return dict(rows[rows["layer"].isna()].set_index("what")[share])
