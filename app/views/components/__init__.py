"""The Components page: what one head lost, direction by direction, and strategies that pick over all heads.

effect: effect
energy_map: energy_map
one_component: detail
one_head: chosen_head, plane, scree
strategies: strategies
"""
