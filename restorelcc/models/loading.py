"""Load one model and its tokenizer: from the hub or a folder, onto one device or spread over several.

Transformers is imported where a model is opened and not before, here and in the modules this one stands on: it takes
seconds, and what is already known of a pair can be shown without it.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..errors import LoadError, SettingError, shortened
from ..foreign import one_line
from ..hf import hub
from ..hf.failures import advice, out_of_memory
from ..hf.layout import geometry, note_loading
from ..processes import launched, own_device, processes
from .checkpoint import Stored, check_names, check_numbers, check_sizes, disagreements, read_headers, wide_enough
from .folder import CONFIG, check_inside, no_model
from .opening import built, check_config_files, opened, read_config, settled
from .spread import all_on_disk, give_back_at_once, offload_folder, share_out, take_turns
from .tokenizers import check_package, check_speaks, check_there

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

DEMO = "demo"
DEMO_FOLDER = Path(__file__).resolve().parents[2] / "assets" / "demo"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
MAP, DISK, SHARD = "map", "disk", "shard"
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class Loading:
    """How to load; `auto` means the best device at hand and the precision the weights are stored in."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps …; map: spread over GPUs, memory and disk as far as each reaches; disk: weights stay
    in their files, and each comes for the length of its forward pass; shard: each of several processes holds a part of
    them, and they hand one another those of a layer for that long."""
    dtype: str = "auto"
    """auto, float32, bfloat16 or float16."""
    revision: str | None = None
    """Branch, tag or commit on the hub, of models whose name does not say it itself (`owner/name@revision`)."""
    allow_pickle: bool = False
    """Also read `.bin` weights. A pickle can run any code: only from people you trust."""
    trust_remote_code: bool = False
    """Run model code that comes with the weights: only from people you trust."""
    token: str | None = field(default=None, repr=False, compare=False)
    """For gated and private models; None: HF_TOKEN, or whoever is logged in. Is in no text, link or file of ours."""

    def __post_init__(self) -> None:
        if self.dtype not in ("auto", *DTYPES):
            raise SettingError(f"dtype '{self.dtype}' is not known: give auto, {', '.join(DTYPES)}.")
        try:
            torch.device(self.resolved_device())
        except RuntimeError as error:
            raise SettingError(
                f"device '{self.device}' is not known: give auto, cpu, cuda or mps, map, disk or shard."
            ) from error

    def resolved_device(self) -> str:
        """The device that `auto` is here, that `map` fills first and `disk` and `shard` compute on: a GPU where there
        is one, of several processes each its own.

        One name for each device, since work queues by it: `cuda` is `cuda:0`.
        """
        if self.device in ("auto", DISK, SHARD) and (own := own_device()):
            return own
        best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        device = torch.device(best if self.device in ("auto", MAP, DISK, SHARD) else self.device)
        return f"{device.type}:{device.index or 0}" if device.type == "cuda" else device.type

    def access(self, name: str) -> dict[str, Any]:
        """What Transformers and the hub's client should be told beside `source_of(name)`."""
        at = name.partition("@")[2] if source_of(name) != name else ""
        told = {"revision": at or self.revision} if not Path(source_of(name)).is_dir() else {}
        return told | ({"token": self.token} if self.token else {})


def source_of(name: str) -> str:
    """What Transformers should open for `name`: the embedded folder, a local folder, or a hub id without its revision.

    Raises LoadError for something that looks like a path and is not there, or holds no model.
    """
    if name == DEMO:
        return str(DEMO_FOLDER / "dense")
    shown = shortened(name)
    try:
        path = Path(name).expanduser()
        is_folder, is_model, is_there = path.is_dir(), (path / CONFIG).is_file(), path.exists()
    except (OSError, ValueError, RuntimeError):  # too long, with a NUL in it, or of a user who is not there
        is_folder = is_model = is_there = False
    if not name.strip():
        raise LoadError(f"A model without a name cannot be had. Give a folder, a hub id, or '{DEMO}'.")
    if is_model:
        return str(path)
    if is_folder:
        hub_id = f" The hub's model of that name is {shown}@main." if HUB_ID.fullmatch(name) else ""
        raise LoadError(no_model(path) + hub_id)
    if is_there:
        raise LoadError(f"{shown} is a file; a model is a folder with {CONFIG} and safetensors. Give the folder.")
    repository = name.partition("@")[0]
    if name.startswith(("/", ".", "~")) or repository.count("/") != 1:
        raise LoadError(f"There is no folder {shown}. Give a model folder, a hub id such as 'owner/name', or '{DEMO}'.")
    return repository


