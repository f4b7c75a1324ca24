"""One passage, head by head, against plain hooks and the model's own attention."""

import copy

import pytest
import torch
from conftest import make_model, noisy, z_values
from transformers import Qwen3Config, Qwen3ForCausalLM

from restorelcc.capture.passage import attention_weights, lost_along, read_passage
from restorelcc.hf.layout import geometry
from restorelcc.hf.twins import showing_attention
from restorelcc.models.pair import paired


@pytest.fixture(scope="module")
def passage(tokens):
    return tokens.ids[2]


def sliding():
    """Qwen3, whose second layer looks back only four tokens, and whose heads are normalised."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=40, hidden_size=24, intermediate_size=16, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, use_sliding_window=True, sliding_window=4, initializer_range=0.25,
        layer_types=["full_attention", "sliding_attention"],
    )  # fmt: skip
    return Qwen3ForCausalLM(config).eval().requires_grad_(False)


def heads(model, ids):
    """[layer, head, pos, d_head] by plain hooks."""
    return geometry(model).split(z_values(model, ids[None])[:, 0]).transpose(1, 2)


def test_energies_equal_the_obvious_computation(pair, passage):
    reading = read_passage(pair, passage)
    dense, pruned = heads(pair.dense, passage), heads(pair.pruned, passage)
    torch.testing.assert_close(reading.lost, (dense - pruned).square().sum(-1))
    torch.testing.assert_close(reading.dense, dense.square().sum(-1))
    torch.testing.assert_close(reading.share, reading.lost / dense.square().sum(-1).mean(-1)[..., None])
    assert reading.lost.shape == (3, 4, 16)
    assert torch.equal(reading.dense_attention, attention_weights(pair.dense, passage[None]))
    assert torch.equal(reading.pruned_attention, attention_weights(pair.pruned, passage[None]))
    assert not torch.allclose(reading.pruned_attention, reading.dense_attention)
    assert torch.equal(reading.ids, passage)


def test_nothing_lost_is_zero_also_of_a_silent_head(pair, passage):
    silent = make_model()
    for layer in silent.model.layers:
        layer.self_attn.v_proj.weight.data.zero_()
    reading = read_passage(paired(silent, silent, pair.tokenizer, "dense", "pruned"), passage)
    assert not reading.dense.any()
    assert not reading.share.any()


def test_half_precision_is_read_in_full(pair, passage):
    dense, pruned = copy.deepcopy(pair.dense).bfloat16(), copy.deepcopy(pair.pruned).bfloat16()
    reading = read_passage(paired(dense, pruned, pair.tokenizer, "dense", "pruned"), passage)
    assert {part.dtype for part in (reading.lost, reading.dense, reading.dense_attention)} == {torch.float32}
    torch.testing.assert_close(
        reading.lost, (heads(dense, passage).float() - heads(pruned, passage).float()).square().sum(-1)
    )


@pytest.mark.parametrize("build", [make_model, sliding])
def test_attention_equals_the_models_own(build, passage):
    model = build()
    shown = attention_weights(model, passage[None])
    eager = copy.deepcopy(model)
    eager.set_attn_implementation("eager")
    own = torch.stack([layer[0] for layer in eager(passage[None], output_attentions=True).attentions])
    assert torch.equal(shown, own)
    torch.testing.assert_close(shown.sum(-1), torch.ones(shown.shape[:3]))
    assert not shown.triu(1).any()


def test_a_sliding_window_is_seen(passage):
    full, short = attention_weights(sliding(), passage[None])
    assert full.tril(-4).any()
    assert not short.tril(-4).any()


@pytest.mark.parametrize("build", [make_model, sliding])
def test_attention_times_values_is_what_heads_give(build, passage):
    """The weights shown are those that the fused attention used."""
    model = build()
    shape = geometry(model)
    values = []
    hooks = [
        layer.self_attn.v_proj.register_forward_hook(lambda _, args, out: values.append(out[0]))
        for layer in model.model.layers
    ]
    z = heads(model, passage)
    for hook in hooks:
        hook.remove()
    v = torch.stack(values).unflatten(-1, (shape.n_kv_heads, shape.d_head)).transpose(1, 2)
    v = v.repeat_interleave(shape.n_heads // shape.n_kv_heads, dim=1)  # each value head serves its query heads
    torch.testing.assert_close(attention_weights(model, passage[None]) @ v, z, rtol=1e-4, atol=1e-5)


def test_the_models_are_left_as_they_were(own_pair, passage):
    pair = own_pair
    before = [
        (m.config._attn_implementation, m.config.to_dict(), m(passage[None]).logits) for m in (pair.dense, pair.pruned)
    ]
    read_passage(pair, passage)
    for model, (attention, config, logits) in zip((pair.dense, pair.pruned), before, strict=True):
        assert model.config._attn_implementation == attention != "eager"
        assert model.config.to_dict() == config
        assert torch.equal(model(passage[None]).logits, logits)
        assert not any(module._forward_hooks for module in model.modules())


def test_showing_attention_copies_no_tensor():
    model = noisy(make_model(tie_word_embeddings=True))
    shown = showing_attention(model)
    ours, theirs = dict(model.named_parameters()), dict(shown.named_parameters())
    assert {name: p.data_ptr() for name, p in ours.items()} == {name: p.data_ptr() for name, p in theirs.items()}


def test_what_was_lost_along_a_direction(pair, passage):
    direction = torch.randn(8, generator=torch.Generator().manual_seed(1))
    lost = heads(pair.dense, passage) - heads(pair.pruned, passage)
    torch.testing.assert_close(lost_along(pair, passage, 1, 2, direction), lost[1, 2] @ direction)
