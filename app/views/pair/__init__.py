"""The Pair page: which models are looked at, and what pruning did to them as a whole.

facts: names_and_shape, report, sizes_and_losses, sparsity
form: section
typed: what the form holds so far, and the recipe that it makes
"""
