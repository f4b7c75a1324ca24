"""The Components page: what one head lost, direction by direction, and strategies that pick over all heads.

beside: section
effect: section
energy_map: section
on_a_passage: section
one_component: section
one_head: chosen, plane, scree, ticks
still_lost: section
strategies: section
"""
