"""Ways to make a model sparse or narrow: a file a method, calibrated layer by layer.

inputs: Batch, matrix_inputs
layerwise: prune, Pruning
methods: ALLOCATIONS, METHODS, narrows, ROUNDINGS
sparsity: MatrixSparsity, measure_sparsity, SparsityReport, zeros_kept
stream: Stream
"""
