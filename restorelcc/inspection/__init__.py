"""A closer look at what pruning took: which kinds of heads there are, whether a head lost where it looks or what it
carries, at which depth the prediction departs, and which passages were hit.

after: After, still_lost
definitions: KINDS, LOOKS, TRAITS
depth: Departure, departure
kinds: head_kinds, HeadKinds, Member, members, OF_A_KIND
origin: Part, patched_in_part
windows: windows
"""
