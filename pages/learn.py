"""Learn: the method in six steps, each with a live figure of the embedded pair; formulas, glossary, sources."""

import streamlit as st

from app.views.learn import (
    components,
    constant,
    folding,
    introduction,
    lost_activation,
    pruning,
    reference,
    training,
)

workspace = introduction.embedded_pair()
introduction.section(workspace)
if workspace is not None:
    pruning.step(workspace)
    head = lost_activation.step(workspace)
    components.step(workspace, head)
    constant.step(workspace, head)
    training.step(workspace)
    last_step = st.container()
# What takes no computing comes first; the last step waits for the models.
reference.formulas()
reference.glossary()
reference.sources()
if workspace is not None:
    with last_step:
        folding.step(workspace)
