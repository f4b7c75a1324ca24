"""Models spread over GPUs, memory and disk, whose weights come for the length of a forward pass and then go."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from platformdirs import user_cache_path
from torch import nn

from ..errors import LoadError
from ..hf.weights import is_visited
from ..storage.drafts import draft, remove

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@contextmanager
def offload_folder() -> Iterator[str]:
    """For weights that go to disk and are not stored there as they are computed with; gone after the `with`. Raises
    LoadError."""
    place = user_cache_path("restorelcc")
    with ExitStack() as undo:
        try:
            place.mkdir(parents=True, exist_ok=True)
            folder = undo.enter_context(draft(place))
            undo.callback(remove, folder)
            folder.mkdir()
        except OSError as error:
            raise LoadError(
                f"{place}, where weights beyond memory go, cannot be written to: {error.strerror}."
            ) from error
        yield str(folder)


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
