"""What the files of a checkpoint hold, by their headers, and whether that is what the model computes with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open

from ..errors import LoadError
from ..foreign import document_of, foreign, is_failure, one_line
from ..hf.failures import advice
from ..hf.weights import untied, values_of
from .signs import inside, lacks_head, of_account, sign

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
PIECE = 2**24
"""Numbers that are looked at together."""
ROOM = 2
"""A model that needs so many times the numbers of its files would be mostly made up."""


@dataclass(frozen=True)
class Stored:
    """The tensors of a checkpoint in safetensors."""

    shapes: Mapping[str, tuple[int, ...]]
    kinds: Mapping[str, str]
    """As safetensors calls them: F32, BF16 …"""
    twice: tuple[str, ...] = ()
    """Names that stand in two of its files."""
    unread: tuple[str, ...] = ()
    """Files of weights beside those that are read."""

    @property
    def numbers(self) -> int:
        """How many there are in all tensors."""
        return sum(map(prod, self.shapes.values()))

    @property
    def dtype(self) -> torch.dtype | None:
        """What most of the numbers are stored in; None where that is no plain floating point."""
        counts: Counter[str] = Counter()
        for name, kind in self.kinds.items():
            counts[kind] += prod(self.shapes[name])
        most = counts.most_common(1)
        return FLOATS.get(most[0][0]) if most else None

    def wider_than(self, dtype: torch.dtype) -> list[str]:
        """Names of tensors stored in a floating point that holds more than `dtype` does: they are rounded to it."""
        wider = [kind for kind, other in FLOATS.items() if torch.promote_types(other, dtype) != dtype]
        return sorted(name for name, kind in self.kinds.items() if kind in wider)


def read_headers(folder: Path, name: str, named: str | None = None) -> Stored | None:
    """Of the files that Transformers will read in this folder, or of the one `named`; None where they are not
    safetensors.

    Raises LoadError where a file that should be there is not, or is damaged.
    """
    if named is not None:
        files = [folder / named] if (folder / named).is_file() and named.endswith(".safetensors") else []
    elif (folder / WHOLE).is_file():
        files = [folder / WHOLE]
    elif (folder / INDEX).is_file():
        files = _shards(folder, name)
    else:
        files = []
    if not files:
        return None
    shapes: dict[str, tuple[int, ...]] = {}
    kinds: dict[str, str] = {}
    twice: list[str] = []
    for file in files:
        try:
            with safe_open(file, framework="pt") as tensors:
                for key in tensors.keys():  # noqa: SIM118  (it is no mapping)
                    part = tensors.get_slice(key)
                    twice += [key] if key in shapes else []
                    shapes[key], kinds[key] = tuple(part.get_shape()), part.get_dtype()
        except BaseException as error:
            if not is_failure(error):
                raise
            raise LoadError(
                advice(error, name)
                or f"The weights of {name} are damaged ({one_line(error)}, in {file.name}), probably a download or "
                "copy that broke off. Fetch the file again."
            ) from error
    read = {file.name for file in files}
    beside = sorted(path.name for path in folder.glob("model*.safetensors") if path.name not in read)
    return Stored(shapes, kinds, tuple(twice), tuple(beside))


def _shards(folder: Path, name: str) -> list[Path]:
    """The files that the index of a sharded checkpoint names. Raises LoadError where there is one that is not there."""
    with foreign(
        lambda reason: LoadError(
            f"{INDEX} of {name} cannot be read ({reason}): it should name the file of every tensor. Fetch it again."
        )
    ):
        index = document_of(folder / INDEX)
        named = sorted({str(file) for file in index["weight_map"].values()})
        dict(index["metadata"].items())  # Transformers looks into it.
        absent = [file for file in named if Path(file).name != file or not (folder / file).is_file()]
    if absent or not named:
        raise LoadError(
            f"{INDEX} of {name} names {len(named)} files, and {len(absent) or 'all'} of them are not there"
            f"{f', {absent[0]!r:.80} first' if absent else ''}: the download or copy broke off. Fetch them again."
        )
    return [folder / file for file in named]


def check_sizes(stored: Stored | None, skeleton: PreTrainedModel, name: str) -> None:
    """Before anything is read. Raises LoadError where the config calls for other shapes than the files hold, or for so
    much more that memory would be filled with what is made up. What is packed has shapes of its own."""
    if stored is None or getattr(skeleton.config, "quantization_config", None):
        return
    wanted = {key: tuple(value.shape) for key, value in skeleton.state_dict().items()}
    off = [(key, stored.shapes[key], shape) for key, shape in wanted.items() if stored.shapes.get(key, shape) != shape]
    if off:
        raise _misshapen(name, off)
    needed = sum(value.numel() for value in skeleton.parameters())
    if needed > ROOM * stored.numbers:
        raise LoadError(
            f"The config of {name} calls for {needed} numbers, and its files hold {stored.numbers}: the others would "
            "be random. The checkpoint is incomplete or belongs to another config."
        )


def _misshapen(name: str, off: Sequence[tuple[str, Iterable[int], Iterable[int]]]) -> LoadError:
    key, found, wanted = sorted(off)[0]
    return LoadError(
        f"{name} has {_tensors(len(off))} of another shape than its config calls for, {key} first: {list(found)} in "
        f"the file, {list(wanted)} by the config. Was the config edited, or does it belong to another checkpoint?"
    )


def check_names(model: PreTrainedModel, report: Mapping[str, Any], stored: Stored | None, name: str) -> list[str]:
    """What should be said of tensors that found no place in `model`, beside what it computes; a sentence each.

    report: what Transformers says of the load. Raises LoadError where tensors are lacking, misshapen, twice there, or
    left over among the layers: it would compute something else than what the files hold.
    """
    if report["mismatched_keys"]:
        raise _misshapen(name, list(report["mismatched_keys"]))
    absent = sorted(report["missing_keys"])
    left = of_account({key: stored.shapes.get(key, ()) if stored else () for key in report["unexpected_keys"]})
    given = sign(left)
    if given:
        kind, seen = given
        raise LoadError(f"{name} holds {len(seen)} {kind.are}, {seen[0]} first. {kind.remedy}.")
    beside = [key for key in left if not inside(model, key)]
    left = [key for key in left if key not in beside]
    if absent:
        raise LoadError(_lacking(name, absent, left or beside, lacks_head(absent, model)))
    if left:
        raise LoadError(
            f"{name} holds {_tensors(len(left))} that its config has no place for, {left[0]} first: without them it "
            "computes something else than what was trained. Give the config that belongs to the checkpoint."
        )
    if stored and stored.twice:
        raise LoadError(
            f"{name} holds {_tensors(len(stored.twice))} in two of its files, {stored.twice[0]} first, and which is "
            "meant is not known. Fetch the checkpoint again."
        )
    said = []
    if beside:
        said.append(f"{name} holds {_tensors(len(beside))} that its model does not compute with, {beside[0]} first.")
    if stored and stored.unread:
        said.append(f"{name} holds weights that are not read, beside those that are: {_listed(stored.unread)}.")
    return said


def wide_enough(config: PreTrainedConfig, stored: Stored | None) -> torch.dtype | str:
    """What to read a checkpoint in: what holds both what is stored and what the config names, so that no number is
    rounded; float64, which nothing here computes in, as float32."""
    named = _named_precision(config)
    if stored is None or stored.dtype is None or getattr(config, "quantization_config", None):
        return named or "auto"
    wide = stored.dtype if named is None else torch.promote_types(stored.dtype, named)
    return torch.float32 if wide == torch.float64 else wide


def _named_precision(config: PreTrainedConfig) -> torch.dtype | None:
    return config.dtype if isinstance(config.dtype, torch.dtype) else None


def disagreements(model: PreTrainedModel, config: PreTrainedConfig, stored: Stored | None, name: str) -> list[str]:
    """What should be said of a model just loaded whose files and config say different things, a sentence each; files
    are right. The model's own config says so from here on."""
    said = []
    apart = untied(model)
    if apart:
        said.append(
            f"{name} has {_listed(apart)} of its own, though its config takes it for the embedding "
            "(tie_word_embeddings): it computes with its own, and what is written from here says so."
        )
    named, kind = _named_precision(config), precision_name(model.dtype)
    if stored is not None and stored.dtype is not None:
        if named is not None and named != stored.dtype:
            said.append(
                f"{name} is stored in {precision_name(stored.dtype)}, and its config says {precision_name(named)}: it "
                f"is read in {kind}."
            )
        rounded = stored.wider_than(model.dtype)
        if rounded:
            said.append(f"{name} holds {_tensors(len(rounded))} rounded to {kind}, {rounded[0]} first.")
    return said


