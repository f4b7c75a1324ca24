"""A restoration on disk: a small adapter of ours, or a plain Hugging Face checkpoint with no code of ours in it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file

from ..compensation.constants import Constants
from ..compensation.interface import Compensation, attach, folded
from ..compensation.kinds import KINDS, read_compensation
from ..errors import LoadError
from ..foreign import check_regular, foreign
from ..hf.identity import other_setting, settings, weights_digest
from ..hf.layout import HeadGeometry, geometry, output_projections
from ..hf.narrow import kept_heads, pruning_record
from ..hf.weights import parameter_bytes, weight_of
from ..models.loading import Loading, load_model, load_tokenizer
from ..models.matching import KEPT_FILE, fewer_heads
from ..models.pair import ModelPair
from ..processes import by_the_first
from ..storage.digests import seal
from ..storage.folders import LITTLE, check_free, whole
from ..storage.formats import FORMAT, read_json, versions, write_json
from ..text.overlap import BENIGN, share_sketched
from ..text.tokens import Tokens
from . import peft
from .card import model_card, name_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ABOUT = "restorelcc.json"
TENSORS = "compensation.safetensors"
FIRST = {"kind": Constants.kind, "version": 1}
"""What adapters are that do not say what they are made of: written when there was one kind."""
CARD = "README.md"


@dataclass(frozen=True)
class Adapter:
    """A compensation and what it was made for."""

    compensation: Compensation
    geometry: HeadGeometry
    about: dict[str, Any]
    """Free facts in JSON: models, calibration, settings, figures, versions."""


def fill_adapter(
    folder: Path,
    compensation: Compensation,
    shape: HeadGeometry,
    about: dict[str, Any],
    pruned: PreTrainedModel | None = None,
) -> None:
    """Write the files of an adapter, its card among them, into a folder that exists. pruned: the model that it goes
    onto; where it is given, and PEFT can say the same, the folder `peft` holds an adapter of PEFT's too."""
    tensors = {name: tensor.cpu().contiguous() for name, tensor in compensation.tensors().items()}
    save_file(tensors, folder / TENSORS)
    made_of = {"kind": compensation.kind, "version": compensation.version}
    known = {"format": FORMAT, "geometry": asdict(shape), "compensation": made_of}
    write_json(folder / ABOUT, {**known, **about, "versions": versions()})
    with torch.no_grad():
        biases = None if pruned is None else compensation.output_biases(pruned)
    if pruned is not None and biases:
        (folder / peft.FOLDER).mkdir()
        peft.fill_peft(folder / peft.FOLDER, pruned, biases, name_of(about.get("pruned")))
    card = model_card("adapter", about, versions(), compensation, for_peft=bool(biases))
    (folder / CARD).write_text(card, encoding="utf-8")


@by_the_first
def save_adapter(
    folder: Path,
    compensation: Compensation,
    shape: HeadGeometry,
    about: dict[str, Any],
    pruned: PreTrainedModel | None = None,
) -> None:
    """An adapter folder, whole or not at all (see `fill_adapter`). Raises WriteError."""
    with whole(folder) as draft:
        fill_adapter(draft, compensation, shape, about, pruned)


def load_adapter(folder: Path) -> Adapter:
    """What `save_adapter` wrote. Raises LoadError."""
    about = read_json(folder / ABOUT, "adapter")
    with foreign(lambda reason: LoadError(f"The adapter in {folder} is damaged ({reason}). Make it again.")):
        shape = HeadGeometry.read(about.pop("geometry"))
        made_of = about.pop("compensation", FIRST)
        check_regular(folder / TENSORS)
        compensation = read_compensation(made_of["kind"], made_of["version"], load_file(folder / TENSORS), shape)
        made_for = about.get("made_for", {})
        if not isinstance(made_for, Mapping) or not isinstance(made_for.get("settings", {}), Mapping):
            raise ValueError("what it was made for is not what it should be")
    return Adapter(compensation, shape, about)


@by_the_first
def save_checkpoint(
    folder: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    compensation: Compensation | None = None,
    replace: bool = False,
    about: dict[str, Any] | None = None,
    sealed: bool = False,
) -> None:
    """An ordinary checkpoint that stock `transformers` loads, with the compensation folded in.

    Every zero of the model's weights stays a zero. Of a model that lost heads, `kept_heads.json` says which of the
    dense model's are left: {"format": 1, "kept": [[head, …], …]}, a list a layer. about: facts for the model card, as
    adapters have them. sealed: with digests of its files (see `digests`). Raises WriteError, UnsupportedModel,
    SettingError.
    """
    facts = {"pruning": pruning_record(model)} | (about or {})
    merged_type = ""
    if compensation is not None:
        by_bias = compensation.output_biases(model) is not None
        model = folded(model, compensation)
        merged_type = model.config.model_type if by_bias else ""
    card = model_card("checkpoint" if compensation else "pruned", facts, versions(), compensation, merged_type)
    kept = kept_heads(model)
    with whole(folder, replace, parameter_bytes(model)) as draft:
        model.save_pretrained(draft)
        tokenizer.save_pretrained(draft)
        if kept is not None:
            write_json(draft / KEPT_FILE, {"format": FORMAT, "kept": kept.tolist()})
        (draft / CARD).write_text(card, encoding="utf-8")
        if sealed:
            seal(draft)


