"""Which of the runs that are kept are listed, and all that is known of these as a table to take away."""

from __future__ import annotations

import streamlit as st

from restorelcc.artifacts.runs import Run

from ...values import run_facts
from ...values.verbatim import visible

ALL = "All pairs"


def section(runs: list[Run]) -> list[Run]:
    """Controls above the table; returns the runs that pass, all where none does, which is said."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="run-filters"):
        pairs = sorted({run_facts.pair_of(run) for run in runs} - {""})
        pair = st.selectbox("Pair", [ALL, *pairs], key="filter-pair", width=220)
        known = sorted({visible(tag) for run in runs for tag in run_facts.tags(run)})
        wanted = st.multiselect("Tags", known, key="filter-tags", width=220) if known else []
        words = st.text_input("In names and notes", key="filter-words", width=200)
        starred = st.toggle("Starred", key="filter-star")
        passing = [
            run
            for run in runs
            if pair in (ALL, run_facts.pair_of(run))
            and set(wanted) <= set(map(visible, run_facts.tags(run)))
            and words.lower() in f"{run.name} {run_facts.known(run, 'note') or ''}".lower()
            and (not starred or run_facts.known(run, "star") is True)
        ]
        shown = passing or runs
        st.download_button(
            "CSV",
            data=lambda: run_facts.table(shown, run_facts.SETTINGS, {}).to_csv(index=False),
            file_name="runs.csv",
            mime="text/csv",
            key="runs-csv",
            icon=":material/download:",
            on_click="ignore",
            help="The runs listed, with all their settings.",
        )
    if not passing:
        st.info("No run passes these filters: all are listed.", icon=":material/filter_alt_off:")
    elif len(passing) < len(runs):
        st.caption(f"{len(passing)} of {len(runs)} runs are listed.")
    return shown
