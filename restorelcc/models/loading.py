"""Load one model and its tokenizer: from the hub or a folder, onto one device or spread over several.

Transformers is imported where a model is opened and not before, here and in the modules this one stands on: it takes
seconds, and what is already known of a pair can be shown without it.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from platformdirs import user_cache_path
from safetensors import SafetensorError
from torch import nn

from ..errors import LoadError, SettingError
from ..hf import hub
from ..hf.failures import advice
from ..hf.layout import geometry
from ..hf.weights import is_visited, values_of
from .inside import check_inside

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

DEMO = "demo"
DEMO_FOLDER = Path(__file__).resolve().parents[2] / "assets" / "demo"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
MAP = "map"


@dataclass(frozen=True)
class Loading:
    """How to load; `auto` means the best device at hand and the precision the weights are stored in."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps …; or map: spread over GPUs, memory and disk as far as each reaches."""
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
            raise SettingError(f"device '{self.device}' is not known: give auto, cpu, cuda or mps, or map.") from error

    def resolved_device(self) -> str:
        """The device that `auto` stands for here, and that `map` fills first: a GPU where there is one.

        One name for each device, since work queues by it: `cuda` is `cuda:0`.
        """
        best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        device = torch.device(best if self.device in ("auto", MAP) else self.device)
        return f"{device.type}:{device.index or 0}" if device.type == "cuda" else device.type

    def access(self, name: str) -> dict[str, Any]:
        """What Transformers and the hub's client should be told beside `source_of(name)`."""
        at = name.partition("@")[2] if source_of(name) != name else ""
        told = {"revision": at or self.revision} if not Path(source_of(name)).is_dir() else {}
        return told | ({"token": self.token} if self.token else {})


def source_of(name: str) -> str:
    """What Transformers should open for `name`: the embedded folder, a local folder, or a hub id without its revision.

    Raises LoadError for something that looks like a path and is not there.
    """
    if name == DEMO:
        return str(DEMO_FOLDER / "dense")
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise LoadError(
                f"{path} holds no config.json, so it is not a model folder. Give the folder one level up or down."
            )
        return str(path)
    if path.exists():
        raise LoadError(f"{path} is a file; a model is a folder with config.json and safetensors. Give the folder.")
    repository = name.partition("@")[0]
    if path.is_absolute() or name.startswith((".", "~")) or repository.count("/") != 1:
        raise LoadError(f"There is no folder {path}. Give a model folder, a hub id such as 'owner/name', or '{DEMO}'.")
    return repository


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0]


def _open(opener: Callable[..., Any], name: str, what: str, how: Loading, **settings: Any) -> Any:
    """Call a Transformers loader; every way it fails becomes one LoadError that says what to do."""
    source = source_of(name)
    settings |= how.access(name) | {"trust_remote_code": how.trust_remote_code}
    if Path(source).is_dir():
        check_inside(Path(source))
    elif not hub.reachable():
        settings["local_files_only"] = True
    try:
        return opener(source, **settings)
    except SafetensorError as error:
        raise LoadError(
            f"The weights of {name} are damaged ({_first_line(error)}), probably a download or copy that broke off. "
            "Fetch the file again."
        ) from error
    except Exception as error:
        failure = _failure(error, name, what, bool(settings.get("use_safetensors")))
        if failure is None:
            raise
        raise failure from error


def _failure(error: Exception, name: str, what: str, safe: bool) -> LoadError | None:
    """What `error` means; None where it is nothing that a user could mend."""
    known = advice(error, name)
    if known is not None:
        return LoadError(known)
    if "no file named" in str(error) and safe:
        return LoadError(
            f"{name} has no safetensors weights. Convert them, or allow pickles (--allow-pickle) "
            "if you trust who made them: a pickle can run any code."
        )
    if isinstance(error, OSError | ValueError | KeyError | ImportError | RuntimeError):
        return LoadError(f"The {what} of {name} cannot be loaded: {_first_line(error)}")
    return None


def _config(name: str, how: Loading) -> PreTrainedConfig:
    from transformers import AutoConfig

    return _open(AutoConfig.from_pretrained, name, "config", how)  # type: ignore[no-any-return]


def load_model(name: str, loading: Loading | None = None) -> PreTrainedModel:
    """A causal language model in evaluation mode, without gradients.

    Raises LoadError when it cannot be had, does not fit, is damaged, incomplete, or holds NaN or infinite weights;
    UnsupportedModel when its attention heads cannot be found.
    """
    from transformers import AutoModelForCausalLM

    how = loading or Loading()
    device, packed = how.resolved_device(), _packed(name, _config(name, how))
    with ExitStack() as undo:
        placement: dict[str, Any] = {}
        if how.device == MAP:
            folder = _offload_folder()
            undo.callback(shutil.rmtree, folder, ignore_errors=True)
            placement = {"device_map": "auto", "offload_folder": folder}
        elif packed:  # What is packed cannot be moved afterwards.
            placement = {"device_map": {"": device}}
        model, report = _open(
            AutoModelForCausalLM.from_pretrained,
            name,
            "model",
            how,
            dtype=DTYPES.get(how.dtype, "auto"),
            use_safetensors=None if how.allow_pickle else True,
            output_loading_info=True,
            **placement,
        )
        weakref.finalize(model, undo.pop_all().close)  # The folder is needed for as long as the model is.
    _take_turns(model)
    absent = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
    if absent:
        raise LoadError(
            f"{name} lacks {len(absent)} weights that its config calls for, {absent[0]} first: they would be random. "
            "The checkpoint is incomplete or belongs to another config."
        )
    if not placement:
        try:
            if how.dtype == "auto" and device == "cpu" and model.dtype == torch.float16:
                model = model.float()  # A CPU computes float16 slowly, and overflows where bfloat16 would not.
            model = model.to(device)
        except (RuntimeError, AssertionError, MemoryError) as error:
            raise LoadError(
                advice(error, name) or f"{name} does not run on '{device}': {_first_line(error)} Try --device cpu."
            ) from error
    for parameter, values in values_of(model):
        if not torch.isfinite(values).all():
            raise LoadError(
                f"{name} holds NaN or infinite values in {parameter}: every result would be NaN. "
                "The training or the conversion that wrote it failed; take another checkpoint."
            )
    geometry(model)
    return model.eval().requires_grad_(False)  # type: ignore[no-any-return]


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


def _offload_folder() -> str:
    """For weights that go to disk and are not stored there as they are computed with. Raises LoadError."""
    place = user_cache_path("restorelcc")
    try:
        place.mkdir(parents=True, exist_ok=True)
        return tempfile.mkdtemp(prefix="offload-", dir=place)
    except OSError as error:
        raise LoadError(f"{place}, where weights beyond memory go, cannot be written to: {error.strerror}.") from error


def _take_turns(model: PreTrainedModel) -> None:
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


def load_skeleton(name: str, loading: Loading | None = None) -> PreTrainedModel:
    """A causal language model without its weights, which are on the meta device: what its config and its structure say,
    at no cost. Raises LoadError, UnsupportedModel."""
    from transformers import AutoModelForCausalLM

    how = loading or Loading()
    config = _config(name, how)
    _packed(name, config)

    def build(*_: Any, **__: Any) -> Any:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=how.trust_remote_code)

    model = _open(build, name, "model", how)
    geometry(model)
    return model.eval().requires_grad_(False)  # type: ignore[no-any-return]


def load_tokenizer(name: str, loading: Loading | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer beside a model. Raises LoadError."""
    from transformers import AutoTokenizer

    return _open(AutoTokenizer.from_pretrained, name, "tokenizer", loading or Loading())  # type: ignore[no-any-return]
