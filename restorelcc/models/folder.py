"""A model's folder: what it is where it holds no model as Transformers writes it, so that a message can say what to do
about it; and that the weights that it has read lie in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import LoadError
from ..foreign import document_of, foreign

CONFIG = "config.json"
ADAPTER = "adapter_config.json"
GENERATION = "generation_config.json"

FORMATS: dict[str, str] = {
    "*.gguf": "GGUF, which llama.cpp reads. Give the model that it was made from, or convert it to safetensors",
    "consolidated*": "weights as the authors of Llama and Mistral publish them. Convert them to Transformers' format",
    "*.pth": "weights as the authors of Llama and Mistral publish them. Convert them to Transformers' format",
    "tf_model*": "TensorFlow weights. Convert them to safetensors",
    "flax_model*": "Flax weights. Convert them to safetensors",
    "*.onnx": "an ONNX model. Give the model that it was made from",
    "model.*.safetensors": "a variant of the weights alone. Rename it to model.safetensors to have it read",
}
"""By the names of their files: weights of other kinds, and what to do."""
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")


def no_model(folder: Path) -> str:
    """What a folder without a config is, and what to give instead."""
    known: tuple[tuple[str, Callable[[Path], str]], ...] = (
        (ADAPTER, _adapter),
        ("restorelcc.json", lambda _: "a restoration. Give the pruned model, and this as its --adapter"),
    )
    for file, told in known:
        if (folder / file).is_file():
            return f"{folder} holds no {CONFIG}: it is {told(folder / file)}."
    inside = sorted(path.parent.name for path in folder.glob(f"*/{CONFIG}"))
    if inside:
        return f"{folder} holds no {CONFIG}, so it is not a model folder. Give one in it: {', '.join(inside[:3])}."
    others = other_weights(folder)
    if others:
        return f"{folder} holds no {CONFIG}: it holds {others}."
    if any((folder / file).is_file() for file in (*PICKLES, "model.safetensors")):
        return f"{folder} holds weights and no {CONFIG}. Put the config of the model that they are of beside them."
    return f"{folder} holds no {CONFIG}, so it is not a model folder. Give the folder one level up or down."


def other_weights(folder: Path) -> str:
    """Which kind of weights that are not read a folder holds, and what to do; empty where it holds none."""
    return next((told for pattern, told in FORMATS.items() if any(folder.glob(pattern))), "")


def _adapter(file: Path) -> str:
    try:
        base = document_of(file)["base_model_name_or_path"]
    except Exception:  # It is an adapter all the same.
        base = None
    of = f" of {base}" if isinstance(base, str) and base.isprintable() and len(base) < 100 else ""
    return f"a PEFT adapter{of}. Merge it into its model (PeftModel.merge_and_unload), and give the result"


def no_config(settings: object) -> str:
    """What a config.json is that says of no model; empty where it may say of one."""
    if not isinstance(settings, dict):
        return "it is no JSON object"
    if "selection" in settings and "format" in settings:
        return "it is that of a restoration that was kept. Give its models, and the folder adapter in it as --adapter"
    return "" if settings.get("model_type") else "it names no model_type"


# --- where weights lie ---------------------------------------------------------------------------------------------

INDICES = "*.index.json"
WEIGHTS = ("*.safetensors", "*.bin", INDICES)


def check_inside(folder: Path) -> None:
    """Raises LoadError where reading the weights of a folder would read a file outside of it, or anything in it would
    be waited for without end. What links of the hub's cache lead to is that cache's own, wherever it is."""
    with foreign(lambda reason: LoadError(f"What is in {folder} cannot be read ({reason}). Fetch the model again.")):
        home, files = folder.resolve(), list(_files(folder))
        endless = [path for path in folder.iterdir() if path.exists() and not path.is_file() and not path.is_dir()]
    if endless:
        raise LoadError(
            f"{endless[0]} is a pipe, a socket or a device, which may have no end, and a model's files are read to "
            "theirs. Take it away."
        )
    for file, whence in files:
        if file.is_relative_to(home) or _is_blob(file):
            continue
        raise LoadError(
            f"{whence} leads to {file}, which is outside the model's folder: whoever made it could have any file "
            "read. Copy the weights into the folder."
        )


def _files(folder: Path) -> Iterator[tuple[Path, str]]:
    """(the file that is meant in the end, what leads there) for all that could be weights."""
    for path in (path for pattern in WEIGHTS for path in folder.glob(pattern)):
        yield path.resolve(), str(path)
    for index in folder.glob(INDICES):
        for name in _shards(index):
            yield (folder / name).resolve(), f"{index}, by its weight_map,"


def _shards(index: Path) -> set[str]:
    """What an index names; nothing where it cannot be read, which whoever reads the weights says better."""
    try:
        named = document_of(index)["weight_map"].values()
        return {name for name in named if isinstance(name, str) and "\x00" not in name}
    except Exception:  # Whatever may stand in such a file.
        return set()


def _is_blob(file: Path) -> bool:
    """Whether it lies where the hub's cache keeps what its snapshots link to: models--owner--name/blobs/digest."""
    return file.parent.name == "blobs" and file.parent.parent.name.startswith("models--")
