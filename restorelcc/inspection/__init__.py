"""A closer look at what pruning took: which kinds of heads there are, whether a head lost where it looks or what it
carries, at which depth the prediction departs, which passages were hit, and two pairs beside each other.

after: After, still_lost
beside: beside, Beside, check_same_shape, rank_correlation
definitions: KINDS, LOOKS, TRAITS
depth: Departure, departure
kinds: head_kinds, HeadKinds, Member, members, OF_A_KIND
origin: Part, patched_in_part
windows: windows
"""
