"""How the Learn page begins, its contents, and what its steps share: the pair that they are of, their frame, terms that
explain themselves, choices that the link keeps, and one step a screen for a room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from restorelcc.artifacts.findings import Recipe
from restorelcc.workspace import Workspace

from ...session import address, state
from ...values.verbatim import in_html
from ...widgets import controls
from ...work import lessons, open_pairs
from . import known_lessons
from .reference import GLOSSARY

T = TypeVar("T")
MAP = 500  # pixels: a map has square cells, so more width would only push its colour bar away
STEPS = {
    1: ("Pruning changes what heads compute", 2),
    2: ("The difference is the lost activation", 1),
    3: ("The loss has directions", 1),
    4: ("What can be put back is a constant", 2),
    5: ("Train the constants", 3),
    6: ("A constant folds into a bias", 1),
    7: ("Beyond the constant", 2),
}
"""(title, minutes) by number."""
ROOM = {2: 1.5, 3: 1.7, 4: 0.9, 5: 1.7, 6: 1.5, 7: 1.6}
"""How much higher figures are in a presentation, so that a step fills its screen, and no more."""


@dataclass(frozen=True)
class Source:
    """What the steps' figures are of."""

    facts: lessons.Facts
    workspace: Workspace | None
    """The embedded pair; None while it is not open."""
    known: bool
    """Whether what takes computing is known beforehand: not where another model stands in for the embedded one."""


def source() -> Source:
    """The embedded pair as it comes, whatever pair the session looks at, and whether it is open or not."""
    known, workspace = known_lessons.facts(), open_pairs.workspace(Recipe())
    if workspace is None:
        return Source(known, None, True)
    own = lessons.facts(workspace)
    same = (own.shape, own.parameters, own.pruned_name) == (known.shape, known.parameters, known.pruned_name)
    return Source(own, workspace, same)


def presented() -> int:
    """The step that alone is on the screen; 0 where all are, below each other."""
    return chosen("step", list(STEPS), 0)


def shown(number: int) -> bool:
    """Whether a step is on the screen."""
    return presented() in (0, number)


def section(source: Source) -> None:
    """What the page is about, and what its figures are of."""
    st.markdown("### How lost component compensation works")
    st.markdown(
        "Pruning sets many of a language model’s weights to zero: it gets smaller, and somewhat worse. "
        "RestoreLCC asks what every attention head stopped computing, and puts part of it back as one constant "
        "vector per head, without making a single zero non-zero. Six steps show how, in ten minutes; a seventh looks "
        "beyond."
    )
    layers, heads, _ = source.facts.shape
    other = "" if state.session().recipe == Recipe() else " It is not the pair in the header above."
    measured = "Figures were measured beforehand" if source.known else "Figures are computed here"
    st.caption(
        f"{measured}, on the embedded pair unless marked otherwise: a Llama of "
        f"{source.facts.parameters / 1e6:.1f} M parameters that writes children’s stories, {layers} layers of "
        f"{heads} heads, and the same pruned ({source.facts.pruned_name}).{other} Terms with dots below them explain "
        "themselves under the mouse, a finger or the Tab key."
    )


def contents() -> None:
    """The steps, each with the minutes that it takes, and the way to a screen for each."""
    with st.container(key="learn-contents"):
        rows = [
            f"[{number}. {title}](#{number}-{_slug(title)})\u00a0·\u00a0{took}\u00a0min"
            for number, (title, took) in STEPS.items()
        ]
        rows += ["[Formulas](#formulas)", "[Glossary](#glossary)", "[Sources](#sources)"]
        st.markdown("\n\n".join(rows))
        st.button(
            "Present",
            key="learn-present",
            icon=":material/slideshow:",
            on_click=_present,
            args=(1,),
            help="One step a screen, in larger type. Arrow keys turn the pages.",
        )


def _slug(title: str) -> str:
    return title.lower().replace(" ", "-")


def _present(number: int) -> None:
    keep("step", str(number) if number else "")


def turning() -> None:
    """In a presentation: the way to the steps before and after, and out of it."""
    number = presented()
    with st.container(key="learn-turning", horizontal=True, vertical_alignment="center", horizontal_alignment="center"):
        st.button(
            "Previous",
            key="learn-previous",
            icon=":material/arrow_back:",
            shortcut="Left",
            on_click=_present,
            args=(number - 1,),
            disabled=number - 1 not in STEPS,
        )
        st.markdown(f"{number} of {len(STEPS)}", width="content")
        st.button(
            "Next",
            key="learn-next",
            icon=":material/arrow_forward:",
            shortcut="Right",
            on_click=_present,
            args=(number + 1,),
            disabled=number + 1 not in STEPS,
        )
        st.button("All steps", key="learn-read", icon=":material/view_agenda:", on_click=_present, args=(0,))


def places(number: int) -> tuple[DeltaGenerator, DeltaGenerator]:
    """The places for the words (left) and the figure (right) of a step."""
    left, right = st.columns([5, 7], gap="large")
    return left, right


def heading(number: int) -> None:
    """Of a step."""
    if not presented() and number > 1:
        st.divider()
    st.markdown(f"#### {number}. {STEPS[number][0]}")


def term(name: str, shown: str = "") -> str:
    """A term of the glossary where it first stands, in HTML: its meaning shows under the mouse, a finger, or the Tab
    key. shown: the word as the sentence has it."""
    meaning = in_html(GLOSSARY[name].replace("$", ""))
    return (
        f'<span class="term" tabindex="0" data-term="{in_html(name)}">{shown or name.lower()}'
        f'<span role="tooltip">{meaning}</span></span>'
    )


def written(text: str) -> None:
    """Markdown of ours, with terms in it."""
    st.markdown(text, unsafe_allow_html=True)


def choice(name: str, options: Sequence[T], default: T, text: Callable[[T], str] = str) -> dict[str, Any]:
    """Arguments that make a widget show which of `options` was chosen, by the link or before, and keep it in the link.
    text: an option as the link has it."""
    return controls.mirrored(
        f"learn-{name}",
        chosen(name, options, default, text),
        lambda new: keep(name, "" if new == default or new is None else text(new)),
    )


def chosen(name: str, options: Sequence[T], default: T, text: Callable[[T], str] = str) -> T:
    """Which of `options` was chosen, by the link or before. text: an option as the link has it."""
    kept = state.session().lesson.get(name)
    return next((option for option in options if text(option) == kept), default)


def keep(name: str, value: str) -> None:
    """Remember a choice, and write it into the link: a step that runs by itself does not come to the end of the page,
    where that is done. value: empty for what is so anyway."""
    lesson = {key: value for key, value in state.session().lesson.items() if key != name}
    state.session().lesson = lesson | ({name: value} if value else {})
    address.write()


def figure(chart: go.Figure, key: str, alt: str, table: pd.DataFrame) -> None:
    """As elsewhere; in a presentation with letters that are read from the last row."""
    number = presented()
    if number:
        room, chart = ROOM.get(number, 1.0), go.Figure(chart)
        chart.update_layout(font_size=18, legend_font_size=17, height=int(room * chart.layout.height))
        chart.update_xaxes(tickfont_size=17, title_font_size=18)
        chart.update_yaxes(tickfont_size=17, title_font_size=18)
    controls.figure(chart, key, alt, table)
