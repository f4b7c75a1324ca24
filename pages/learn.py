"""Learn: the method in six steps, each with a figure of the embedded pair, and one beyond; formulas, glossary."""

import streamlit as st

from app.views.learn import (
    beyond,
    constant,
    folding,
    introduction,
    lost_activation,
    pruning,
    reference,
    training,
)

source = introduction.source()
presented = introduction.presented()
if presented:
    body = st.container(key="learn-presented")
else:
    introduction.section(source)
    aside, body = st.columns([2, 10], gap="large")
    with aside:
        introduction.contents()
with body:
    if introduction.shown(1):
        pruning.step(source)
    head = lost_activation.step(source) if introduction.shown(2) else None
    if introduction.shown(3):
        lost_activation.directions(source, head or lost_activation.in_view(source))
    if introduction.shown(4):
        constant.step(source, head or lost_activation.in_view(source))
    if introduction.shown(5):
        training.step(source)
    if introduction.shown(6):
        folding.step(source)
    if introduction.shown(7):
        beyond.step()
    if not presented:
        reference.formulas()
        reference.glossary()
        reference.sources()
if presented:
    introduction.turning()
