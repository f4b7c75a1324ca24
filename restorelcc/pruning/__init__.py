"""Pruning: one file a method, one driver, one measure."""

from .layerwise import METHODS, Pruning, prune
from .sparsity import MatrixSparsity, Pattern, SparsityReport, measure_sparsity

__all__ = ["METHODS", "MatrixSparsity", "Pattern", "Pruning", "SparsityReport", "measure_sparsity", "prune"]
