"""Models that are in no table: found by structure, in part, or refused by name; and experts, which are in no module."""

import pytest
import torch
from conftest import make_tokens
from families import check_captured, logits_with, make_family, random_compensation

from restorelcc.capture.components import components
from restorelcc.capture.passage import attention_weights
from restorelcc.capture.statistics import capture
from restorelcc.capture.vocabulary import vocabulary_effect
from restorelcc.compensation.interface import folded
from restorelcc.errors import UnsupportedModel
from restorelcc.hf.families import FAMILIES
from restorelcc.hf.layout import decoder_layers, geometry, layers_with_heads, remarks
from restorelcc.hf.twins import layer_inputs
from restorelcc.hf.weights import prunable
from restorelcc.models.pair import paired
from restorelcc.progress import finish
from restorelcc.pruning.inputs import forward, matrix_inputs
from restorelcc.pruning.layerwise import Pruning, prune
from restorelcc.pruning.sparsity import measure_sparsity
from restorelcc.restoration.settings import Settings
from restorelcc.restoration.training import Training
from restorelcc.selection.picks import everything


@pytest.mark.parametrize(
    ("model_type", "changes"),
    [("stablelm", {"use_qkv_bias": True, "partial_rotary_factor": 0.5}), ("bloom", {}), ("cohere", {}),
     ("gptj", {"rotary_dim": 4, "n_inner": 32}), ("starcoder2", {"sliding_window": None})],
)  # fmt: skip
def test_an_architecture_in_no_table_is_found_by_structure_and_says_so(model_type, changes, tokenizer):
    shape = {"hidden_size": 32, "num_key_value_heads": 4, "n_layer": 2, "n_head": 4, "multi_query": False}
    dense, tokens = make_family(model_type, **(shape | changes)), make_tokens()
    assert model_type not in FAMILIES
    (said,) = remarks(dense)
    assert said.startswith(f"'{model_type}' is none of the families")
    pruned = finish(prune(dense, tokens, Pruning("wanda", 0.5), "test"))
    pair = paired(dense, pruned, tokenizer, "dense", "pruned")
    check_captured(finish(capture(pair, tokens)), pair, tokens)
    c = random_compensation(pruned)
    if model_type == "cohere":  # a switch in its config
        torch.testing.assert_close(folded(pruned, c)(tokens.ids).logits, logits_with(pruned, c, tokens.ids))


HYBRID = {
    "qwen3_next": {
        "layer_types": ["linear_attention", "full_attention"], "linear_num_value_heads": 4, "linear_num_key_heads": 2,
        "linear_key_head_dim": 8, "linear_value_head_dim": 8, "moe_intermediate_size": 16, "num_experts": 4,
        "num_experts_per_tok": 2, "shared_expert_intermediate_size": 16,
    },
    "jamba": {
        "attn_layer_period": 2, "attn_layer_offset": 1, "mamba_d_state": 4, "mamba_dt_rank": 4, "hidden_size": 32,
        "use_mamba_kernels": False, "num_experts": 4, "num_experts_per_tok": 2,
    },
}  # fmt: skip


@pytest.mark.parametrize("model_type", HYBRID)
def test_layers_without_softmax_attention_are_skipped_and_listed(model_type, tokenizer):
    dense, tokens = make_family(model_type, **HYBRID[model_type]), make_tokens()
    assert geometry(dense).n_layers == 1
    assert layers_with_heads(dense) == [1]
    kind, skipped = remarks(dense)
    assert kind.startswith(f"'{model_type}' is none of the families")
    assert skipped.startswith("Layers 0 have no softmax attention")
    pruned = finish(prune(dense, tokens, Pruning("wanda", 0.5), "test"))
    assert {matrix.layer for matrix in measure_sparsity(pruned).matrices} == {0, 1}  # pruned all the same
    pair = paired(dense, pruned, tokenizer, "dense", "pruned")
    check_captured(finish(capture(pair, tokens)), pair, tokens)
    assert attention_weights(dense, tokens.ids[:1]).shape == (1, 4, 16, 16)
    assert vocabulary_effect(pruned, 0, 1, torch.ones(8)).shape == (38,)
    training = Training(
        pair, components(finish(capture(pair, tokens))), everything((1, 4, 8)), tokens, tokens, Settings(steps=1)
    )
    assert len(list(training.steps())) == 2


