"""Ways to make a model sparse or narrow: a file a method, calibrated layer by layer.

layerwise: METHODS, prune, Pruning, STRUCTURED
sparsity: MatrixSparsity, measure_sparsity, SparsityReport
"""
