"""What a folder is that holds no model as Transformers writes it, so that a message can say what to do about it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

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
        base = json.loads(file.read_text("utf-8"))["base_model_name_or_path"]
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
