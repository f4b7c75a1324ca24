"""The Learn page: the method in six steps, each with a live figure of the embedded pair; then what to look up.

introduction: embedded_pair, places, section
pruning, lost_activation, components, constant, training, folding: step (1 to 6)
longer_trainings: section (below step 5), of known_figures
reference: formulas, glossary, sources
"""
