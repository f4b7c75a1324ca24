"""The Learn page: the method in six steps, each with a live figure of the embedded pair; then what to look up.

introduction: section, contents, turning (in a presentation), and what the steps share
pruning, lost_activation (2 and 3), constant, training, folding, beyond: step (1 to 7)
longer_trainings: section (below step 5), of known_figures
known_lessons: what the steps show at once
reference: formulas, glossary, sources
"""
