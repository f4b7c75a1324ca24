"""Load a model or a dense/pruned pair, and check that it can be worked with.

Transformers is imported where a model is opened and not before, here and in the modules this one stands on: it takes
seconds, and what is already known of a pair can be shown without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from . import hub
from .errors import LoadError, PairMismatch, SettingError
from .layout import HeadGeometry, geometry
from .matching import HeadWeights, Match, fewer_heads, matched, told
from .narrow import head_weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DEMO = "demo"
DEMO_FOLDER = Path(__file__).resolve().parents[1] / "assets" / "demo"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class ModelPair:
    """One model before and after pruning. Both are shared by everybody: never change them."""

    dense: PreTrainedModel
    pruned: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    geometry: HeadGeometry
    """Of the dense model; the pruned one may have fewer heads."""
    dense_name: str
    pruned_name: str
    match: Match | None = None
    """Which heads the pruned model's are; None where it has them all."""

    @property
    def present(self) -> Tensor:
        """[layer, head of the dense model] bool: whether the pruned model has it too."""
        kept = torch.zeros(self.geometry.n_layers, self.geometry.n_heads, dtype=torch.bool)
        return ~kept if self.match is None else kept.scatter(1, self.match.heads, True)

    def holder(self, layer: int, head: int) -> tuple[PreTrainedModel, int, int]:
        """(the pruned model if it has this head of the dense one, else the dense model; the layer; the head's number
        there)."""
        if self.match is None:
            return self.pruned, layer, head
        own = (self.match.heads[layer] == head).nonzero().flatten().tolist()
        return (self.pruned, layer, own[0]) if own else (self.dense, layer, head)

    def placed(self, layer: int, values: Tensor, among: Tensor) -> Tensor:
        """`values` [head of the pruned model, …] in the places of their heads among [head of the dense model, …]."""
        if self.match is None:
            return values
        return among.index_copy(0, self.match.heads[layer].to(among.device), values)


@dataclass(frozen=True)
class Loading:
    """How to load; `auto` means the best device at hand and the precision the weights are stored in."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps …"""
    dtype: str = "auto"
    """auto, float32, bfloat16 or float16."""
    revision: str | None = None
    """Branch, tag or commit on the hub."""
    allow_pickle: bool = False
    """Also read `.bin` weights. A pickle can run any code: only from people you trust."""
    trust_remote_code: bool = False
    """Run model code that comes with the weights: only from people you trust."""

    def __post_init__(self) -> None:
        if self.dtype not in ("auto", *DTYPES):
            raise SettingError(f"dtype '{self.dtype}' is not known: give auto, {', '.join(DTYPES)}.")
        try:
            torch.device(self.resolved_device())
        except RuntimeError as error:
            raise SettingError(f"device '{self.device}' is not known: give auto, cpu, cuda or mps.") from error

    def resolved_device(self) -> str:
        """The device that `auto` stands for here: a GPU where there is one."""
        if self.device != "auto":
            return self.device
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"


def source_of(name: str) -> str:
    """What Transformers should open for `name`: the embedded folder, a local folder, or a hub id.

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
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1:
        raise LoadError(f"There is no folder {path}. Give a model folder, a hub id such as 'owner/name', or '{DEMO}'.")
    return name


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0]


def _open(opener: Callable[..., Any], name: str, what: str, **settings: Any) -> Any:
    """Call a Transformers loader; every way it fails becomes one LoadError that says what to do."""
    source = source_of(name)
    remote = not Path(source).is_dir()
    if remote and not hub.reachable():
        settings["local_files_only"] = True
    try:
        return opener(source, **settings)
    except SafetensorError as error:
        raise LoadError(
            f"The weights of {name} are damaged ({_first_line(error)}), probably a download or copy that broke off. "
            "Fetch the file again."
        ) from error
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        if settings.get("local_files_only"):
            raise LoadError(
                f"The hub cannot be reached and {name} is not in the local cache. "
                "Connect to the network once, or give a local folder."
            ) from error
        if "no file named" in str(error) and settings.get("use_safetensors"):
            raise LoadError(
                f"{name} has no safetensors weights. Convert them, or allow pickles (--allow-pickle) "
                "if you trust who made them: a pickle can run any code."
            ) from error
        raise LoadError(f"The {what} of {name} cannot be loaded: {_first_line(error)}") from error


def load_model(name: str, loading: Loading | None = None) -> PreTrainedModel:
    """A causal language model in evaluation mode, without gradients.

    Raises LoadError when it cannot be had, is damaged, incomplete, or holds NaN or infinite weights;
    UnsupportedModel when its attention heads cannot be found.
    """
    from transformers import AutoModelForCausalLM

    how = loading or Loading()
    model, report = _open(
        AutoModelForCausalLM.from_pretrained,
        name,
        "model",
        dtype=DTYPES.get(how.dtype, "auto"),
        revision=how.revision,
        use_safetensors=None if how.allow_pickle else True,
        trust_remote_code=how.trust_remote_code,
        output_loading_info=True,
    )
    absent = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
    if absent:
        raise LoadError(
            f"{name} lacks {len(absent)} weights that its config calls for, {absent[0]} first: they would be random. "
            "The checkpoint is incomplete or belongs to another config."
        )
    device = how.resolved_device()
    if how.dtype == "auto" and device == "cpu" and model.dtype == torch.float16:
        model = model.float()  # A CPU computes float16 slowly, and overflows where bfloat16 would not.
    try:
        model = model.to(device)
    except (RuntimeError, AssertionError) as error:
        raise LoadError(f"{name} does not fit or run on '{device}': {_first_line(error)} Try --device cpu.") from error
    for parameter, values in model.named_parameters():
        if not torch.isfinite(values).all():
            raise LoadError(
                f"{name} holds NaN or infinite values in {parameter}: every result would be NaN. "
                "The training or the conversion that wrote it failed; take another checkpoint."
            )
    geometry(model)
    return model.eval().requires_grad_(False)  # type: ignore[no-any-return]


def load_skeleton(name: str, loading: Loading | None = None) -> PreTrainedModel:
    """A causal language model without its weights, which are on the meta device: what its config and its structure say,
    at no cost. Raises LoadError, UnsupportedModel."""
    from transformers import AutoConfig, AutoModelForCausalLM

    how = loading or Loading()
    told = {"revision": how.revision, "trust_remote_code": how.trust_remote_code}
    config = _open(AutoConfig.from_pretrained, name, "config", **told)
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=how.trust_remote_code)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise LoadError(f"The model of {name} cannot be loaded: {_first_line(error)}") from error
    geometry(model)
    return model.eval().requires_grad_(False)  # type: ignore[no-any-return]


def load_tokenizer(name: str, loading: Loading | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer beside a model. Raises LoadError."""
    from transformers import AutoTokenizer

    how = loading or Loading()
    return _open(  # type: ignore[no-any-return]
        AutoTokenizer.from_pretrained,
        name,
        "tokenizer",
        revision=how.revision,
        trust_remote_code=how.trust_remote_code,
    )


