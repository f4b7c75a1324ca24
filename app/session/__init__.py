"""What one browser tab remembers, its link, and what is computed for a view and kept. Every `st.cache_*` is in `cache`.

address: write
axes: Axes, DEPTH
cache: along, alike, departure_on, in_turn, kept_run, merge_check, metrics, moments, nll_of_three, opening, passage_ids,
    projection, reading, sample_contexts, strings_of, vocabulary, words_at
links: applied, fitted, written
measures: drop, errors, order, own, row, rows, table, take, there, turn
state: call, choose, dark, look_at, opened, pick_heads, picks, redo, Session, session, show, undo, workspace
"""
