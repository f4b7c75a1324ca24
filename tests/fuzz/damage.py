"""Hypothesis strategies that damage something valid: a JSON document, bytes, a line of text, an argument."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st

NASTY_NUMBERS = [0, -1, 1, 2, 3, 7, 10**9, 2**31, 2**63, -(2**63), 10**30, 0.5, -0.0, 1e-300, 1e300]
NASTY_TEXTS = [
    "", " ", "38", "-1", "nan", "true", "null", "None", "../..", "/etc/passwd", "/dev/zero", "a" * 5000, "\n", "\x00",
    "\ud800", "<b>x</b>", "$(id)", "__import__('os')", "float16", "auto", "llama", "[]", "{}", "%s%n",
    "\u202e", "1e999",
]  # fmt: skip
NASTY_VALUES: list[Any] = [
    None, True, False, [], {}, [[]], [None], {"a": None}, [1, 2, 3], float("nan"), float("inf"), -float("inf"),
    *NASTY_NUMBERS, *NASTY_TEXTS,
]  # fmt: skip

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
    """The document with one to three things in it replaced, dropped or doubled."""
    twin = original
    for _ in range(draw(st.integers(1, 3))):
        paths = list(places(twin))
        if not paths:
            return twin
        path = draw(st.sampled_from(paths))
        how = draw(st.sampled_from(["replace", "replace", "replace", "drop", "double", "rename"]))
        if how == "replace":
            value = draw(st.sampled_from(NASTY_VALUES))
            twin = _changed(twin, path, lambda holder, key, value=value: holder.__setitem__(key, value))  # type: ignore[misc]
        elif how == "drop":
            twin = _changed(twin, path, _drop)
        elif how == "double":
            twin = _changed(twin, path, _double)
        elif isinstance(path[-1], str):
            name = draw(st.sampled_from(["x", "", "vocab_size", "format", "__class__", path[-1].upper()]))
            twin = _changed(twin, path, lambda holder, key, name=name: holder.__setitem__(name, holder.pop(key)))  # type: ignore[misc]
    return twin


def written(document: Any) -> bytes:
    """As a file, lone surrogates and NaN included: others write such files too."""
    return json.dumps(document).encode("utf-8", "surrogatepass")


@st.composite
def garbled(draw: st.DrawFn, original: bytes) -> bytes:
    """The bytes cut, flipped, overwritten, doubled, or something else altogether."""
    size = len(original)
    how = draw(st.sampled_from(["cut", "flip", "zero", "insert", "double", "empty", "other", "head", "bom", "utf16"]))
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
    return {"double": original * 2, "empty": b"", "other": draw(st.binary(max_size=64))}[how]


def files(original: bytes) -> st.SearchStrategy[bytes]:
    """A JSON file, damaged as a document (mostly) or as bytes."""
    document = json.loads(original)
    return st.one_of(
        documents(document).map(written), documents(document).map(written), garbled(original),
        st.sampled_from(NASTY_VALUES).map(written),
    )  # fmt: skip


def arguments() -> st.SearchStrategy[str]:
    """What could stand where a number, a list or a name is wanted. Nothing with a NUL, which no shell can pass on."""
    numbers = st.one_of(st.sampled_from(NASTY_NUMBERS), st.integers(), st.floats()).map(str)
    texts = st.one_of(st.sampled_from(NASTY_TEXTS), st.text(max_size=20))
    return st.one_of(numbers, texts, st.lists(numbers, max_size=4).map(",".join)).filter(
        lambda text: ("\x00" not in text and text.isprintable()) or text == ""
    )
