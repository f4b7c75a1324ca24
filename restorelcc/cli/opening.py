"""What commands begin with: calibration text, the pair, and the order of heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from .. import face
from ..errors import SettingError
from ..hf.layout import remarks
from ..models.loading import Loading
from ..models.pair import ModelPair
from ..progress_bar import watched
from ..selection.own import OwnScore, own_file
from ..selection.scores import SCORES, ScoreInputs
from ..selection.scoring import score_heads
from ..text.calibration import calibration_tokens, held_out_remark
from ..text.tokens import Tokens
from .console import note

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Text:
    """Where calibration text comes from and how much of it is used."""

    source: str
    """Its name, as `text.sources` reads it."""
    windows: int
    """At most."""
    length: int | None
    """Tokens a window; None: the model's context, up to 2 048."""
    seed: int

    def tokens(self, dense: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Tokens:
        """Read, or sampled from `dense`; says what of the text was left out."""
        tokens = watched(calibration_tokens(self.source, dense, tokenizer, self.length, self.windows, self.seed))
        for remark in tokens.notes:
            note(f"{self.source}: {remark}")
        return tokens


def open_pair(dense: str, pruned: str, text: Text, loading: Loading, told: bool = False) -> tuple[ModelPair, Tokens]:
    """Both models and the tokens to calibrate on. told: what lies between them is among the results."""
    pair = face.load_pair(dense, pruned, loading)
    note_pair(pair, told)
    return pair, text.tokens(pair.dense, pair.tokenizer)


def note_model(model: PreTrainedModel) -> None:
    """Say how a model was read."""
    for remark in remarks(model):
        note(remark)


def note_pair(pair: ModelPair, told: bool = False) -> None:
    """Say how a pair was read, and what lies between the two unless it is `told` anyhow."""
    for remark in pair.remarks():
        if not (told and remark in pair.notes):
            note(remark)


def note_held_out(training: Tokens, held_out: Tokens) -> None:
    """Say what the windows that judge the training have in common with those trained on."""
    said = held_out_remark(training, held_out)
    if said:
        note(said)


def own_score_of(file: str, pair: ModelPair) -> OwnScore | None:
    """What a file says of a pair's heads; None where there is no file. Raises SettingError."""
    return own_file(Path(file), (pair.geometry.n_layers, pair.geometry.n_heads)) if file else None


def check_own(file: str, shares: Sequence[float]) -> None:
    """Raises SettingError where an order of heads is given and all are taken."""
    if file and min(shares) == 1:
        raise SettingError(
            "--own says which heads come first, and all of them are to be restored: give --heads below 1 with it, such "
            "as 0.25."
        )


def head_order(score: str, inputs: ScoreInputs, own: OwnScore | None = None) -> Tensor:
    """[layer, head], highest for the head that comes first by one's own score, or by a score of this name. Raises
    SettingError."""
    if own is not None:
        return own.order()
    return SCORES[score].order(watched(score_heads(score, inputs)).values)
