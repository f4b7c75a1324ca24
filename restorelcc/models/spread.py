"""Models spread over GPUs, memory and disk, whose weights come for the length of a forward pass and then go."""

from __future__ import annotations

import tempfile
import threading
from typing import TYPE_CHECKING, Any

from platformdirs import user_cache_path
from torch import nn

from ..errors import LoadError
from ..hf.weights import is_visited

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def offload_folder() -> str:
    """For weights that go to disk and are not stored there as they are computed with. Raises LoadError."""
    place = user_cache_path("restorelcc")
    try:
        place.mkdir(parents=True, exist_ok=True)
        return tempfile.mkdtemp(prefix="offload-", dir=place)
    except OSError as error:
        raise LoadError(f"{place}, where weights beyond memory go, cannot be written to: {error.strerror}.") from error


def take_turns(model: PreTrainedModel) -> None:
    """Let one thread at a time through each module whose weights come for the length of a forward pass and then go:
    of two at once the first to leave would take the weights from the other."""

    def guard(module: nn.Module) -> None:
        lock = threading.RLock()

        def enter(*_: Any) -> None:
            lock.acquire()

        def leave(*_: Any) -> None:
            lock.release()

        module.register_forward_pre_hook(enter, prepend=True)
        module.register_forward_hook(leave, always_call=True)

    for module in model.modules():
        if is_visited(module):
            guard(module)
