"""What else repairs a pruned model, to be held against what we do: one file a method, one table of them.

All are given the same pair, text, steps and seed, and give a model that computes the result (`rival`). Whoever wants to
know what a method costs at inference asks for its model with everything in its weights, and counts its zeros.
"""
