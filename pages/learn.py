"""Learn: the method in six steps, each with a live figure of the embedded pair; formulas, glossary, sources."""

import streamlit as st

from app.views.learn import repair, steps

workspace = steps.embedded_pair()
steps.introduction(workspace)
if workspace is not None:
    steps.pruning(workspace)
    head = steps.lost_activation(workspace)
    steps.components(workspace, head)
    repair.constant(workspace, head)
    repair.training(workspace)
    folding = st.container()
# What takes no computing comes first; the last step waits for the models.
steps.formulas()
steps.glossary()
steps.sources()
if workspace is not None:
    with folding:
        repair.folding(workspace)
