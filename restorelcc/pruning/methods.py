"""Ways to prune, and ways to spread sparsity over layers: a table each.

Adding a way to zero weights is a file of this wing with one function, and a row here. The command line, the Pair page
and README are drawn from the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..progress import Progress
from ..registry import Choice, lazily, table

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from ..text.tokens import Tokens
    from .sparsity import Pattern

Needs = Literal["nothing", "norms", "hessian"]
"""What a rule wants to know of the inputs X [token, input] of a matrix: nothing, their norms ‖X_j‖₂ [input], or the
Hessian of the squared output error, 2 XᵀX averaged over tokens [input, input]. float32."""


@dataclass(frozen=True, kw_only=True)
class Zeroing(Choice):
    """A rule that chooses single weights to zero, and says what becomes of the others."""

    needs: Needs
    pruned: Callable[[Tensor, Tensor | None, float, Pattern | None], Tensor]
    """Of weights [output, input], what it needs of the inputs, the sparsity, and an n:m pattern if there is one: new
    weights, float32, with that share of them zero, to the nearest whole weight, or the pattern kept to."""
    by_row: bool = False
    """Whether the share is of every row [input], rather than of the matrix."""

    def share(self, width: int, sparsity: float, rounding: str) -> float:
        """The share of rows of so many inputs of which a whole number of weights goes. rounding: of `ROUNDINGS`."""
        return int(width * sparsity) / width if self.by_row and rounding == "down" else sparsity


@dataclass(frozen=True, kw_only=True)
class Narrowing(Choice):
    """A way to take whole heads and MLP channels out, so that matrices become smaller."""

    narrowed: Callable[
        [PreTrainedModel, Tokens, float, int], Generator[Progress, None, tuple[PreTrainedModel, list[list[int]]]]
    ]
    """Of a model, which is used up, calibration text, the share that goes, and texts a pass: the smaller model, and
    [layer][head] the numbers of the query heads that it kept."""


METHODS: dict[str, Zeroing | Narrowing] = table(
    Zeroing(
        name="wanda",
        title="Wanda",
        brief="weighs each weight by its input",
        definition="Wanda (Sun et al., 2306.11695): drops the weights with the smallest |weight| × ‖input‖ in each "
        "row. It reads calibration text, layer by layer.",
        needs="norms",
        by_row=True,
        pruned=lazily("restorelcc.pruning.wanda:pruned"),
    ),
    Zeroing(
        name="sparsegpt",
        title="SparseGPT",
        brief="also lets those that stay make up for those that go",
        definition="SparseGPT (Frantar and Alistarh, 2301.00774): drops the weights that others can best make up for, "
        "and changes those others so that they do. It reads calibration text, layer by layer.",
        needs="hessian",
        pruned=lazily("restorelcc.pruning.sparsegpt:pruned"),
    ),
    Zeroing(
        name="magnitude",
        title="Magnitude",
        brief="drops the smallest, and needs no text",
        definition="Drops the weights of smallest size in each matrix. Needs no text, and loses more.",
        needs="nothing",
        pruned=lazily("restorelcc.pruning.magnitude:pruned"),
    ),
    Narrowing(
        name="structured",
        title="Structured",
        brief="removes heads and MLP channels, for a smaller, faster model",
        definition="Removes whole heads and MLP channels, those that the others can best make up for, in the manner "
        "of SlimGPT (Ling et al., 2412.18110). The model becomes smaller and faster. It reads calibration text.",
        narrowed=lazily("restorelcc.pruning.structured:narrowed"),
    ),
)


def narrows(method: str) -> bool:
    """Whether the method of this name takes heads and channels out, rather than zero weights."""
    return isinstance(METHODS.get(method), Narrowing)


@dataclass(frozen=True, kw_only=True)
class Allocation(Choice):
    """How much of each layer goes."""

    sentence: str = ""
    """For the model card, after the amount."""
    sparsities: Callable[[PreTrainedModel, Tokens, float, int], Generator[Progress, None, list[float]]] | None = None
    """Of a model, calibration text, the sparsity of the whole, and texts a pass: that of every layer; None: the same
    everywhere."""


ALLOCATIONS = table(
    Allocation(
        name="uniform",
        title="The same in every layer",
        brief="the same in every layer",
        definition="As much of every layer goes.",
    ),
    Allocation(
        name="owl",
        title="By outliers (OWL)",
        brief="less where outliers are many",
        definition="OWL (Yin et al., 2310.05175) prunes layers less where more weights stand out by |weight| × "
        "‖input‖. The share of zeros in all stays what is asked for.",
        sentence=", less of layers with many outliers (OWL)",
        sparsities=lazily("restorelcc.pruning.allocation:by_outliers"),
    ),
)

ROUNDINGS = table(
    Choice(
        name="down",
        title="Down",
        brief="a row loses whole weights, the fraction of one stays, as in Wanda's code",
        definition="Of 256 weights 60 % is 153.6: 153 go.",
    ),
    Choice(
        name="nearest",
        title="To the nearest",
        brief="to the nearest whole weight, as the embedded pair has it",
        definition="Of 256 weights 60 % is 153.6: 154 go.",
    ),
)
