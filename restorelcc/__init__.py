"""RestoreLCC Studio's engine: what pruning took from every attention head, and how to put it back.

model, tokenizer = restorelcc.load_restored("path/to/pruned", "path/to/adapter")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from .models.loading import Loading

__version__ = "0.1.0"


def load_restored(
    model_id: str, adapter: Path | str, loading: Loading | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A pruned model with the restoration of an adapter in place, and its tokenizer: see `export.load_restored`."""
    from .artifacts.export import load_restored as load  # Here, so that importing the package alone stays light.

    return load(model_id, adapter, loading)
