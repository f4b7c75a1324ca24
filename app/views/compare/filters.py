"""Which of the runs that are kept are listed, and all that is known of these as a table to take away."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import streamlit as st

from restorelcc.artifacts.runs import Run

from ...values import run_facts
from ...values.verbatim import visible

ALL = "All pairs"


def passing(
    runs: Sequence[Run], pair: str = ALL, tags: Collection[str] = (), words: str = "", starred: bool = False
) -> list[Run]:
    """Runs of this pair, with all of these tags, with these words in name or note, in capitals or not; or the starred
    among them."""
    return [
        run
        for run in runs
        if pair in (ALL, run_facts.pair_of(run))
        and set(tags) <= set(map(visible, run_facts.tags(run)))
        and words.lower() in f"{run.name} {run_facts.known(run, 'note') or ''}".lower()
        and (not starred or run_facts.known(run, "star") is True)
    ]


def csv_of(runs: Sequence[Run]) -> str:
    """A row a run: figures, all settings, what a person noted."""
    return run_facts.table(runs, run_facts.SETTINGS, {}).to_csv(index=False)


def section(runs: list[Run]) -> list[Run]:
    """Controls above the table; returns the runs that pass, all where none does, which is said."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="run-filters"):
        pairs = sorted({run_facts.pair_of(run) for run in runs} - {""})
        pair = st.selectbox("Pair", [ALL, *pairs], key="filter-pair", width=220)
        known = sorted({visible(tag) for run in runs for tag in run_facts.tags(run)})
        wanted = st.multiselect("Tags", known, key="filter-tags", width=220) if known else []
        words = st.text_input("In names and notes", key="filter-words", width=200)
        starred = st.toggle("Starred", key="filter-star")
        listed = passing(runs, pair, wanted, words, starred)
        shown = listed or runs
        st.download_button(
            "CSV",
            data=lambda: csv_of(shown),
            file_name="runs.csv",
            mime="text/csv",
            key="runs-csv",
            icon=":material/download:",
            on_click="ignore",
            help="The runs listed, with all their settings.",
        )
    if not listed:
        st.info("No run passes these filters: all are listed.", icon=":material/filter_alt_off:")
    elif len(listed) < len(runs):
        st.caption(f"{len(listed)} of {len(runs)} runs are listed.")
    return shown
