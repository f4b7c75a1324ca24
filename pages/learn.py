"""Learn: the method in six steps, each with a live figure of the embedded pair; formulas, glossary, sources."""

import streamlit as st

from app import learn_repair_views, learn_views

workspace = learn_views.embedded_pair()
learn_views.introduction(workspace)
if workspace is not None:
    learn_views.pruning(workspace)
    head = learn_views.lost_activation(workspace)
    learn_views.components(workspace, head)
    learn_repair_views.constant(workspace, head)
    learn_repair_views.training(workspace)
    folding = st.container()
# What takes no computing comes first; the last step waits for the models.
learn_views.formulas()
learn_views.glossary()
learn_views.sources()
if workspace is not None:
    with folding:
        learn_repair_views.folding(workspace)
