"""The weight matrices of a decoder layer, however Hugging Face stores them: as [output, input], in place.

Linear maps hold them so; GPT-2's Conv1D transposed; the experts of a mixture share one 3-D parameter a kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

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


def shape_of(module: nn.Module) -> tuple[int, int]:
    """(output, input) widths of a linear map, wherever its weight is and however it is packed."""
    if isinstance(module, nn.Linear):
        return module.out_features, module.in_features
    rows, columns = module.get_parameter("weight").shape
    return columns, rows


def weight_of(module: nn.Module) -> Tensor:
    """[output, input] the weight of a linear map: a view of what the model holds, or, where it is packed in 8 or 4 bits
    or lies elsewhere between forward passes, its values."""
    weight = value_of(module, "weight")
    if "bitsandbytes" in type(module).__module__:
        from transformers.integrations.bitsandbytes import dequantize_bnb_weight

        weight = dequantize_bnb_weight(cast(nn.Parameter, weight), getattr(module, "state", None))
    return weight if isinstance(module, nn.Linear) else weight.T


def value_of(module: nn.Module, name: str) -> Tensor:
    """A parameter of `module` itself; of a model that `accelerate` spread over memory and disk what it computes with,
    and where it computes, since between forward passes the module holds none."""
    parameter: Tensor = getattr(module, name)  # of a parametrised module no parameter, but what it computes with
    hook = getattr(module, "_hf_hook", None)
    if not parameter.is_meta or hook is None:
        return parameter
    value: Tensor = hook.weights_map[name]
    return value.to(hook.execution_device)


def is_spread(model: nn.Module) -> bool:
    """Whether some of its parameters lie in memory or on disk between forward passes, and not in their modules."""
    return any(is_visited(module) for module in model.modules())


def is_visited(module: nn.Module) -> bool:
    """Whether its weights lie in memory or on disk, and are with it only for the length of a forward pass."""
    return bool(getattr(getattr(module, "_hf_hook", None), "offload", False))


def come_from(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Have a module that is visited compute with these, by name, in place of what lies in memory or on disk."""
    cast(Any, module)._hf_hook.weights_map = weights


def tied_names(model: nn.Module) -> dict[str, str]:
    """Of parameters that are one with another, by name, the name of that one."""
    return getattr(model, "all_tied_weights_keys", {})


def values_of(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """(name, values) of every parameter, wherever it lies; tied ones once."""
    # Of a spread model they are parameters of their own for want of values.
    again = tied_names(model) if is_spread(model) else {}
    for name in (name for name, _ in model.named_parameters() if name not in again):
        owner, _, leaf = name.rpartition(".")
        yield name, value_of(model.get_submodule(owner), leaf)


def embedding_of(model: PreTrainedModel) -> Tensor:
    """[vocabulary, width] the rows that tokens become."""
    return value_of(model.get_input_embeddings(), "weight")


def is_tied(model: PreTrainedModel) -> bool:
    """Whether the unembedding is the embedding, one tensor for both."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    ours, theirs = getattr(embedding, "weight", None), getattr(head, "weight", None)
    if ours is None or theirs is None or ours.is_meta or theirs.is_meta:
        return bool(getattr(model.config.get_text_config(), "tie_word_embeddings", False))
    return ours is theirs or ours.data_ptr() == theirs.data_ptr()


def set_tied(config: PreTrainedConfig, tied: bool) -> None:
    """Have a config say so."""
    for one in (config, config.get_text_config()):
        if getattr(one, "tie_word_embeddings", tied) != tied:
            one.tie_word_embeddings = tied


def untied(model: PreTrainedModel) -> list[str]:
    """Parameters that the config takes for one with another, and that have values of their own, as the checkpoint did.

    From here on the config says so too: or they would be made one again wherever the model is built anew or written.
    Only for a model that was just loaded and is nobody else's yet.
    """
    apart = []
    for name, other in model.get_expanded_tied_weights_keys(all_submodels=True).items():
        ours, theirs = (value_of(model.get_submodule(one.rpartition(".")[0]), one.rpartition(".")[2])
                        for one in (name, other))  # fmt: skip
        if ours is not theirs and not torch.equal(ours, theirs.to(ours.device)):
            apart.append(name)
            model.all_tied_weights_keys.pop(name, None)
    if apart:
        set_tied(model.config, False)
    return apart


def parameter_bytes(model: nn.Module) -> int:
    """What its parameters take in memory and in a checkpoint, each counted once."""
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """`model.state_dict()`; of a model spread over memory and disk with all values, on the CPU."""
    state: dict[str, Tensor] = model.state_dict()
    if not is_spread(model):
        return state
    for key in state:
        owner, _, name = key.rpartition(".")
        module = model.get_submodule(owner)
        state[key] = (value_of(module, name) if name in module._parameters else state[key]).cpu()
    return state


def prunable(layer: nn.Module) -> dict[str, Matrix]:
    """The weight matrices of one decoder layer that pruning may touch, by name; those of expert 3 are
    `mlp.experts.3.gate_up_proj` and `mlp.experts.3.down_proj`, in this order. Routers are left out."""
    matrices = {}
    for name, module in layer.named_modules():
        if _is_prunable(name, module):
            matrices[name] = Matrix(module, weight_of(module).detach())
        elif is_experts(module):
            matrices |= {f"{name}.{matrix}": part for matrix, part in _experts(module)}
    return matrices


def linear_maps(layer: nn.Module) -> list[nn.Module]:
    """Those of one decoder layer whose weights pruning may touch, experts and routers left out. No weight is read."""
    return [module for name, module in layer.named_modules() if _is_prunable(name, module)]


def _is_prunable(name: str, module: nn.Module) -> bool:
    return is_linear(module) and name.rpartition(".")[2] not in ROUTERS


def is_experts(module: nn.Module) -> bool:
    """Whether it holds experts the way Transformers 5 does, in 3-D parameters [expert, …] of known layout."""
    return hasattr(module, "is_transposed") and hasattr(module, "has_gate") and hasattr(module, "down_proj")


def _entry(experts: nn.Module) -> str:
    return "gate_up_proj" if experts.has_gate else "up_proj"


def _experts(experts: nn.Module) -> Iterator[tuple[str, Matrix]]:
    weights = [(name, value_of(experts, name).detach()) for name in (_entry(experts), "down_proj")]
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
