"""A closer look, below the map of the Heads page: kinds of heads, predictions by depth, the text that was
hit, heads before and after, and two pairs in step.

looks: section
"""