def _folder(name: str, how: Loading) -> Path | None:
    """Where its files lie: the folder itself, or the hub's cache as far as it is there."""
    source = source_of(name)
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import try_to_load_from_cache

    kept = try_to_load_from_cache(source, CONFIG, revision=how.access(name)["revision"])
    return Path(kept).parent if isinstance(kept, str) else None


def _open(opener: Callable[..., Any], name: str, what: str, how: Loading, **settings: Any) -> Any:
    """What a Transformers loader makes of it. Raises LoadError."""
    source = source_of(name)
    settings |= how.access(name) | {"trust_remote_code": how.trust_remote_code}
    if Path(source).is_dir():
        check_inside(Path(source))
    elif not hub.reachable():
        settings["local_files_only"] = True
    return opened(opener, source, shortened(name), what, **settings)


def _config(name: str, how: Loading) -> PreTrainedConfig:
    """Raises LoadError, naming the field at fault."""
    from transformers import AutoConfig

    return read_config(lambda: _open(AutoConfig.from_pretrained, name, "config", how), _settings(name), shortened(name))


def _settings(name: str) -> dict[str, Any] | None:
    """What stands in the config of a folder; None where it is on the hub. Raises LoadError."""
    source = Path(source_of(name))
    return check_config_files(source, shortened(name)) if source.is_dir() else None


def load_model(name: str, loading: Loading | None = None) -> PreTrainedModel:
    """A causal language model in evaluation mode, without gradients, that computes with what its files hold.

    Raises LoadError when it cannot be had, does not fit, is damaged, incomplete, at odds with its config, or holds NaN
    or infinite weights; UnsupportedModel when its attention heads cannot be found.
    """
    how, shown = loading or Loading(), shortened(name)
    if how.device == SHARD and not launched():
        raise SettingError(
            "Weights are shared out among processes, and this one is alone: give --processes 2 or more before the "
            "command, or --device disk."
        )
    config = _config(name, how)
    packed = _packed(name, config)
    skeleton = built(config, _settings(name), shown, how.trust_remote_code)
    stored = _stored(name, how, config)
    check_sizes(stored, skeleton, shown)
    model, report, stored = _read_as_stored(name, how, config, stored, packed, skeleton)
    said = _whence(name) + check_names(model, report, stored, shown) + disagreements(model, config, stored, shown)
    take_turns(model)
    if how.device not in (MAP, DISK, SHARD) and not packed:
        model = _moved(model, name, how)
    check_numbers(model, stored, shown)
    if how.device == SHARD and processes() > 1:  # What one of them does alone has its weights on disk.
        share_out(model, how.resolved_device())
    geometry(model)
    note_loading(model, said, stored.dtype if stored else None)
    return settled(model, shown)


def _stored(name: str, how: Loading, config: PreTrainedConfig) -> Stored | None:
    folder = _folder(name, how)
    named = getattr(config, "transformers_weights", None)
    return None if folder is None else read_headers(folder, shortened(name), named)


def _read_as_stored(
    name: str, how: Loading, config: PreTrainedConfig, stored: Stored | None, packed: bool, skeleton: PreTrainedModel
) -> tuple[PreTrainedModel, dict[str, Any], Stored | None]:
    """(the model, what Transformers says of tensors that did not fit, what its files hold)."""
    asked = DTYPES.get(how.dtype)
    precision = asked or wide_enough(config, stored)
    model, report = _read(name, how, precision, packed, skeleton)
    if stored is None:  # It came from the hub just now, or holds no safetensors.
        stored = _stored(name, how, config)
        found = asked or wide_enough(config, stored)
        if stored is not None and found not in (precision, model.dtype):
            model, report = _read(name, how, found, packed, skeleton)
    return model, report, stored


