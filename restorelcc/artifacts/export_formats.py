"""The forms in which a restoration leaves: a table. Adding one is a function that writes it, and a row here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..registry import Choice, lazily, table

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ..compensation.interface import Compensation
    from ..models.pair import ModelPair


@dataclass(frozen=True, kw_only=True)
class Format(Choice):
    """A form of export: a folder with a model card."""

    heading: str
    """Of the card, after the name of the base model."""
    sentence: str
    """Of the card: where what is put back is; {carrier}: what of the model carries it."""
    usage: str
    """Of the card: Python that loads it; {pruned}: the pruned model."""
    check: Callable[[Path, ModelPair, str], int]
    """Asked before the training, of the folder, the pair and the kind of compensation: the bytes that it will take.
    Raises WriteError, UnsupportedModel."""
    write: Callable[[Path, PreTrainedModel, PreTrainedTokenizerBase, Compensation, dict[str, Any]], None]
    """Into a folder, whole or not at all: of the pruned model, with facts for the card. Raises WriteError,
    UnsupportedModel."""


FORMATS = table(
    Format(
        name="checkpoint",
        title="Checkpoint",
        brief="the whole model, with what is put back merged into it: stock Transformers loads it",
        definition="An ordinary Hugging Face checkpoint: constants are merged into a bias of the attention output "
        "projection, weights into the weights, every zero stays a zero, and stock Transformers loads it.",
        heading="pruned and restored",
        sentence="It is folded {carrier}, so this is an ordinary checkpoint, and every zero is where it was.",
        usage="from transformers import AutoModelForCausalLM\n"
        'model = AutoModelForCausalLM.from_pretrained("THIS FOLDER", dtype="auto")',
        check=lazily("restorelcc.artifacts.export:check_checkpoint"),
        write=lazily("restorelcc.artifacts.export:write_checkpoint"),
    ),
    Format(
        name="adapter",
        title="Adapter",
        brief="a few small files that go onto the pruned model",
        definition="What was trained and what it was made for, and the same for PEFT. The weights stay where they are.",
        heading="restoration of a pruned model",
        sentence="It is in this folder, and goes onto the pruned model that it was trained for, and no other.",
        usage='import restorelcc\nmodel, tokenizer = restorelcc.load_restored("{pruned}", "THIS FOLDER")',
        check=lazily("restorelcc.artifacts.export:check_adapter"),
        write=lazily("restorelcc.artifacts.export:write_adapter"),
    ),
)
