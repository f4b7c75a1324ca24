"""A closer look, below the map of the Heads page: kinds of heads.

looks: section
"""