def precision_name(dtype: torch.dtype) -> str:
    """As people write it."""
    return str(dtype).removeprefix("torch.")


def check_numbers(model: PreTrainedModel, stored: Stored | None, name: str) -> None:
    """Raises LoadError for weights, and tables made by the config, with values that are no numbers."""
    rounded = [] if stored is None else stored.wider_than(model.dtype)
    for parameter, values in values_of(model):
        # A piece at a time: of an embedding with a large vocabulary the answer takes several times its memory.
        if all(bool(torch.isfinite(piece).all()) for piece in values.reshape(-1).split(PIECE)):
            continue
        if parameter in rounded:
            raise LoadError(
                f"{name} holds values in {parameter} beyond what {precision_name(model.dtype)} can hold, or NaN: every "
                "result would be NaN. Give --dtype bfloat16 or float32."
            )
        raise LoadError(
            f"{name} holds NaN or infinite values in {parameter}: every result would be NaN. "
            "The training or the conversion that wrote it failed; take another checkpoint."
        )
    for table, values in model.named_buffers():
        if values.is_floating_point() and not values.is_meta and bool(torch.isnan(values).any()):
            raise LoadError(
                f"By its config {name} computes NaN in {table}: every result would be NaN. Was the config edited?"
            )


def _lacking(name: str, absent: list[str], left: list[str], head: bool) -> str:
    rest = "they would be random. The checkpoint is incomplete or belongs to another config."
    if left:
        rest = f"and holds {len(left)} that it has no place for, {left[0]} first. It belongs to another config."
    elif head and len(absent) == 1:
        rest = (
            "it would be random. If the model unembeds with its embedding, its config should say so "
            "(tie_word_embeddings); otherwise the checkpoint is incomplete, or that of a model without a head."
        )
    return f"{name} lacks {len(absent)} weights that its config calls for, {absent[0]} first: {rest}"


def _tensors(count: int) -> str:
    return f"{count} tensor{'' if count == 1 else 's'}"


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
