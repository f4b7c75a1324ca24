"""What could come back at all: how far constants reach, and how far even perfect heads would.

Between the pruned and the dense model lie the perplexity with every head's constant trained (a constant ceiling), and
that with whole layers, all heads, or all MLPs patched with the dense model's outputs (see `ceilings`).
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from functools import partial

import pandas as pd

from ..capture.components import LostComponents
from ..compensation.interface import compensated
from ..evaluation.comparison import compare, side_by_side
from ..evaluation.patching import Patch, all_heads, everything, patched
from ..evaluation.perplexity import TokenLoss
from ..models.pair import ModelPair
from ..progress import Progress
from ..selection.picks import everything as everything_picked
from ..text.tokens import Tokens
from .settings import Settings
from .training import prepared

PRUNED, CONSTANTS, HEADS, MLPS, DENSE = "pruned", "constants", "heads", "mlps", "dense"
COLUMNS = [
    "what", "layer", "perplexity", "stderr", "change", "change_stderr", "recovered_share", "share_stderr", "nearer",
    "nearer_stderr",
]  # fmt: skip


@dataclass(frozen=True)
class Bounds:
    """Losses of the same tokens with their distance to the dense model, from nothing put back to everything."""

    pruned: TokenLoss
    constants: TokenLoss
    """A constant trained for every head: the best known, so a little more may be possible."""
    layers: tuple[TokenLoss, ...]
    """All heads of one layer as in the dense model, layer by layer."""
    heads: TokenLoss
    """All heads as in the dense model, MLPs as pruned. A yardstick rather than a limit: trained constants may also make
    up for some of what MLPs lost."""
    mlps: TokenLoss
    """All MLPs as in the dense model, heads as pruned: what is out of reach for heads."""
    dense: TokenLoss

    def to_pandas(self) -> pd.DataFrame:
        """A row each. what: pruned, constants, heads (of one `layer`, or of all: NA), mlps, dense; perplexity with its
        standard error; change of the mean NLL against pruned in nats per token, paired; both shares
        of `Comparison` with their standard errors: recovered, NaN where pruning lost nothing, and nearer."""
        rows: list[tuple[str, int | None, TokenLoss]] = [
            (PRUNED, None, self.pruned),
            (CONSTANTS, None, self.constants),
            *((HEADS, layer, loss) for layer, loss in enumerate(self.layers)),
            (HEADS, None, self.heads),
            (MLPS, None, self.mlps),
            (DENSE, None, self.dense),
        ]
        frame = pd.DataFrame([self._row(*row) for row in rows], columns=COLUMNS)
        return frame.astype({"layer": "Int64"})

    def _row(self, what: str, layer: int | None, loss: TokenLoss) -> tuple[object, ...]:
        found = compare(self.dense, self.pruned, loss)
        shares = [part for share in (found.recovered, found.nearer) for part in (share.value, share.stderr)]
        measured, change = found.restored, found.gain
        return what, layer, measured.value, measured.stderr, change.nats, change.stderr, *shares


def bounds(
    pair: ModelPair,
    lost: LostComponents,
    training: Tokens,
    held_out: Tokens,
    tokens: Tokens,
    settings: Settings | None = None,
) -> Generator[Progress, None, Bounds]:
    """How far what is put back can reach, measured on `tokens`.

    Constants are trained on `training` texts, and their best step is chosen by `held_out` ones. Takes one restoration,
    and one pass over `tokens` a layer. Raises SettingError where every head is gone.
    """
    trainer = yield from prepared(pair, lost, everything_picked(lost.shape), training, held_out, settings)
    for step in trainer.steps():
        yield Progress("training every head's constant", step.step, trainer.settings.steps)
    put_back = trainer.result().compensation
    within = partial(compensated, pair.pruned, put_back)
    _, constants = yield from side_by_side(pair.dense, tokens, [(pair.pruned, within)])
    shape = pair.geometry
    layers = range(shape.n_layers)
    by_layer = [all_heads(shape, layer) for layer in layers]
    patches = [Patch(), *by_layer, all_heads(shape), Patch(mlps=frozenset(layers)), everything(shape)]
    pruned, *each, heads, mlps, dense = yield from patched(pair, tokens, patches, distances=True)
    return Bounds(pruned, constants, tuple(each), heads, mlps, dense)
