"""A closer look at what pruning took: which kinds of heads there are, whether a head lost where it looks or what it
carries, at which depth the prediction departs, and which passages were hit.

depth: Departure, departure
definitions: KINDS, LOOKS, TRAITS
kinds: HeadKinds, head_kinds, Member, members, OF_A_KIND
origin: Part, patched_in_part
"""
