"""Pruning: one file a method, one driver, one measure."""

from .layerwise import METHODS, STRUCTURED, Pruning, prune
from .sparsity import MatrixSparsity, Pattern, SparsityReport, measure_sparsity

__all__ = [
    "METHODS",
    "STRUCTURED",
    "MatrixSparsity",
    "Pattern",
    "Pruning",
    "SparsityReport",
    "measure_sparsity",
    "prune",
]
