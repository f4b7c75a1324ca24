"""The Pair page: which models are looked at, and what pruning did to them as a whole.

facts: facts, sparsity
form: form
typed: what the form holds so far, and the recipe that it makes
"""
