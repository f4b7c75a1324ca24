"""Figures of the closer looks on the Heads page, and of what is still lost.

depth: departure, departure_map, departure_table
still: components, on_one_scale
"""
