"""What stands in a model's config.json, field by field: values that cannot be, and in what two configs differ."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from .identity import SETTINGS
from .layout import context_length, vocabulary_size
from .weights import is_spread

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SIZES = re.compile(
    r"(hidden|intermediate|vocab)_size|ffn_dim|word_embed_proj_dim|head_dim|max_position_embeddings"
    r"|num_(attention|key_value)_heads|num_hidden_layers|n_(embd|inner|head|layer|positions)"
)
"""Fields that are one or more; some may be absent or null."""
MOST = {"num_hidden_layers": 10_000, "n_layer": 10_000, "num_labels": 1_000_000, "num_experts": 100_000}
"""Transformers builds something for each of these, so that a slip of the keyboard would fill the memory."""
LARGEST = 2**31
"""Of any other size."""
KINDS: tuple[tuple[str, type, str], ...] = (
    ("quantization_config", Mapping, "an object"),
    ("fusion_config", Mapping, "an object"),
    ("transformers_weights", str, "the name of a file"),
    ("model_type", str, "the name of an architecture"),
)
TRIAL = 16
"""Tokens: enough for what depends on their number, such as windows of attention."""
FLOATS = ("float32", "bfloat16", "float16", "float64")


def strange(settings: Mapping[str, Any], within: str = "") -> str:
    """The first value of a config that cannot be, in a sentence that names its field; empty where there is none.

    Types are Transformers' own affair, whose message names the field too. Here is what it lets pass: numbers that are
    none, sizes below one, and those for which memory would run out before anything is found wrong.
    """
    for key, value in settings.items():
        field = f"{within}{key}"
        if isinstance(value, Mapping):
            said = strange(value, f"{field}.")
        elif key in ("dtype", "torch_dtype"):
            said = _precision(field, value)
        elif isinstance(value, list):
            said = f"{field} holds NaN." if any(_is_nan(item) for item in value) else ""
        else:
            said = _number(field, key, value)
        if said:
            return said
    return "" if within else _kind(settings)


def _kind(settings: Mapping[str, Any]) -> str:
    """The first field of another kind than Transformers takes it for without looking."""
    for key, kind, called in KINDS:
        value = settings.get(key)
        if value is not None and not isinstance(value, kind):
            return f"{key} is {_shown(value)}, where {called} is needed."
    window = settings.get("sliding_window")
    if isinstance(window, int) and window < 1 and settings.get("use_sliding_window", True):
        return f"sliding_window is {_shown(window)}, where 1 or more is needed, or null."
    file = settings.get("transformers_weights")
    if file is not None and not re.fullmatch(r"[^/\\]+\.safetensors(\.index\.json)?", file):
        return f"transformers_weights is {_shown(file)}, where the name of a safetensors file is needed."
    record = settings.get("pruning")
    if isinstance(record, Mapping) and "kept_heads" in record and not _is_map(record):
        return "pruning.kept_heads is no list, a layer each, of as many numbers of heads of the dense model."
    return ""


def _is_map(record: Mapping[str, Any]) -> bool:
    """Whether it says which heads are left, [layer][head], and of how many."""
    kept = record["kept_heads"]
    rows = kept if isinstance(kept, list) and all(isinstance(row, list) for row in kept) else [[None]]
    numbers = [record.get("dense_heads"), *(number for row in rows for number in row)]
    whole = all(
        isinstance(number, int) and not isinstance(number, bool) and 0 <= number < LARGEST for number in numbers
    )
    return whole and len({len(row) for row in rows}) == 1 and len(rows[0]) > 0


def _number(field: str, key: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    if not math.isfinite(value):
        return f"{field} is {_shown(value)}, which is no number to compute with."
    is_size = SIZES.fullmatch(key) is not None
    if is_size and value < 1:
        return f"{field} is {_shown(value)}, where 1 or more is needed."
    most = MOST.get(key, LARGEST if is_size else math.inf)
    if value > most:
        return f"{field} is {_shown(value)}, and {most} is the most that is believed."
    if re.search(r"eps(ilon)?$", key) and not 0 <= value < 1:
        return f"{field} is {_shown(value)}, where a small number above 0 is needed."
    if re.search(r"(dropout|pdrop|dropout_prob|layerdrop)$", key) and not 0 <= value <= 1:
        return f"{field} is {_shown(value)}, where a share from 0 to 1 is needed."
    return ""


def _precision(field: str, value: Any) -> str:
    named = str(value).removeprefix("torch.")
    if value is None or isinstance(value, Mapping) or named in FLOATS:
        return ""
    return f"{field} is {_shown(value)}, where one of {', '.join(FLOATS)} is needed."


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _shown(value: Any) -> str:
    """As text, however long it is."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def culprit(settings: Mapping[str, Any], attempt: Callable[[dict[str, Any]], object]) -> str:
    """Which field of a config is at fault, and its value: the first without which, its default in its place, `attempt`
    raises no longer; empty where there is no such field."""

    def fails(some: dict[str, Any]) -> bool:
        try:
            attempt(some)
        except Exception:  # Here it only counts that it fails.
            return True
        return False

    kind = settings.get("model_type")
    if kind is not None and fails({"model_type": kind}):
        return f"model_type is {_shown(kind)}"
    if fails(dict(settings)):
        for key, value in settings.items():
            if not fails({name: other for name, other in settings.items() if name != key}):
                return f"{key} is {_shown(value)}"
    return ""


