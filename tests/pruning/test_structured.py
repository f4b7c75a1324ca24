"""Heads and channels removed: against least squares on what stays, and as an ordinary, smaller checkpoint."""

import pytest
import torch
from conftest import make_model, make_tokens
from test_sparsegpt import damped, problem
from transformers import (
    AutoModelForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Olmo2Config,
    Olmo2ForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from restorelcc.artifacts.export import save_checkpoint
from restorelcc.compensation.constants import Constants
from restorelcc.compensation.interface import compensated
from restorelcc.errors import SettingError, UnsupportedModel
from restorelcc.hf.layout import geometry
from restorelcc.hf.twins import copied
from restorelcc.progress import finish
from restorelcc.pruning.layerwise import Pruning, prune
from restorelcc.pruning.structured import without_groups


def structured(model, ratio=0.5, tokens=None):
    return finish(prune(model, tokens or make_tokens(), Pruning("structured", ratio), "test", batch=4))


def best_without(weight, hessian, columns):
    """(columns that stay, their least-squares weights, the squared error), solved from scratch in float64."""
    stays = [j for j in range(weight.shape[1]) if j not in columns]
    h, w = damped(hessian), weight.double()
    found = w @ h[:, stays] @ h[stays][:, stays].inverse()
    change = w.clone()
    change[:, stays] -= found
    return stays, found, float(((change @ h) * change).sum())


@pytest.mark.parametrize(("width", "count"), [(1, 5), (4, 3), (8, 2)])
def test_group_after_group_the_one_whose_loss_can_best_be_made_up_for(width, count):
    weight, _, hessian = problem(outputs=6, inputs=40, tokens=600)
    gone: list[int] = []
    for _ in range(count):
        groups = [g for g in range(40 // width) if g not in gone]
        errors = {g: best_without(weight, hessian, columns_of([*gone, g], width))[2] for g in groups}
        gone.append(min(errors, key=errors.get))
    stays, expected, _ = best_without(weight, hessian, columns_of(gone, width))
    kept, found = without_groups(weight, hessian, width, count)
    assert columns_of(kept.tolist(), width) == stays
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-3)


def columns_of(groups, width):
    return [j for g in groups for j in range(g * width, g * width + width)]


def test_many_groups_in_few_rounds_are_still_made_up_for_exactly():
    weight, _, hessian = problem(outputs=4, inputs=60, tokens=600)
    kept, found = without_groups(weight, hessian, 1, 40)
    gone = sorted(set(range(60)) - set(kept.tolist()))
    assert len(gone) == 40
    _, expected, error = best_without(weight, hessian, gone)
    torch.testing.assert_close(found.double(), expected, rtol=1e-2, atol=1e-2)
    draw = torch.Generator().manual_seed(0)
    chance = [best_without(weight, hessian, torch.randperm(60, generator=draw)[:40].tolist())[2] for _ in range(20)]
    assert error < min(chance)


def test_what_stays_is_what_it_was_and_its_heads_are_named():
    """4 query heads, 2 key/value heads: one key/value head goes, with both heads that read it."""
    dense = make_model(attention_bias=True)
    for parameter in dense.parameters():
        parameter.data += 0.01 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3))
    before = {name: value.clone() for name, value in dense.state_dict().items()}
    result = structured(dense)
    assert all(torch.equal(value, before[name]) for name, value in dense.state_dict().items())
    shape = geometry(result)
    assert (shape.n_heads, shape.n_kv_heads, shape.d_head, shape.d_model) == (2, 1, 8, 24)
    assert result.config.intermediate_size == 16
    for layer, twin, heads in zip(
        dense.model.layers, result.model.layers, result.config.pruning["kept_heads"], strict=True
    ):
        assert heads in ([0, 1], [2, 3])
        q, k = columns_of(heads, 8), columns_of([heads[0] // 2], 8)
        for name, rows in (("q_proj", q), ("k_proj", k), ("v_proj", k)):
            whole, part = layer.self_attn.get_submodule(name), twin.self_attn.get_submodule(name)
            assert torch.equal(part.weight, whole.weight[rows])
            assert torch.equal(part.bias, whole.bias[rows])
        assert torch.equal(twin.self_attn.o_proj.bias, layer.self_attn.o_proj.bias)
        ours, theirs = (one.mlp.gate_proj.weight for one in (twin, layer))
        channels = [int((theirs == row).all(1).nonzero()) for row in ours]
        assert channels == sorted(set(channels))
        assert torch.equal(twin.mlp.up_proj.weight, layer.mlp.up_proj.weight[channels])
    assert torch.equal(result.lm_head.weight, dense.lm_head.weight)


def test_the_first_layer_is_least_squares_on_what_it_reads():
    dense, tokens = make_model(), make_tokens(texts=8, length=20)
    result = structured(dense, 0.5, tokens)
    seen = []
    layer, twin = dense.model.layers[0], result.model.layers[0]
    hook = layer.self_attn.o_proj.register_forward_pre_hook(lambda _, args: seen.append(args[0].flatten(0, 1)))
    dense(tokens.ids)
    hook.remove()
    hessian = 2 * seen[0].T @ seen[0] / len(seen[0])
    gone = columns_of([head for head in range(4) if head not in result.config.pruning["kept_heads"][0]], 8)
    _, expected, _ = best_without(layer.self_attn.o_proj.weight, hessian, gone)
    torch.testing.assert_close(twin.self_attn.o_proj.weight.double(), expected, rtol=1e-3, atol=1e-4)


FAMILY = {"vocab_size": 40, "hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2,
          "num_attention_heads": 4, "num_key_value_heads": 2}  # fmt: skip


@pytest.mark.parametrize(
    "model",
    [
        lambda: make_model(),
        lambda: make_model(num_key_value_heads=4, tie_word_embeddings=True),
        lambda: make_model(num_attention_heads=6, num_key_value_heads=3, attention_bias=True),
        lambda: MistralForCausalLM(MistralConfig(**FAMILY, sliding_window=8)),
        lambda: Qwen2ForCausalLM(Qwen2Config(**FAMILY)),
    ],
)
def test_plain_transformers_loads_it(model, tmp_path):
    """head_dim is written even where it used to follow from the number of heads."""
    tokens = make_tokens()
    result = structured(model().eval().requires_grad_(False), 0.5, tokens)
    result.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    torch.testing.assert_close(loaded(tokens.ids).logits, result(tokens.ids).logits)
    assert geometry(loaded) == geometry(result)
    assert loaded.config.pruning["kept_heads"] == result.config.pruning["kept_heads"]
    assert sum(p.numel() for p in loaded.parameters()) < sum(p.numel() for p in model().parameters())
    assert result.config.pruning["sparsity"] == 0.5


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (lambda: Olmo2ForCausalLM(Olmo2Config(**FAMILY, pad_token_id=1)), "q_norm.weight .* spans all heads"),
        (lambda: OPTForCausalLM(OPTConfig(vocab_size=40, hidden_size=24, word_embed_proj_dim=24, num_hidden_layers=1,
                                          num_attention_heads=4, ffn_dim=32)), "shape of Llama|not looked for"),
    ],
)  # fmt: skip
def test_other_shapes_are_refused_by_name(model, says):
    with pytest.raises(UnsupportedModel, match=says):
        structured(model().eval().requires_grad_(False))


