"""From the name of a text source to tokens: reading files and datasets, cutting windows, marking what is scored, and
text that the dense model writes itself.

calibration: calibration_tokens, check_embedded, DEFAULT_WINDOWS, ELSEWHERE_WINDOWS, evaluation_apart, judged_on,
    evaluation_tokens, held_out_remark, LONGEST_WINDOW, sampled_windows, split_held_out, window_length
contrast: contrast_items, ContrastItem
files: has_rows, json_lines, located, rows
generate: generate
overlap: BENIGN, share_sketched, sketch
records: clean, Row
sources: check_named, DEMO, EVERYDAY, has_parts, HUB, same_text, SELF
spelling: known_tokens, readable, token_string, token_strings
tokens: as_text, encoded, lead, led, read_together, token_ids, Tokens, whole, windows
"""
