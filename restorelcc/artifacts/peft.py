"""The same adapter as PEFT has it, so that stock `peft` puts it onto the pruned model, with no code of ours.

PEFT knows no constant at an output, but its LoRA may have a bias (`lora_bias`, since peft 0.14): one of rank one whose
matrices are zero adds that bias and nothing else. It is written without PEFT; tests read it with PEFT.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ..hf.weights import shape_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FOLDER = "peft"
"""Where it lies in the folder of an adapter."""
CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
"""As PEFT calls them."""


def fill_peft(folder: Path, model: PreTrainedModel, biases: Mapping[str, Tensor], pruned: str) -> None:
    """Write an adapter of PEFT's into a folder that exists.

    biases: what is added to the output of which linear maps of `model`, by their names. pruned: what people call it.
    """
    tensors = {}
    for name, bias in biases.items():
        outputs, inputs = shape_of(model.get_submodule(name))
        key = f"base_model.model.{name}"
        tensors[f"{key}.lora_A.weight"] = torch.zeros(1, inputs)
        tensors[f"{key}.lora_B.weight"] = torch.zeros(outputs, 1)
        tensors[f"{key}.lora_B.bias"] = bias.detach().float().cpu().contiguous()
    save_file(tensors, folder / TENSORS)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": pruned,
        "inference_mode": True,
        "r": 1,
        "lora_alpha": 1,
        "lora_dropout": 0.0,
        "bias": "none",
        "lora_bias": True,
        "fan_in_fan_out": not all(isinstance(model.get_submodule(name), nn.Linear) for name in biases),
        "target_modules": list(biases),
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
