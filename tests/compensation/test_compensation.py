"""Injected, hooked, merged: one and the same, for everybody at once."""

import threading

import pytest
import torch
from conftest import make_model, make_tokens
from transformers import Qwen3Config, Qwen3ForCausalLM

from restorelcc.compensation.constants import Constants as Compensation
from restorelcc.compensation.constants import injected, merged
from restorelcc.compensation.interface import compensated
from restorelcc.errors import SettingError
from restorelcc.hf.twins import with_output_biases
from restorelcc.selection.picks import Selection


def random_compensation(seed=0, shape=(3, 4, 8)):
    return Compensation(torch.randn(shape, generator=torch.Generator().manual_seed(seed)))


def logits_with(model, compensation, ids):
    with compensated(model, compensation):
        return model(ids).logits


def test_hooked_equals_adding_c_to_every_head(pair, tokens):
    """The definition, z + c before the output projection, by a hook of its own."""
    c = random_compensation()
    hooks = [
        layer.self_attn.o_proj.register_forward_pre_hook(lambda _, args, v=v: (args[0] + v.flatten(),))
        for layer, v in zip(pair.pruned.model.layers, c.vectors, strict=True)
    ]
    expected = pair.pruned(tokens.ids).logits
    for hook in hooks:
        hook.remove()
    torch.testing.assert_close(logits_with(pair.pruned, c, tokens.ids), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("changes", [{}, {"attention_bias": True}, {"tie_word_embeddings": True}])
def test_merged_equals_hooked(changes):
    model, tokens, c = make_model(**changes), make_tokens(), random_compensation()
    if changes.get("attention_bias"):
        for layer in model.model.layers:
            layer.self_attn.o_proj.bias.data.normal_()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    twin = with_output_biases(model, merged(model, c))
    hooked = logits_with(model, c, tokens.ids)
    torch.testing.assert_close(twin(tokens.ids).logits, hooked, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(hooked, model(tokens.ids).logits, atol=1e-2)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_merged_equals_hooked_in_another_family_with_the_switch():
    """Qwen3: head_dim of its own, norms on queries and keys, a bias only if the config says so."""
    torch.manual_seed(0)
    shape = {
        "hidden_size": 24,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
    }
    model = Qwen3ForCausalLM(Qwen3Config(vocab_size=40, intermediate_size=16, **shape)).eval().requires_grad_(False)
    tokens, c = make_tokens(), random_compensation()
    twin = with_output_biases(model, merged(model, c))
    torch.testing.assert_close(twin(tokens.ids).logits, logits_with(model, c, tokens.ids), rtol=1e-4, atol=1e-4)


def test_nothing_put_back_changes_nothing(pair, tokens):
    none = Compensation.none(pair.geometry)
    assert torch.equal(logits_with(pair.pruned, none, tokens.ids), pair.pruned(tokens.ids).logits)


def test_all_components_inject_the_mean(pair, statistics, lost):
    c = injected(lost, torch.ones(lost.shape, dtype=torch.bool))
    torch.testing.assert_close(c.vectors, statistics.mean.float())
    part = injected(lost, Selection(lost.shape, frozenset({(1, 2, 0)})).mask())
    expected = lost.magnitude[1, 2, 0] * lost.directions[1, 2, 0]
    torch.testing.assert_close(part.vectors[1, 2], expected.float())
    assert (part.norms > 0).sum() == 1


def test_a_constant_loss_is_restored_in_full(pair, tokens):
    """What a constant can mend, it mends: the pruned model lost exactly c, and c gives it back."""
    c = random_compensation()
    lost_it = with_output_biases(pair.pruned, merged(pair.pruned, Compensation(-c.vectors)))
    expected = pair.pruned(tokens.ids).logits
    torch.testing.assert_close(logits_with(lost_it, c, tokens.ids), expected, rtol=1e-4, atol=1e-4)


def test_the_model_is_left_as_it_was_also_after_an_error(pair, tokens):
    before = pair.pruned(tokens.ids).logits
    with pytest.raises(KeyError), compensated(pair.pruned, random_compensation()):
        raise KeyError
    assert torch.equal(pair.pruned(tokens.ids).logits, before)
    assert not any(module._forward_hooks for module in pair.pruned.modules())


def test_two_threads_each_get_their_own_numbers(pair, tokens):
    model = pair.pruned
    choices = [random_compensation(1), random_compensation(2), None]
    alone = [model(tokens.ids).logits if c is None else logits_with(model, c, tokens.ids) for c in choices]
    barrier = threading.Barrier(len(choices))
    wrong: list[int] = []

    def work(index):
        for _ in range(40):
            barrier.wait()
            c = choices[index]
            logits = model(tokens.ids).logits if c is None else logits_with(model, c, tokens.ids)
            if not torch.equal(logits, alone[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(choices))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert not torch.equal(alone[0], alone[1])


def test_gradients_reach_the_vectors_and_nothing_else(pair, tokens):
    vectors = random_compensation().vectors.requires_grad_()
    logits_with(pair.pruned, Compensation(vectors), tokens.ids).square().mean().backward()
    step = 1e-2 * torch.nn.functional.normalize(vectors.grad.flatten(), dim=0).view_as(vectors)
    with torch.no_grad():
        up, down = (
            logits_with(pair.pruned, Compensation(vectors + sign * step), tokens.ids).square().mean().item()
            for sign in (1, -1)
        )
    assert (up - down) / 2e-2 == pytest.approx(vectors.grad.norm().item(), rel=0.02)
    assert all(parameter.grad is None for parameter in pair.pruned.parameters())


def test_another_models_compensation_is_refused(pair):
    with pytest.raises(SettingError, match=r"\[2, 4, 8\]"), compensated(pair.pruned, random_compensation(0, (2, 4, 8))):
        pass
    assert not any(module._forward_hooks for module in pair.pruned.modules())
