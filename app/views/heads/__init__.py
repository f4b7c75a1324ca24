"""The Heads page: what every head lost, as a map and a ranking; the head in view; what could come back at all.

all_heads: loss_map, none_in_view, profile, ranking
bounds: section
one_head: split, spread, title
passage: attention, chosen, tinted
score: available
in closer/: looks: section
"""
