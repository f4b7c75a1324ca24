"""Transformers' own loaders, called so that whatever stands in a foreign file comes back as one line on what to do."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from safetensors import SafetensorError

from ..errors import LoadError
from ..foreign import document_of, foreign, is_failure, one_line
from ..hf.config import check_generation, culprit, settle, strange, try_out
from ..hf.failures import advice
from .folder import ADAPTER, CONFIG, GENERATION, PICKLES, no_config, other_weights

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel
KNOWN = (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError)
"""How loaders fail for reasons that lie in files and machines."""


def opened(opener: Callable[..., Any], source: str, name: str, what: str, **settings: Any) -> Any:
    """What a Transformers loader makes of `source`. Every way it fails becomes one LoadError that says what to do.

    Whatever comes out of Transformers lies in what stands in the files. Of a model, whose config and headers were seen
    before, an error of another kind than those that lie in files and machines is a mistake of ours if it is not raised
    in there.
    """
    try:
        return opener(source, **settings)
    except BaseException as error:
        theirs = what != "model" or isinstance(error, KNOWN) or advice(error, name) is not None or _within(error)
        if not is_failure(error) or not theirs:
            raise
        raise _failure(error, source, name, what, bool(settings.get("use_safetensors"))) from error


def _within(error: BaseException) -> bool:
    """Whether what `opened` called was Transformers' own, so that the error is from somewhere in there."""
    step = error.__traceback__.tb_next if error.__traceback__ else None
    return step is not None and str(step.tb_frame.f_globals.get("__name__")).startswith("transformers.")


def _failure(error: BaseException, source: str, name: str, what: str, safe: bool) -> LoadError:
    """What `error` means."""
    known = advice(error, name)
    if known is not None:
        return LoadError(known)
    if isinstance(error, SafetensorError):
        return LoadError(
            f"The weights of {name} are damaged ({one_line(error)}), probably a download or copy that broke off. "
            "Fetch the file again."
        )
    if safe and ("no file named" in str(error) or "does not appear to have a file named" in str(error)):
        return LoadError(f"{name} has no safetensors weights{_instead(Path(source))}")
    return LoadError(f"The {what} of {name} cannot be loaded: {one_line(error)}")


def _instead(folder: Path) -> str:
    """What to do where there are no safetensors, by what else is there."""
    others = other_weights(folder) if folder.is_dir() else ""
    if others and not any((folder / file).is_file() for file in PICKLES):
        return f": it holds {others}."
    return ". Convert them, or allow pickles (--allow-pickle) if you trust who made them: a pickle can run any code."


def check_config_files(folder: Path, name: str) -> dict[str, Any]:
    """The settings of a model folder, before Transformers reads them. Raises LoadError for what is no model's config,
    has values that cannot be, or is about an adapter."""
    with foreign(lambda reason: LoadError(f"The config of {name} cannot be loaded: {reason}")):
        settings = document_of(folder / CONFIG)
    none = no_config(settings)
    if none:
        raise LoadError(f"The config of {name} is not that of a model: {none}.")
    check_settings(settings, name)
    if (folder / GENERATION).is_file():
        with foreign(
            lambda reason: LoadError(f"{GENERATION} of {name} cannot be read ({reason}). Mend it, or take it away.")
        ):
            check_generation(document_of(folder / GENERATION))
    if (folder / ADAPTER).is_file():
        raise LoadError(
            f"{name} holds a PEFT adapter ({ADAPTER}) beside a model, and whether it belongs on top is not known. "
            "Merge it into the model (PeftModel.merge_and_unload), or take its files away."
        )
    return cast(dict[str, Any], settings)


def read_config(opener: Callable[[], PreTrainedConfig], settings: dict[str, Any] | None, name: str) -> PreTrainedConfig:
    """What `opener` reads. Raises LoadError, naming the field at fault among `settings`, where they are known."""
    from transformers import AutoConfig

    def attempt(some: dict[str, Any]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / CONFIG).write_text(json.dumps(some), "utf-8")
            AutoConfig.from_pretrained(folder)  # a folder  # nosec B615

    try:
        config = opener()
    except LoadError as error:
        field = "" if settings is None else culprit(settings, attempt)
        if not field or field.partition(" ")[0] in str(error):
            raise
        raise LoadError(f"{error} The field at fault: {field}.") from error
    check_settings(config.to_dict(), name)
    return config


def check_settings(settings: dict[str, Any], name: str) -> None:
    """Raises LoadError for a config with a value that cannot be."""
    said = strange(settings)
    if said:
        raise LoadError(f"The config of {name} makes no sense: {said}")


def built(
    config: PreTrainedConfig, settings: dict[str, Any] | None, name: str, trust_remote_code: bool
) -> PreTrainedModel:
    """The model that a config describes, without its weights. Raises LoadError, naming the field at fault among
    `settings`, or the config's own where these are not known."""
    from transformers import AutoModelForCausalLM

    def build(config: PreTrainedConfig) -> PreTrainedModel:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)  # type: ignore[no-any-return]

    try:
        return build(config)
    except BaseException as error:
        if not is_failure(error):
            raise
        field = culprit(settings or config.to_dict(), lambda some: build(type(config).from_dict(some)))
        at_fault = f" ({field})" if field else ""
        raise LoadError(
            f"The config of {name} describes no model that can be built{at_fault}: {one_line(error)}"
        ) from error


def settled(model: PreTrainedModel, name: str) -> PreTrainedModel:
    """Ready to compute and to be written. Raises LoadError where its config lets it do neither."""
    model.eval().requires_grad_(False)
    try:
        settle(model)
        try_out(model)
    except BaseException as error:  # What a config asks for can go wrong in as many ways as there are architectures.
        if not is_failure(error):
            raise
        raise LoadError(
            advice(error, name) or f"With its config the model of {name} does not compute: {one_line(error)}"
        ) from error
    return model
