"""The weight matrices of a decoder layer, however Hugging Face stores them: as [output, input], in place.

Linear maps hold them so; GPT-2's Conv1D transposed; the experts of a mixture share one 3-D parameter a kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

ROUTERS = ("gate", "router", "shared_expert_gate")
"""What chooses among experts by these names is no matrix that pruning may touch: it is small, and all depends on it."""


@dataclass(frozen=True)
class Matrix:
    """One weight matrix that pruning may touch."""

    module: nn.Module
    """Whose forward pass uses it; for an expert, the module of all experts."""
    weight: Tensor
    """[output, input] sharing its numbers with the model: what is changed in place is pruned there."""
    expert: int | None = None
    """Which of the module's experts it belongs to."""


def is_linear(module: nn.Module) -> bool:
    """Whether it is a linear map: nn.Linear, or the Conv1D of GPT-2, which is one too."""
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, nn.Linear | Conv1D)


def weight_of(module: nn.Module) -> Tensor:
    """[output, input] the weight of a linear map, a view of what the model holds."""
    weight = module.get_parameter("weight")
    return weight if isinstance(module, nn.Linear) else weight.T


def prunable(layer: nn.Module) -> dict[str, Matrix]:
    """The weight matrices of one decoder layer that pruning may touch, by name; those of expert 3 are
    `mlp.experts.3.gate_up_proj` and `mlp.experts.3.down_proj`, in this order. Routers are left out."""
    found = {}
    for name, module in layer.named_modules():
        if is_linear(module) and name.rpartition(".")[2] not in ROUTERS:
            found[name] = Matrix(module, weight_of(module).detach())
        elif is_experts(module):
            found |= {f"{name}.{matrix}": part for matrix, part in _experts(module)}
    return found


def is_experts(module: nn.Module) -> bool:
    """Whether it holds experts the way Transformers 5 does, in 3-D parameters [expert, …] of known layout."""
    return hasattr(module, "is_transposed") and hasattr(module, "has_gate") and hasattr(module, "down_proj")


def _entry(experts: nn.Module) -> str:
    return "gate_up_proj" if experts.has_gate else "up_proj"


def _experts(experts: nn.Module) -> Iterator[tuple[str, Matrix]]:
    weights = [(name, experts.get_parameter(name).detach()) for name in (_entry(experts), "down_proj")]
    for expert in range(len(weights[0][1])):
        for name, weight in weights:
            yield f"{expert}.{name}", Matrix(experts, _output_first(experts, weight[expert]), expert)


def _output_first(experts: nn.Module, weight: Tensor) -> Tensor:
    return weight.T if experts.is_transposed else weight


def expert_activation(entry: Matrix, rows: Tensor) -> Tensor:
    """[token, inner] what an expert's `down_proj` reads where its first matrix `entry` reads `rows` [token, d_model].

    Nothing in Transformers shows it, so it is computed again, with the module's own bias and gate.
    """
    experts: Any = entry.module
    inner = nn.functional.linear(rows, entry.weight)
    if experts.has_bias:
        inner = inner + experts.get_parameter(f"{_entry(experts)}_bias")[entry.expert]
    activation: Tensor = experts._apply_gate(inner) if experts.has_gate else experts.act_fn(inner)
    return activation
