"""How much memory models take and how much there is, known before anything is loaded."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..errors import SettingError
from ..hf import hub
from ..hf.layout import decoder_layers, geometry, vocabulary_size
from ..hf.weights import prunable
from .loading import DISK, DTYPES, MAP, SHARD, Loading, source_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SPARE = 1.1
"""Room for both models to run in, as a multiple of their weights."""
FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
OTHERS = {"I64": 8, "I32": 4, "I16": 2}  # all else takes one byte
MEMINFO, CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


def too_big(dense: str, pruned: str, loading: Loading) -> str:
    """Why both cannot be in memory at once, in a sentence; empty where they can, or need not be, or where that is not
    known."""
    return "" if loading.device in (DISK, SHARD) else _too_big([dense, pruned], loading)


def placed(names: Sequence[str], loading: Loading | None) -> tuple[Loading, str]:
    """(how to load these models to compute with them all; what to say of that before). With their weights on disk where
    it is left to us and they do not fit into memory together."""
    how = loading or Loading()
    why = _too_big(names, how) if how.device == "auto" else ""
    if not why:
        return how, ""
    read = sum(model_bytes(name, how) or 0 for name in names)
    return replace(how, device=DISK), (
        f"{why} So weights stay on disk, and those of each layer come when it computes: every pass reads up to "
        f"{read / 1e9:.1f} GB, and memory holds a layer of each model and what is made of it."
    )


def check_fits(name: str, loading: Loading) -> None:
    """Raises SettingError where a model is to be changed in place, and its weights are to stay on disk or, where it is
    left to us, are more than the memory that is free; before they are read."""
    if loading.device in (DISK, SHARD):
        raise SettingError("Pruning changes weights in place, so they cannot stay on disk: give --device cpu, or auto.")
    size, free = model_bytes(name, loading), free_bytes(loading)
    if loading.device == "auto" and size is not None and free is not None and size > free:
        raise SettingError(
            f"Pruning holds the model in memory: it needs {size / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free on "
            f"'{loading.resolved_device()}'. Load it in half precision, or where there is room (--device cpu)."
        )


def _too_big(names: Sequence[str], loading: Loading) -> str:
    sizes, free = [model_bytes(name, loading) for name in names], free_bytes(loading)
    known = [size for size in sizes if size is not None]
    if free is None or len(known) < len(names) or SPARE * sum(known) <= free:
        return ""
    what = "Both models at once need" if len(names) > 1 else "The model needs"
    return (
        f"{what} {SPARE * sum(known) / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free on '{loading.resolved_device()}'."
    )


def model_bytes(name: str, loading: Loading) -> int | None:
    """Bytes of its weights once they are loaded as `loading` says; None where nothing says so beforehand: for weights
    that are no safetensors, or neither in the local cache nor on a hub that answers."""
    try:
        counts = _stored(name, loading)
        return sum(round(count * _each(kind, loading)) for kind, count in counts.items())
    except Exception:
        # Files, formats and the hub have errors of many kinds; whoever loads it will meet and explain it.
        return None


def _stored(name: str, loading: Loading) -> Mapping[Any, int]:
    """How many numbers of each type the checkpoint holds."""
    # Here, because the hub's client takes a tenth of a second to import, and the app starts without it.
    from huggingface_hub import get_local_safetensors_metadata, get_safetensors_metadata, snapshot_download

    source, access = source_of(name), loading.access(name)
    if Path(source).is_dir():
        return get_local_safetensors_metadata(source).parameter_count
    if hub.reachable():
        return get_safetensors_metadata(source, **access).parameter_count
    folder = snapshot_download(source, local_files_only=True, **access)  # `access` says which revision  # nosec B615
    return get_local_safetensors_metadata(folder).parameter_count


def _each(kind: str, loading: Loading) -> int:
    """Bytes that a stored number of this type takes in memory."""
    if kind not in FLOATS:
        return OTHERS.get(kind, 1)
    if loading.dtype != "auto":
        return DTYPES[loading.dtype].itemsize
    return 4 if kind == "F16" and loading.resolved_device() == "cpu" else FLOATS[kind]


def activation_bytes(model: PreTrainedModel, tokens: int, layers: int) -> int:
    """About what the way back through the last so many layers holds of so many tokens: what each linear map reads and
    gives, norms in float32, and the logits with their gradient and the teacher's."""
    each, width = model.dtype.itemsize, geometry(model).d_model
    maps = [matrix.weight.shape for matrix in prunable(decoder_layers(model)[-1]).values()]
    of_layer = each * sum(sum(shape) for shape in maps) + 4 * 4 * width
    return tokens * (layers * of_layer + 3 * each * vocabulary_size(model))


def free_bytes(loading: Loading) -> int | None:
    """Bytes free where models go; of all GPUs together for `map`. None where the system does not say."""
    if loading.device == MAP and torch.cuda.is_available():
        return sum(torch.cuda.mem_get_info(gpu)[0] for gpu in range(torch.cuda.device_count()))
    return free_at(torch.device(loading.resolved_device()))


def free_at(device: torch.device) -> int | None:
    """Bytes free on a device; None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return _main_memory()


def _main_memory() -> int | None:
    """What programs can have without swapping, within the limit of a container where there is one; Linux alone says."""
    try:
        free = 1024 * _line(MEMINFO, "MemAvailable:")
    except (OSError, LookupError, ValueError):
        return None
    try:
        limit, used = (int((CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        return min(free, limit - used + _line(CGROUP / "memory.stat", "inactive_file"))  # cached files give way
    except (OSError, LookupError, ValueError):  # no container, or "max"
        return free


def _line(path: Path, key: str) -> int:
    words = (line.split() for line in path.read_text().splitlines())
    return int(dict(line[:2] for line in words)[key])


def let_go() -> None:
    """Give back the memory of what nobody holds any longer, to the system too."""
    gc.collect()  # Models hold themselves in circles.
    with suppress(OSError, AttributeError):  # What is freed stays with the process else; glibc alone can be asked.
        ctypes.CDLL(None).malloc_trim(0)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


class Peak:
    """How much memory a `with` takes above what was held before it, on the GPU where there is one, else in main memory;
    Linux alone says that."""

    bytes: int | None = None

    def __enter__(self) -> Peak:
        self._before = _held(anew=True)
        return self

    def __exit__(self, *_: object) -> None:
        after = _held()
        self.bytes = None if after is None or self._before is None else max(0, after - self._before)


STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def _held(anew: bool = False) -> int | None:
    """The most that was held since it was last asked for anew, when it is what is held."""
    if torch.cuda.is_available():
        if anew:
            torch.cuda.reset_peak_memory_stats()
        return int(torch.cuda.max_memory_allocated())
    try:
        if anew:
            RESET.write_text("5")  # from here on the peak is counted anew: see proc(5)
        (most,) = (line.split()[1] for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return 1024 * int(most)
    except (OSError, LookupError, ValueError):
        return None
