"""A tiny random model of every family in the engine's table, each with what makes its family awkward switched on."""

import torch
from conftest import WORDS
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from restorelcc.compensation.constants import Constants
from restorelcc.compensation.interface import compensated
from restorelcc.hf.layout import geometry, output_projections

# Where the family allows it: fewer key/value heads than heads, and a head_dim (8) that is not d_model / n_heads (6).
SHAPE = {
    "vocab_size": len(WORDS) + 3,
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "initializer_range": 0.25,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
SLIDING = {"sliding_window": 4, "layer_types": ["full_attention", "sliding_attention"]}
EXPERTS = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2}
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0, "original_max_position_embeddings": 32}
# Here heads are d_model / n_heads wide.
TIED = {"hidden_size": 32, "num_key_value_heads": 4}
OWN = {
    "qwen3": {"use_sliding_window": True, **SLIDING},
    "gemma2": {"query_pre_attn_scalar": 8, "attn_logit_softcapping": 5.0, "final_logit_softcapping": 8.0, **SLIDING},
    "gemma3_text": {"query_pre_attn_scalar": 8, "rope_local_base_freq": 100.0, **SLIDING},
    "phi": {"hidden_size": 32},
    "phi3": {"partial_rotary_factor": 1.0, "sliding_window": None},
    "opt": TIED | {"ffn_dim": 32, "word_embed_proj_dim": 16},
    "gpt2": TIED | {"n_inner": 32},
    "gpt_neox": TIED | {"rotary_pct": 0.5},
    "granite": {"residual_multiplier": 0.5, "logits_scaling": 2.0, "attention_multiplier": 0.3},
    "smollm3": {"no_rope_layers": [1, 0]},
    "mixtral": EXPERTS,
    "qwen3_moe": {"moe_intermediate_size": 16, "mlp_only_layers": [0], "decoder_sparse_step": 1, **EXPERTS},
    "gpt_oss": EXPERTS | SLIDING | {"rope_parameters": YARN},
}


def make_family(model_type: str, seed: int = 0, **changes: object) -> PreTrainedModel:
    """In float32, every number random, biases and the gains of norms too."""
    torch.manual_seed(seed)
    config = AutoConfig.for_model(model_type, **(SHAPE | OWN.get(model_type, {}) | changes))
    model = AutoModelForCausalLM.from_config(config).float()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 or name.endswith("bias"):
                parameter.add_(0.2 * torch.randn(parameter.shape))
    return model.eval().requires_grad_(False)


def logits_with(model, compensation, ids):
    with compensated(model, compensation), torch.no_grad():
        return model(ids).logits


def random_compensation(model, seed=0):
    """Large enough to be seen in the logits."""
    shape = geometry(model)
    size = (shape.n_layers, shape.n_heads, shape.d_head)
    return Constants(0.3 * torch.randn(size, generator=torch.Generator().manual_seed(seed)))


def check_captured(statistics, pair, tokens):
    """Head by head, by plain hooks."""
    shape, seen = pair.geometry, []
    for model in (pair.dense, pair.pruned):
        z = []
        hooks = [m.register_forward_pre_hook(lambda _, args, z=z: z.append(args[0])) for m in output_projections(model)]
        out = model(tokens.ids)
        for hook in hooks:
            hook.remove()
        assert len(z) == shape.n_layers
        assert torch.isfinite(out.logits).all()
        seen.append(torch.stack(z).double().flatten(1, 2).unflatten(-1, (shape.n_heads, shape.d_head)))
    lost = seen[0] - seen[1]  # [layer, token, head, d_head]
    torch.testing.assert_close(statistics.mean, lost.mean(1), rtol=1e-4, atol=1e-6)
    for layer, projection in enumerate(output_projections(pair.pruned)):
        zeros = torch.zeros_like(lost[layer])
        for head in range(shape.n_heads):
            one = zeros.clone()
            one[:, head] = lost[layer, :, head]
            # The module itself, not its weight: what its output changes by.
            gap = projection(one.flatten(1).float()) - projection(zeros.flatten(1).float())
            written = gap.double().square().sum(-1).mean()
            torch.testing.assert_close(statistics.written_loss[layer, head], written, rtol=1e-3, atol=1e-6)


def foreign(narrow):
    """The same checkpoint without a word on which heads it kept, and a little further trained."""
    twin = type(narrow)(narrow.config.from_dict(narrow.config.to_dict() | {"pruning": None})).eval()
    twin.load_state_dict(narrow.state_dict())
    draw = torch.Generator().manual_seed(5)
    for parameter in twin.requires_grad_(False).parameters():
        parameter += 0.1 * parameter.std() * torch.randn(parameter.shape, generator=draw)
    return twin
