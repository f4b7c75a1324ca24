"""The table of methods that a restoration is compared with."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...registry import Choice, lazily, markdown, table

if TYPE_CHECKING:
    from ...progress import Progress
    from .rival import Rival, Task


@dataclass(frozen=True, kw_only=True)
class Method(Choice):
    """A way to repair a pruned model."""

    source: str
    """Who published it."""
    run: Callable[[Task], Generator[Progress, None, Rival]]
    trains: bool = True
    """Whether it takes steps; else it is solved for."""
    ours: bool = False
    """Whether it is what this package does unless something else is asked for."""


HERE = "restorelcc.restoration.baselines"

METHODS = table(
    Method(
        name="restorelcc",
        title="Constants",
        brief="a constant per head, distilled: ours",
        definition="A constant per head, trained towards the dense model's distribution of the next token. It folds "
        "into a bias.",
        source="Feng et al. 2025, trained our way",
        run=lazily(f"{HERE}.ours:constants"),
        ours=True,
    ),
    Method(
        name="weights",
        title="Surviving weights",
        brief="every weight that survived, zeros in their places, distilled: ours",
        definition="All surviving weights of the decoder layers, trained towards the dense model's distribution; every "
        "zero stays.",
        source="as in Zimmer et al. 2023 and Guo et al. 2024, distilled",
        run=lazily(f"{HERE}.ours:weights"),
        ours=True,
    ),
    Method(
        name="paper",
        title="RestoreLCC as published",
        brief="a constant per head by the published recipe, cross-entropy",
        definition="A constant per head as the public code trains it (the preset `paper`): cross-entropy, rate 1e-3 in "
        "activation units, β and b from N(0, 1e-3) and in bfloat16, clipped gradients, the last step.",
        source="Feng et al. 2025",
        run=lazily(f"{HERE}.ours:paper"),
    ),
    Method(
        name="lora",
        title="LoRA",
        brief="low rank beside every linear map, by peft",
        definition="W + (α / r) B A beside every linear map of the decoder layers, r = 8, α = 16. Merged, it fills the "
        "zeros; beside them, it costs a forward pass two thin products a map.",
        source="Hu et al. 2021 (arXiv 2106.09685)",
        run=lazily(f"{HERE}.adapters:lora"),
    ),
    Method(
        name="dora",
        title="DoRA",
        brief="LoRA with magnitudes of its own, by peft",
        definition="LoRA on the direction of every weight column, its magnitude trained apart.",
        source="Liu et al. 2024 (arXiv 2402.09353)",
        run=lazily(f"{HERE}.adapters:dora"),
    ),
    Method(
        name="lofit",
        title="LoFiT",
        brief="a scale and a bias on what heads put out",
        definition="z′ = (1 + a) ⊙ z + v, a and v [d_head] of every head. It folds into the columns of the output "
        "projection and its bias.",
        source="Yin et al. 2024 (arXiv 2406.01563)",
        run=lazily(f"{HERE}.lofit:lofit"),
    ),
    Method(
        name="mean-bias",
        title="Mean bias",
        brief="what each matrix lost of the mean, as a bias; not trained",
        definition="For every linear map of the decoder layers a bias (W_dense − W_pruned) E[x], of the inputs x that "
        "it has once all layers below are repaired.",
        source="in FLAP's manner: An et al. 2023 (arXiv 2312.11983)",
        run=lazily(f"{HERE}.mean_bias:mean_bias"),
        trains=False,
    ),
    Method(
        name="perp",
        title="Biases and norms",
        brief="all vectors of the model: norms, and biases where it has them",
        definition="All vectors among the parameters: the weights of norms, and biases where the model has any.",
        source="PERP: Zimmer et al. 2023 (arXiv 2312.15230)",
        run=lazily(f"{HERE}.norms:norms"),
    ),
    Method(
        name="masked-lora",
        title="LoRA under the mask",
        brief="low rank on the weights that survived, which merges",
        definition="W + M ⊙ (α / r) B A of every linear map of the decoder layers, r = 8, α = 16, M where W is not "
        "zero: it merges and leaves every zero.",
        source="PERP's MaskLoRA: Zimmer et al. 2023 (arXiv 2312.15230)",
        run=lazily(f"{HERE}.adapters:masked_lora"),
    ),
    Method(
        name="eora",
        title="EoRA",
        brief="what pruning took, low rank where inputs are large; not trained",
        definition="The best product of rank 8 for (W_dense − W_pruned) X, in the eigenvectors of the inputs' second "
        "moment, of every linear map of the decoder layers; kept beside the zeros.",
        source="Liu et al. 2024 (arXiv 2410.21271)",
        run=lazily(f"{HERE}.eora:eora"),
        trains=False,
    ),
    Method(
        name="ridge",
        title="Ridge",
        brief="surviving weights solved for, a matrix at a time; not trained",
        definition="Every row of every matrix: the surviving weights that come nearest, on the inputs of the repaired "
        "model, to what the dense row gives; ridge of 1 % of the inputs' mean square.",
        source="least squares under the mask; OBS, Hassibi and Stork 1993",
        run=lazily(f"{HERE}.ridge:ridge"),
        trains=False,
    ),
)


def methods_table() -> str:
    """As README lists them."""
    rows = ([f"`{row.name}`", row.title, row.brief, row.source] for row in METHODS.values())
    return markdown(["method", "", "what it does", "source"], rows)
