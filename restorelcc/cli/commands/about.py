"""What the command line knows of a run before it has figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...artifacts.export import made_for
from ...hf.narrow import pruning_record
from ...models.pair import ModelPair
from ...text.calibration import held_out_remark
from ...text.overlap import sketch
from ...text.tokens import Tokens

JUDGED_BY = "held-out windows of the text trained on, which also chose the best step"


def about_run(pair: ModelPair, source: str, training: Tokens, held_out: Tokens, notes: Sequence[str]) -> dict[str, Any]:
    """As `save_run` takes it. source: of the text trained on; notes: on it as it was read."""
    remarks = [*notes, *filter(None, [held_out_remark(training, held_out)])]
    text = {"source": source, "windows": len(training), "length": training.ids.shape[1], "notes": remarks}
    return {
        "dense": pair.dense_name,
        "pruned": pair.pruned_name,
        "notes": pair.remarks(),
        "pruning": pruning_record(pair.pruned),
        **made_for(pair.pruned),
        "evaluation": JUDGED_BY,
        "calibration": text,
        "sketch": sketch([training, held_out]),
    }
