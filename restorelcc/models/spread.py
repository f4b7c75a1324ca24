"""Models spread over GPUs, memory and disk, on disk altogether, or shared out among processes: weights come for the
length of a forward pass and then go."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from platformdirs import user_cache_path
from torch import nn

from ..errors import LoadError
from ..hf.layout import final_norm
from ..hf.weights import come_from, is_visited, tied_names, value_of
from ..processes import Shared, processes
from ..storage.drafts import draft, remove

if TYPE_CHECKING:
    import torch
    from torch import Tensor
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


def all_on_disk(skeleton: PreTrainedModel, device: str) -> dict[str, str]:
    """Where each module of such a model has its weights: on disk, all but the final norm, which says where it computes;
    and on the device that computes what is no weight."""
    places = {
        name: "disk" if list(module.parameters(recurse=False)) else device
        for name, module in skeleton.named_modules()
        if list(module.parameters(recurse=False)) or list(module.buffers(recurse=False))
    }
    return places | {name: device for name, module in skeleton.named_modules() if module is final_norm(skeleton)}


class _Handed(Mapping[str, "Tensor"]):
    """Weights of one module as `accelerate` asks for them, by name."""

    def __init__(self, shared: Mapping[str, Shared]) -> None:
        self._shared = shared

    def __getitem__(self, name: str) -> Tensor:
        return self._shared[name].get()

    def __iter__(self) -> Iterator[str]:
        return iter(self._shared)

    def __len__(self) -> int:
        return len(self._shared)


def share_out(model: PreTrainedModel, device: str) -> None:
    """Have each process of the launch hold its part of a model that is on disk, and hand out what others compute with:
    whole weights, each to whoever has least until then, so that all hold about as much."""
    tied, held, shared = tied_names(model), [0] * processes(), dict[str, Shared]()
    for owner, module in model.named_modules():
        if not is_visited(module):
            continue
        of_module = dict[str, Shared]()
        for name, parameter in module.named_parameters(recurse=False):
            key = tied.get(f"{owner}.{name}", f"{owner}.{name}")
            if key not in shared:
                holder = held.index(min(held))
                held[holder] += parameter.nbytes
                shared[key] = Shared(parameter, holder, partial(_copied, module, name, parameter.dtype, device), device)
            of_module[name] = shared[key]
        come_from(module, _Handed(of_module))


def _copied(module: nn.Module, name: str, dtype: torch.dtype, device: str) -> Tensor:
    """In memory of its own: what comes from a file is a part of the file."""
    return value_of(module, name).to(device, dtype, copy=True).contiguous()


M_MMAP_THRESHOLD = -3  # of glibc's malloc.h


def give_back_at_once() -> None:
    """From here on have memory of a megabyte and more go back to the system as soon as it is free, where the C library
    is glibc: what it keeps for later would grow by as much as a model takes whose layers come and go."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 2**20)


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
