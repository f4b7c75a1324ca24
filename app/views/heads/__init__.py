"""The Heads page: what every head lost, as a map and a ranking; the head in view; what could come back at all.

all_heads: loss_map
arriving: section
bounds: section
own: section
panel: beside_the_map, ranking, reading
scatter: section
score: available
in closer/: looks: section
"""
