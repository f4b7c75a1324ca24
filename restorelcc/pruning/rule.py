"""What every rule that zeroes single weights offers: one file a method, each a module with these two names."""

from typing import Literal, Protocol

from torch import Tensor

from .sparsity import Pattern

Needs = Literal["nothing", "norms", "hessian"]
"""What a rule wants to know of the inputs X [token, input] of a matrix: nothing, their norms ‖X_j‖₂ [input], or the
Hessian of the squared output error, 2 XᵀX averaged over tokens [input, input]."""


class Rule(Protocol):
    """A way to choose weights to zero, and what becomes of the others."""

    NEEDS: Needs

    def pruned(self, weight: Tensor, inputs: Tensor | None, sparsity: float, pattern: Pattern | None) -> Tensor:
        """New weights [output, input], float32, with `sparsity` of them zero or `pattern` kept to.

        inputs: what NEEDS names, float32; None for nothing.
        """
        ...