def made_for(model: PreTrainedModel) -> dict[str, Any]:
    """What an adapter says of the pruned model that it is for, so that it goes onto no other: a digest of all weights,
    the settings that say what is computed with them, and the fingerprint that earlier versions looked at."""
    identity = {"weights": weights_digest(model), "settings": settings(model)}
    return {"fingerprint": fingerprint(model), "made_for": identity}


def check_adapter(folder: Path, pair: ModelPair, kind: str) -> int:
    """Any model can have one, and it needs no room to speak of."""
    return LITTLE


def write_adapter(
    folder: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    compensation: Compensation,
    about: dict[str, Any],
) -> None:
    """For a pruned model, in the heads that it has (see `save_adapter`)."""
    save_adapter(folder, compensation.own_heads(model), geometry(model), about, model)


def check_checkpoint(folder: Path, pair: ModelPair, kind: str) -> int:
    """Raises WriteError where the model does not fit on the disk, UnsupportedModel where it cannot carry what is put
    back."""
    check_free(folder, parameter_bytes(pair.pruned))
    folded(pair.pruned, KINDS[kind].none(pair.geometry))
    return parameter_bytes(pair.pruned)


def write_checkpoint(
    folder: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    compensation: Compensation,
    about: dict[str, Any],
) -> None:
    """Of a pruned model (see `save_checkpoint`)."""
    save_checkpoint(folder, model, tokenizer, compensation, about=about)


def fingerprint(model: PreTrainedModel) -> str:
    """A digest of a model's output projections alone, every eighth row, rounded to bfloat16 so that it is the same
    whether loaded in that or in float32: all that adapters had before `made_for`."""
    digest = hashlib.sha256()
    for projection in output_projections(model):
        rows = weight_of(projection).detach()[::8].to("cpu", torch.bfloat16).contiguous()
        digest.update(rows.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def adapter_fits(adapter: Adapter, model: PreTrainedModel) -> None:
    """Raises LoadError if the adapter was made for another shape of model, or for another model of this shape.

    One that is in the dense model's heads fits a model that knows which of them it has.
    """
    in_dense_heads = kept_heads(model) is not None and fewer_heads(adapter.geometry, geometry(model))
    if adapter.geometry != geometry(model) and not in_dense_heads:
        raise LoadError(
            f"The adapter is for {adapter.geometry}, the model is {geometry(model)}. Use the one it was made for."
        )
    differs = difference(adapter.about, model)
    if differs:
        raise LoadError(
            f"The adapter was made for another model of this shape ({adapter.about.get('pruned') or 'not named'}): "
            f"{differs}, so what it puts back is not what this one lost. Use the one it was made for, in the precision "
            "it is stored in."
        )


def trained_on(adapter: Adapter, tokens: Tokens) -> list[str]:
    """What should be said of a text to judge by, where an adapter says what it was trained on: that some of it is of
    that. Adapters made before texts were sketched say nothing."""
    text, known = adapter.about.get("calibration"), adapter.about.get("sketch")
    if not isinstance(known, str):
        return []
    with foreign(
        lambda reason: LoadError(f"What the adapter was trained on cannot be read ({reason}). Make it again.")
    ):
        share = share_sketched(tokens, known)
    if share < BENIGN:
        return []
    source = name_of(text.get("source")) if isinstance(text, Mapping) else ""
    return [f"About {share:.0%} of this text is of {source}, which the adapter was trained on: figures of it flatter."]


def difference(about: Mapping[str, Any], model: PreTrainedModel) -> str:
    """What of `model` is other than of the one that an adapter was made for, which says so as `made_for` does; in
    words, empty where nothing is known to be."""
    known = about.get("fingerprint")
    if known is not None and known != fingerprint(model):
        return "the output projections differ"
    identity = about.get("made_for")
    if not isinstance(identity, Mapping):  # made when attention alone was looked at
        return ""
    if identity.get("weights") != weights_digest(model):
        return "weights differ beside those of the output projections"
    ours, theirs = settings(model), identity.get("settings") or {}
    if not isinstance(theirs, dict):
        return "what is written of its settings is damaged"
    name = other_setting(ours, theirs)
    return f"{name} was {theirs[name]} there, and is {ours[name]} here" if name else ""


def load_restored(
    model_id: str, adapter: Path | str, loading: Loading | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The pruned model with its restoration in place for good, and its tokenizer. Raises LoadError if the adapter
    was made for another model.

    model_id: hub id or folder of the pruned model. The model is the caller's own; a deep copy keeps the restoration,
    `save_pretrained` does not.
    """
    loaded = load_adapter(Path(adapter))
    model = load_model(model_id, loading)
    adapter_fits(loaded, model)
    attach(model, loaded.compensation)
    return model, load_tokenizer(model_id, loading)
