"""Which comparison is in view: one that is kept, one that came along, or one of a file."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from restorelcc.artifacts.experiments import Experiment, discard_experiment, given_experiment, keep_experiment
from restorelcc.artifacts.findings import Recipe
from restorelcc.errors import RestoreLCCError

from ....session import state
from ....values.verbatim import shortened, visible
from ....values.words import short_name
from ....widgets import controls, feedback
from ....work import allowed
from ....work.neighbours import comparing

GIVEN, REFUSED, DELETED = "neighbours-given", "neighbours-refused", "neighbours-deleted"
"""Where the session keeps what a file said, why one was not taken, and what was deleted last."""


def known() -> dict[str, Experiment]:
    """All comparisons that can be looked at, by name: that of a file first, then the newest first."""
    kept, wrong = comparing.there()
    for line in wrong:
        st.caption(f"A comparison cannot be read: {visible(line)}")
    given = st.session_state.get(GIVEN)
    found: dict[str, Experiment] = {} if given is None else {"given": given}
    for index, each in enumerate(kept):
        found[each.file.name if each.file is not None else f"shipped-{index}"] = each
    return found


def of_pair(found: Mapping[str, Experiment], recipe: Recipe) -> Experiment | None:
    """The newest that was made on this pair."""
    return next((each for each in found.values() if comparing.is_of(each, recipe)), None)


def in_view(found: Mapping[str, Experiment]) -> Experiment | None:
    """The one that is chosen, else the newest of the pair in view, else the newest; and the controls."""
    recipe = state.session().recipe
    of_the_pair = [name for name, each in found.items() if comparing.is_of(each, recipe)]
    wanted = [st.session_state.get("neighbours-file"), *of_the_pair, *found]
    name = next((name for name in wanted if name in found), None)
    with st.container(horizontal=True, vertical_alignment="bottom", key="neighbours-which"):
        if name is not None:
            st.selectbox(
                "Comparison",
                list(found),
                format_func=lambda each: title(each, found[each]),
                width=440,
                **controls.mirrored("neighbours-chosen", name, _look),
            )
            _take_away(found[name])
        _upload()
    if (reason := st.session_state.get(REFUSED)) is not None:
        feedback.refused(reason)
    _way_back()
    return None if name is None else found[name]


def title(name: str, found: Experiment) -> str:
    """What it is called in the list: its pair, its budget, when it was made."""
    made = "measured beforehand" if name.startswith("shipped") else "of a file" if name == "given" else ""
    made = made or (found.created.astimezone().strftime("%-d %b, %H:%M") if found.created else "–")
    pair = " → ".join(shortened(short_name(part), 40) for part in found.pair)
    stopped = ", stopped" if found.stopped else ""
    return visible(f"{pair}, {found.budget('steps')} steps, {found.budget('seeds')} seeds ({made}{stopped})")


def _look(name: str) -> None:
    st.session_state["neighbours-file"] = name


def _take_away(found: Experiment) -> None:
    st.download_button(
        "JSON",
        data=found.written,
        file_name="comparison.json",
        mime="application/json",
        key="neighbours-json",
        icon=":material/download:",
        on_click="ignore",
        help="As `compare --json` writes it.",
    )
    if found.file is not None:
        st.button(
            "Delete",
            key="delete-neighbours",
            icon=":material/delete:",
            on_click=_delete,
            args=(found,),
            disabled=not allowed.may_change(found, state.session().owner),
        )


def _upload() -> None:
    with st.popover("Open a file", icon=":material/upload_file:", key="neighbours-open"):
        st.file_uploader(
            "What `compare --json` wrote",
            ["json"],
            key="neighbours-upload",
            on_change=_given,
            help="It is shown in this session alone, and not kept.",
        )


def _given() -> None:
    file = st.session_state.get("neighbours-upload")
    st.session_state[REFUSED] = None
    if file is None:
        return
    try:
        st.session_state[GIVEN] = given_experiment(file.getvalue())
        st.session_state["neighbours-file"] = "given"
    except RestoreLCCError as error:
        st.session_state[REFUSED] = str(error)


def _delete(found: Experiment) -> None:
    with feedback.guarded():
        allowed.check_change(found, state.session().owner)
        discard_experiment(found)
        st.session_state[DELETED] = found


def _way_back() -> None:
    """What was deleted last, with a button that brings it back."""
    deleted: Experiment | None = st.session_state.get(DELETED)
    if deleted is None:
        return
    with st.container(border=True, horizontal=True, vertical_alignment="center", key="deleted-neighbours"):
        st.markdown(":material/delete: Deleted the comparison.", width="content")
        st.button("Undo", key="undo-neighbours", icon=":material/undo:", on_click=_undelete, args=(deleted,))
        st.button("Dismiss", key="dismiss-neighbours", type="tertiary", on_click=st.session_state.pop, args=(DELETED,))


def _undelete(deleted: Experiment) -> None:
    with feedback.guarded():
        if deleted.file is not None:
            keep_experiment(deleted, deleted.file)
        st.session_state.pop(DELETED, None)
