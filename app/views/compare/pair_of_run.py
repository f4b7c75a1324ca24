"""The pair that the run in view was made for: open, or how to open it."""

from __future__ import annotations

import streamlit as st

from restorelcc.artifacts.findings import Recipe
from restorelcc.artifacts.runs import Run
from restorelcc.errors import RestoreLCCError
from restorelcc.workspace import Workspace

from ...session import state
from ...values import run_facts
from ...values.verbatim import in_markdown
from ...values.words import count, model_name
from ...widgets import feedback
from ...work import open_pairs


def workspace_of(run: Run) -> Workspace | None:
    """The run's pair, if it is open on this server."""
    recipe = run_facts.recipe_of(run)
    return None if recipe is None else open_pairs.workspace(recipe)


def pair_of(run: Run) -> Workspace | None:
    """The run's pair where it is open and can be tried on text; else what stands in the way."""
    recipe = run_facts.recipe_of(run)
    if recipe is None:
        feedback.empty(
            f"**{in_markdown(run.name)}** does not say which models it restored, so it cannot be tried on text.",
        )
        return None
    workspace = open_pairs.workspace(recipe)
    if workspace is None:
        _to_open(run, recipe)
        return None
    try:
        shape = run.adapter().geometry
    except RestoreLCCError as error:
        feedback.refused(error)
        return None
    if shape != workspace.findings.geometry:
        feedback.refused(
            f"This run is for {shape}, but the pair of that name has {workspace.findings.geometry}: its models have "
            "changed since. Restore the pair anew."
        )
        return None
    return workspace if feedback.models_there(workspace, "compare") else None


def _to_open(run: Run, recipe: Recipe) -> None:
    """That the run's pair must be open, and the button that opens it."""
    session = state.session()
    opening = session.pending or recipe == session.recipe
    names = " and ".join(name or "–" for name in run_facts.pair_names(run))
    with st.container(border=True, key="open-pair-first"):
        st.markdown(f"To try **{in_markdown(run.name)}** on text, its pair must be open: {in_markdown(names)}.")
        st.button(
            "Open this pair",
            key="open-pair",
            icon=":material/folder_open:",
            disabled=bool(opening),
            help="It is being opened." if opening else "It takes the place of the pair in view.",
            on_click=lambda: setattr(session, "pending", open_pairs.opening(recipe, session.owner).id),
        )


def about(run: Run, workspace: Workspace) -> None:
    """A line that says what the run in view came to."""
    trained = run_facts.number(run, "trained_parameters")
    facts = [
        f"{model_name(workspace.findings.dense_name)}, pruned: {workspace.findings.pruned_name}",
        f"{count(trained)} trained parameters" if trained is not None else "",
        f"{share} of the lost log-likelihood recovered" if (share := run_facts.share(run, "recovered_share")) else "",
        f"nearer to the dense model: {nearer}" if (nearer := run_facts.share(run, "nearer")) else "",
    ]
    st.caption(" · ".join(in_markdown(fact) for fact in facts if fact))