def _read(
    name: str, how: Loading, precision: torch.dtype | str, packed: bool, skeleton: PreTrainedModel
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """(the model as Transformers loads it, what it says of tensors that did not fit)."""
    from transformers import AutoModelForCausalLM

    with ExitStack() as undo:
        placement: dict[str, Any] = {}
        if packed and how.device != MAP:  # What is packed cannot be moved afterwards.
            placement = {"device_map": {"": how.resolved_device()}}
        elif how.device in (MAP, DISK, SHARD):
            give_back_at_once()
            places = "auto" if how.device == MAP else all_on_disk(skeleton, how.resolved_device())
            placement = {"device_map": places, "offload_folder": undo.enter_context(offload_folder())}
            if how.device != MAP and how.dtype == "auto" and how.resolved_device() == "cpu":
                precision = torch.float32 if precision == torch.float16 else precision  # see `_moved`
        model, report = _open(
            AutoModelForCausalLM.from_pretrained,
            name,
            "model",
            how,
            dtype=precision,
            use_safetensors=None if how.allow_pickle else True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # They are in the report, with their shapes, and refused.
            **placement,
        )
        weakref.finalize(model, undo.pop_all().close)  # The folder is needed for as long as the model is.
    return model, report


def _whence(name: str) -> list[str]:
    """What should be said of where it came from, where a name could mean two things; sentences."""
    if HUB_ID.fullmatch(name) and Path(source_of(name)).is_dir():
        return [f"{name} is the folder here, not the hub's model of that name, which is {name}@main."]
    return []


def _moved(model: PreTrainedModel, name: str, how: Loading) -> PreTrainedModel:
    """On its device. Raises LoadError."""
    device = how.resolved_device()
    try:
        if how.dtype == "auto" and device == "cpu" and model.dtype == torch.float16:
            model = model.float()  # A CPU computes float16 slowly, and overflows where bfloat16 would not.
        model = model.to(device)  # type: ignore[arg-type]
        if device == "cpu" and Path(source_of(name)).is_dir():
            _unmapped(model)
    except (RuntimeError, AssertionError, MemoryError) as error:
        raise LoadError(
            advice(error, shortened(name))
            or f"{shortened(name)} does not run on '{device}': {one_line(error)} Try --device cpu."
        ) from error
    return model


def _unmapped(model: PreTrainedModel) -> None:
    """Weights in memory of their own, where there is room: until here they are pages of the file, and whoever wrote to
    it would change the model, or end the program."""
    tensors = [*model.parameters(), *model.buffers()]
    try:
        copies = [tensor.data.clone() for tensor in tensors]
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        return  # For a moment they are there twice; a model that only fits once is better read than refused.
    for tensor, own in zip(tensors, copies, strict=True):
        tensor.data = own


def _packed(name: str, config: PreTrainedConfig) -> bool:
    """Whether the weights are stored in 8 or 4 bits by bitsandbytes. Raises LoadError where that cannot be read."""
    stored = getattr(config, "quantization_config", None) or {}
    stored = stored if isinstance(stored, dict) else stored.to_dict()
    if not any(stored.get(f"load_in_{bits}bit") for bits in (4, 8)) and stored.get("quant_method") != "bitsandbytes":
        return False
    lacking = [] if torch.cuda.is_available() else ["an NVIDIA GPU"]
    lacking += [] if find_spec("bitsandbytes") else ["the package bitsandbytes (pip install bitsandbytes)"]
    if lacking:
        raise LoadError(
            f"The weights of {name} are packed by bitsandbytes, and this machine lacks {' and '.join(lacking)}. Give "
            "the model in half precision, or use a machine that has both."
        )
    return True


def load_skeleton(name: str, loading: Loading | None = None) -> PreTrainedModel:
    """A causal language model without its weights, which are on the meta device: what its config and its structure say,
    at no cost. Raises LoadError, UnsupportedModel."""
    how = loading or Loading()
    config = _config(name, how)
    _packed(name, config)
    model = built(config, _settings(name), shortened(name), how.trust_remote_code)
    geometry(model)
    stored = _stored(name, how, config)
    note_loading(model, _whence(name), stored.dtype if stored else None)
    return settled(model, shortened(name))


def load_tokenizer(name: str, loading: Loading | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer beside a model. Raises NoTokenizer where there is none, LoadError where it cannot be used."""
    from transformers import AutoTokenizer

    how, shown = loading or Loading(), shortened(name)
    if Path(source_of(name)).is_dir():
        check_there(Path(source_of(name)), shown)
    try:
        tokenizer: PreTrainedTokenizerBase = _open(AutoTokenizer.from_pretrained, name, "tokenizer", how)
    except LoadError:
        folder = _folder(name, how)
        if folder is not None:
            check_there(folder, shown)
            check_package(folder, shown)
        raise
    check_speaks(tokenizer, shown)
    return tokenizer