def load_pair(dense: str, pruned: str, loading: Loading | None = None) -> ModelPair:
    """Both models and their tokenizer, checked to belong together. Raises LoadError or PairMismatch."""
    return _checked(load_model(dense, loading), load_model(pruned, loading), dense, pruned, loading)


def skeleton_pair(dense: str, pruned: str, loading: Loading | None = None) -> ModelPair:
    """The pair without its weights (see `load_skeleton`): its shape, tokenizer and heads, checked as `load_pair` does.

    Where heads have to be recognised by their weights, each model is loaded for that, one at a time. Raises LoadError
    or PairMismatch.
    """

    def weights() -> tuple[HeadWeights, HeadWeights]:
        return head_weights(load_model(dense, loading)), head_weights(load_model(pruned, loading))

    return _checked(load_skeleton(dense, loading), load_skeleton(pruned, loading), dense, pruned, loading, weights)


def _checked(
    dense: PreTrainedModel,
    pruned: PreTrainedModel,
    dense_name: str,
    pruned_name: str,
    loading: Loading | None,
    weights: Callable[[], tuple[HeadWeights, HeadWeights]] | None = None,
) -> ModelPair:
    tokenizer = load_tokenizer(dense_name, loading)
    check_tokenizers(tokenizer, load_tokenizer(pruned_name, loading))
    match = matched(dense, pruned, Path(source_of(pruned_name)), weights)
    return paired(dense, pruned, tokenizer, dense_name, pruned_name, match)


def paired(
    dense: PreTrainedModel,
    pruned: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    dense_name: str,
    pruned_name: str,
    match: Match | None = None,
) -> ModelPair:
    """A pair of models already loaded. Raises PairMismatch, saying which shapes differ.

    A pruned model with fewer heads needs a `match`, or a config that says which they are.
    """
    ours, theirs = geometry(dense), geometry(pruned)
    if fewer_heads(ours, theirs):
        match = match or told(ours, pruned)
    differ = [
        f"{field.name} {getattr(ours, field.name)} against {getattr(theirs, field.name)}"
        for field in fields(HeadGeometry)
        if getattr(ours, field.name) != getattr(theirs, field.name)
        and not (match is not None and field.name in ("n_heads", "n_kv_heads"))
    ]
    vocabularies = [model.config.get_text_config().vocab_size for model in (dense, pruned)]
    if vocabularies[0] != vocabularies[1]:
        differ.append(f"vocabulary {vocabularies[0]} against {vocabularies[1]}")
    if differ:
        raise PairMismatch(
            f"{dense_name} and {pruned_name} differ in shape ({'; '.join(differ)}), so their heads cannot be compared. "
            "Give the model that was pruned, and a pruned model that kept its shape, or its heads with a map of them."
        )
    return ModelPair(dense, pruned, tokenizer, ours, dense_name, pruned_name, match)


PROBE = 'The little girl\'s 3 dogs (Rex, Max & Bo) ran: "wait!"\n  Où? 你好 <|endoftext|>'


def check_tokenizers(dense: PreTrainedTokenizerBase, pruned: PreTrainedTokenizerBase) -> None:
    """Raises PairMismatch unless both turn text into the same tokens."""
    if len(dense) != len(pruned):
        found = f"{len(dense)} tokens against {len(pruned)}"
    elif dense.get_vocab() != pruned.get_vocab():
        ours, theirs = dense.get_vocab(), pruned.get_vocab()
        found = f"{sum(theirs.get(token) != index for token, index in ours.items())} of {len(ours)} tokens differ"
    elif dense(PROBE).input_ids != pruned(PROBE).input_ids:
        found = "the same vocabulary, but another way of splitting text"
    else:
        return
    raise PairMismatch(
        f"The two models have different tokenizers ({found}), so the same text reaches them as different tokens. "
        "Give two states of one model."
    )
