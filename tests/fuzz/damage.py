"""Hypothesis strategies that damage something valid: a JSON document, bytes, a line of text, an argument."""

from __future__ import annotations

import bz2
import copy
import gzip
import json
import lzma
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st

NASTY_NUMBERS = [0, -1, 1, 2, 3, 7, 64, 10**6, 10**9, 2**31 - 1, 2**31, 2**63, -(2**63), 10**30, 0.5, 2.0, -0.0, 1e-300,
                 1e300]  # fmt: skip
NASTY_TEXTS = [
    "", " ", "38", "-1", "nan", "true", "null", "None", "../..", "../secret.txt", "/etc/passwd", "/dev/zero",
    "/proc/self/environ", "a" * 5000, "\n", "\x00", "\ud800", "\udcff", "<b>x</b>", "$(id)", "__import__('os')",
    "float16", "auto", "llama", "gpt2", "bert", "[]", "{}", "%s%n", "{0}", "\u202e", "1e999", "é" * 300,
    "0x10", "1_000",
]  # fmt: skip
NASTY_VALUES: list[Any] = [
    None, True, False, [], {}, [[]], [None], {"a": None}, [1, 2, 3], [0.5], ["x"], {"a": {"b": [1]}}, float("nan"),
    float("inf"), -float("inf"), *NASTY_NUMBERS, *NASTY_TEXTS,
]  # fmt: skip
DEEP = "[" * 100_000

Document = dict[str, Any] | list[Any]


def places(tree: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to everything in a JSON document, the document itself left out."""
    branches = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in branches:
        yield (*at, key)
        # Long lists (merges, vocabularies) would drown the rest.
        if not (isinstance(value, list | dict) and len(value) > 60):
            yield from places(value, (*at, key))


def _holder(tree: Document, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        tree = tree[key]
    return tree


def _changed(original: Document, path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Document:
    twin = copy.deepcopy(original)
    change(_holder(twin, path), path[-1])
    return twin


def _drop(holder: Any, key: Any) -> None:
    del holder[key]


def _double(holder: Any, key: Any) -> None:
    if isinstance(holder, list):
        holder.insert(key, holder[key])
    else:
        holder[f"{key}_"] = holder[key]


@st.composite
def documents(draw: st.DrawFn, original: Document) -> Document:
    """The document with one to three things in it replaced, dropped, doubled, renamed, or added."""
    twin = original
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        paths = list(places(twin))
        if not paths:
            return twin
        path = draw(st.sampled_from(paths))
        how = draw(st.sampled_from(["replace", "replace", "replace", "drop", "double", "rename", "add"]))
        if how == "replace":
            value = draw(st.sampled_from(NASTY_VALUES))
            twin = _changed(twin, path, lambda holder, key, value=value: holder.__setitem__(key, value))  # type: ignore[misc]
        elif how == "drop":
            twin = _changed(twin, path, _drop)
        elif how == "double":
            twin = _changed(twin, path, _double)
        elif how == "rename" and isinstance(path[-1], str):
            name = draw(st.sampled_from(["x", "", "vocab_size", "format", "__class__", path[-1].upper()]))
            twin = _changed(twin, path, lambda holder, key, name=name: holder.__setitem__(name, holder.pop(key)))  # type: ignore[misc]
        elif how == "add" and isinstance(twin, dict):
            twin = twin | {draw(st.sampled_from(ADDED)): draw(st.sampled_from(NASTY_VALUES))}
    return twin


ADDED = [
    "num_labels", "id2label", "quantization_config", "auto_map", "rope_scaling", "rope_parameters", "layer_types",
    "sliding_window", "head_dim", "attn_implementation", "_attn_implementation", "pruning", "text_config", "dtype",
    "torch_dtype", "tie_word_embeddings", "num_experts", "output_hidden_states", "is_decoder", "architectures",
    "chat_template", "added_tokens_decoder", "additional_special_tokens", "model_max_length", "eos_token_id",
    "transformers_weights", "base_model_tp_plan", "problem_type", "pad_token_id", "name", "format", "kept",
]  # fmt: skip
"""Fields that some files have and others lack."""


def written(document: Any) -> bytes:
    """As a file, lone surrogates and NaN included: others write such files too."""
    return json.dumps(document).encode("utf-8", "surrogatepass")


@st.composite
def garbled(draw: st.DrawFn, original: bytes) -> bytes:
    """The bytes cut, flipped, overwritten, doubled, or something else altogether."""
    size = len(original)
    how = draw(
        st.sampled_from(["cut", "flip", "zero", "insert", "double", "empty", "other", "head", "bom", "utf16", "latin"])
    )
    if how == "cut":
        return original[: draw(st.integers(0, max(0, size - 1)))]
    if how == "flip":
        at = draw(st.integers(0, max(0, min(size - 1, 4096))))
        return original[:at] + bytes([original[at] ^ (1 << draw(st.integers(0, 7)))]) + original[at + 1 :]
    if how == "zero":
        at, length = draw(st.integers(0, max(0, size - 1))), draw(st.integers(1, 64))
        return original[:at] + bytes(length) + original[at + length :]
    if how == "insert":
        at = draw(st.integers(0, min(size, 2048)))
        return original[:at] + draw(st.binary(min_size=1, max_size=16)) + original[at:]
    if how == "head":
        return draw(st.integers(0, 2**64 - 1)).to_bytes(8, "little") + original[8:]
    if how == "bom":
        return b"\xef\xbb\xbf" + original
    if how == "utf16":
        return original.decode("utf-8", "replace").encode("utf-16")
    if how == "latin":
        return original.replace(b"a", b"\xe9", 3)
    return {"double": original * 2, "empty": b"", "other": draw(st.binary(max_size=64))}[how]


def files(original: bytes) -> st.SearchStrategy[bytes]:
    """A JSON file, damaged as a document (mostly) or as bytes."""
    document = json.loads(original)
    return st.one_of(
        documents(document).map(written), documents(document).map(written), garbled(original),
        st.one_of(st.sampled_from(NASTY_VALUES).map(written), st.just(DEEP.encode()), st.just(b"1" * 5000)),
    )  # fmt: skip


PACKERS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def numbers() -> st.SearchStrategy[str]:
    """As people and programs write them, and as nobody would."""
    plain = st.one_of(st.sampled_from(NASTY_NUMBERS), st.integers(), st.floats())
    return st.one_of(plain.map(str), st.sampled_from(["nan", "inf", "-inf", "1e999", "+1", "०", "1_0", "0x10", "1e3"]))


def arguments() -> st.SearchStrategy[str]:
    """What could stand where a number, a list or a name is wanted. Nothing with a NUL, which no shell can pass on."""
    texts = st.one_of(st.sampled_from(NASTY_TEXTS), st.text(max_size=20))
    return st.one_of(numbers(), texts, st.lists(numbers(), max_size=4).map(",".join)).filter(passable)


def passable(text: str) -> bool:
    """Whether a shell can pass it on: no NUL, and of surrogates those alone that stand for bytes."""
    try:
        return b"\x00" not in text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