def test_two_output_projections_are_refused_by_name():
    model = make_family("llama")
    model.model.layers[1].self_attn.other_proj = torch.nn.Linear(32, 24)
    with pytest.raises(UnsupportedModel, match=r"layer 1 of LlamaForCausalLM .* 2 linear maps .*o_proj, other_proj"):
        geometry(model)


def test_heads_of_several_widths_are_refused_by_name():
    with pytest.raises(UnsupportedModel, match="Gemma4ForCausalLM are wider in some layers"):
        geometry(make_family("gemma4_text"))


def test_experts_stored_in_another_way_are_left_alone_and_said_so():
    model = make_family("llama4_text", hidden_size=32, num_local_experts=4, intermediate_size_mlp=32)
    assert any("experts" in said and "leaves them" in said for said in remarks(model))
    assert not any("expert" in name for name in prunable(decoder_layers(model)[0]) if "shared" not in name)


def test_layers_that_cannot_be_told_are_refused_by_name():
    model = make_family("llama")
    model.config.num_hidden_layers = 5
    with pytest.raises(UnsupportedModel, match="LlamaForCausalLM has 0 lists of 5 modules"):
        decoder_layers(model)


# --- experts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model_type", ["mixtral", "qwen3_moe", "gpt_oss"])
def test_experts_are_pruned_by_what_they_themselves_read(model_type):
    """Against the slow way: every expert a loop of its own over the tokens that came to it."""
    model, tokens = make_family(model_type), make_tokens()
    real = tokens.real.clone()
    real[:, 12:] = False
    layer = decoder_layers(model)[1]
    hidden, arguments = layer_inputs(model, tokens.ids)
    states = forward(decoder_layers(model)[0], hidden, arguments[0])
    matrices, found, routed = prunable(layer), {}, []
    experts = layer.mlp.experts
    hook = experts.register_forward_pre_hook(lambda _, args: routed.append(args))
    matrix_inputs(layer, matrices, [(states, real, arguments[1])], lambda name, rows: found.setdefault(name, rows))
    hook.remove()
    assert {name for name in matrices if "experts" in name} == {
        f"mlp.experts.{expert}.{part}_proj" for expert in range(4) for part in ("gate_up", "down")
    }
    entering, choice, weight = routed[0]
    total = torch.zeros_like(entering)
    for expert in range(4):
        rows, inner = [], []
        for token in range(len(entering)):
            for slot in range(2):
                if choice[token, slot] == expert:
                    one = torch.zeros_like(weight), torch.full_like(choice, expert)
                    one[0][token, slot] = 1
                    own = experts(entering, one[1], one[0])[token]
                    total[token] += weight[token, slot] * own
                    if real.flatten()[token]:
                        rows.append(entering[token])
                        inner.append(own)
        if not rows:
            assert f"mlp.experts.{expert}.down_proj" not in found
            continue
        torch.testing.assert_close(found[f"mlp.experts.{expert}.gate_up_proj"], torch.stack(rows))
        # What the down projection makes of the rows it is said to read is what the expert puts out.
        down = found[f"mlp.experts.{expert}.down_proj"] @ matrices[f"mlp.experts.{expert}.down_proj"].weight.T
        if model_type == "gpt_oss":
            down = down + experts.down_proj_bias[expert]
        torch.testing.assert_close(down, torch.stack(inner), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(experts(entering, choice, weight), total, rtol=1e-4, atol=1e-5)


def test_an_expert_that_no_token_reached_is_pruned_by_the_size_of_its_weights():
    model, tokens = make_family("mixtral", num_experts_per_tok=1), make_tokens()
    for layer in decoder_layers(model):
        layer.mlp.gate.weight[3] = 0
        layer.mlp.gate.weight[:3] *= 100
        layer.mlp.gate.weight[2] = -layer.mlp.gate.weight[:2].sum(0)  # one of three is always above 0
    pruned = finish(prune(model, tokens, Pruning("wanda", 0.5), "test"))
    before, after = (prunable(decoder_layers(m)[0])["mlp.experts.3.down_proj"].weight for m in (model, pruned))
    for row, kept in zip(before, after, strict=True):
        if torch.equal(kept != 0, row.abs() >= row.abs().sort().values[16]):
            continue
        pytest.fail("the smallest weights of the row should have gone")