def check_generation(settings: Any) -> None:
    """Raises an error, of whatever kind, where Transformers cannot read a generation_config.json that holds this."""
    from transformers import GenerationConfig

    if not isinstance(settings, dict):
        raise TypeError(f"an object is needed, and it is {_shown(settings)}")
    said = strange(settings)
    if said:
        raise ValueError(said)
    GenerationConfig.from_dict(settings).validate()


def try_out(model: PreTrainedModel) -> None:
    """One short forward pass. Raises an error, of whatever kind, where the config asks for what cannot be computed.

    A model on the meta device has nothing to compute with, and one that is spread would be read whole for it.
    """
    if model.device.type == "meta" or is_spread(model):
        return
    length = min(TRIAL, context_length(model))
    ids = torch.arange(length, device=model.device)[None] % vocabulary_size(model)
    with torch.no_grad():
        model(ids, use_cache=False)


def settle(model: PreTrainedModel) -> None:
    """Have a model just loaded return its logits by name and nothing else, whatever its config asks to be returned.
    What it computes is the same. Raises an error, of whatever kind, where its config could not be written."""
    for config in (model.config, model.config.get_text_config()):
        config.return_dict, config.output_hidden_states = True, False
        if getattr(config, "output_attentions", False):
            config.output_attentions = False
    if hasattr(model.config, "validate"):
        model.config.validate()
    model.config.to_json_string()


# --- two configs -------------------------------------------------------------------------------------------------

NO_PART = re.compile(
    r"^(_.*|name_or_path|transformers_version|architectures|(torch_)?dtype|use_cache|pruning|pretraining_tp|.*init.*"
    r"|.*(dropout|pdrop|layerdrop|loss_coef|aux_loss)|(id2)?label.*|num_labels|problem_type|task_specific_params"
    r"|tokenizer_class|output_.*|return_dict|is_(en)?decoder.*|chunk_size.*|.*_token_ids?|.*_implementation|auto_map"
    r"|quantization_config|tie_word_embeddings|summary_.*|model_type|unsloth.*"
    r"|(hidden|(moe_)?intermediate|vocab)_size|n_(embd|head|layer|inner)|ffn_dim|head_dim|num_.*|max_window_layers)$"
)
"""Fields that say nothing of what is computed, or of shapes, which are compared by the weights."""
SAME_ACTIVATION, LIKE_ACTIVATION = 1e-6, 1e-3
"""Largest difference of two activations that are one, and of two approximations of one."""


@dataclass(frozen=True)
class Difference:
    """A field in which the configs of two models differ."""

    field: str
    dense: Any
    pruned: Any
    function: bool
    """Whether the two compute different things with the same weights."""

    def __str__(self) -> str:
        return f"{self.field} {_shown(self.dense)} against {_shown(self.pruned)}"


def differences(dense: PreTrainedModel, pruned: PreTrainedModel, longest: int) -> list[Difference]:
    """What the configs of two models say differently of how they compute, beside their shapes. What only one kind of
    model has a field for is left out.

    longest: tokens of the texts that they are compared on; a window of attention that is longer is not felt.
    """
    ours, theirs = _fields(dense), _fields(pruned)
    found = []
    for field in sorted(ours.keys() & theirs.keys()):
        first, second, key = ours[field], theirs[field], field.partition(".")[0]
        if NO_PART.search(key) or _same(first, second):
            continue
        function = bool(SETTINGS.search(key))
        if "act" in key and isinstance(first, str) and isinstance(second, str):
            apart = _apart(first, second)
            if apart <= SAME_ACTIVATION:
                continue
            function = apart > LIKE_ACTIVATION
        if key == "sliding_window":
            function = min(window for window in (first, second) if window) < min(longest, context_length(dense))
        found.append(Difference(field, first, second, function))
    return found


def _fields(model: PreTrainedModel) -> dict[str, Any]:
    """Fields of its text config that its kind of model knows, nested ones by their path."""
    config = model.config.get_text_config()
    known = set(type(config)().to_dict())
    flat: dict[str, Any] = {}

    def add(settings: Mapping[str, Any], within: str) -> None:
        for key, value in settings.items():
            if isinstance(value, Mapping):
                add(value, f"{within}{key}.")
            else:
                flat[f"{within}{key}"] = value

    add({key: value for key, value in config.to_dict().items() if key in known}, "")
    return flat


def _same(first: Any, second: Any) -> bool:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (first, second))
    # Files keep float32 too: 1e-5 comes back as 9.999999747378752e-06.
    return math.isclose(first, second, rel_tol=1e-6) if numbers else bool(first == second)


def _apart(first: str, second: str) -> float:
    """The largest difference of two activations from -8 to 8."""
    from transformers.activations import ACT2FN

    at = torch.linspace(-8, 8, 1601)
    return float((ACT2FN[first](at) - ACT2FN[second](at)).abs().max())