def test_heads_that_no_llama_may_have_make_an_equal_granite(tokenizer, tmp_path):
    """6 of 8 heads do not divide a residual stream of 64, and LlamaConfig wants them to. The same function, and so is
    what a restoration makes of it; a Mistral, which has no bias for it, becomes one then."""
    ids, draw = make_tokens().ids, torch.Generator().manual_seed(0)
    shape = {"hidden_size": 64, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 8}
    for dense in (
        make_model(**shape, rope_theta=500.0, rms_norm_eps=1e-3),
        MistralForCausalLM(MistralConfig(**FAMILY | shape, sliding_window=None)).eval().requires_grad_(False),
    ):
        narrow = structured(dense, 0.25)
        assert geometry(narrow).n_heads == 6
        assert narrow.config.model_type == ("granite" if dense.config.model_type == "llama" else "mistral")
        wide = widened(dense, narrow)
        torch.testing.assert_close(narrow(ids).logits, wide(ids).logits, rtol=1e-4, atol=1e-4)
        c = Constants(torch.randn(geometry(narrow).n_layers, 6, 8, generator=draw))
        save_checkpoint(tmp_path / dense.config.model_type, narrow, tokenizer, c)
        loaded = AutoModelForCausalLM.from_pretrained(tmp_path / dense.config.model_type)
        assert loaded.config.model_type == "granite"
        with compensated(narrow, c):
            torch.testing.assert_close(loaded(ids).logits, narrow(ids).logits, rtol=1e-4, atol=1e-4)


def widened(dense, narrow):
    """The dense model with the heads and channels that `narrow` lacks silenced, by its own class."""
    twin = copied(dense)
    for layer, part, heads in zip(
        twin.model.layers, narrow.model.layers, narrow.config.pruning["kept_heads"], strict=True
    ):
        output, down = layer.self_attn.o_proj.weight, layer.mlp.down_proj.weight
        output.zero_()[:, columns_of(heads, 8)] = part.self_attn.o_proj.weight
        kept = [int((layer.mlp.gate_proj.weight == row).all(1).nonzero()) for row in part.mlp.gate_proj.weight]
        down.zero_()[:, kept] = part.mlp.down_proj.weight
    return twin


def test_ratios_that_make_no_sense_are_refused():
    with pytest.raises(SettingError, match="no whole head or channel"):
        structured(make_model(), 0.01)
    with pytest.raises(SettingError, match="whole heads and channels"):
        Pruning("structured", pattern="2:4")
    shape = geometry(structured(make_model(), 0.99))
    assert (shape.n_heads, shape.n_kv_heads) == (2, 1)
