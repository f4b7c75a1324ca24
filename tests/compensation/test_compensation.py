"""Injected, hooked, merged: one and the same, for everybody at once."""

import gc
import threading
import weakref

import pytest
import torch
from conftest import make_model, make_tokens
from transformers import Qwen3Config, Qwen3ForCausalLM

from restorelcc.compensation.constants import Constants, injected, merged
from restorelcc.compensation.interface import compensated
from restorelcc.errors import SettingError
from restorelcc.hf import layout
from restorelcc.hf.twins import copied, with_output_biases
from restorelcc.selection.picks import Selection


def random_compensation(seed=0, shape=(3, 4, 8)):
    return Constants(torch.randn(shape, generator=torch.Generator().manual_seed(seed)))


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
    none = Constants.none(pair.geometry)
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
    lost_it = with_output_biases(pair.pruned, merged(pair.pruned, Constants(-c.vectors)))
    expected = pair.pruned(tokens.ids).logits
    torch.testing.assert_close(logits_with(lost_it, c, tokens.ids), expected, rtol=1e-4, atol=1e-4)


def test_the_model_is_left_as_it_was_also_after_an_error(own_pair, tokens):
    pair = own_pair
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
    logits_with(pair.pruned, Constants(vectors), tokens.ids).square().mean().backward()
    step = 1e-2 * torch.nn.functional.normalize(vectors.grad.flatten(), dim=0).view_as(vectors)
    with torch.no_grad():
        up, down = (
            logits_with(pair.pruned, Constants(vectors + sign * step), tokens.ids).square().mean().item()
            for sign in (1, -1)
        )
    assert (up - down) / 2e-2 == pytest.approx(vectors.grad.norm().item(), rel=0.02)
    assert all(parameter.grad is None for parameter in pair.pruned.parameters())


def test_another_models_compensation_is_refused(own_pair):
    pair = own_pair
    with pytest.raises(SettingError, match=r"\[2, 4, 8\]"), compensated(pair.pruned, random_compensation(0, (2, 4, 8))):
        pass
    assert not any(module._forward_hooks for module in pair.pruned.modules())


# --- entering costs what the forward pass needs, and no more ----------------------------------------------------


def constants_of(*heads, grad=False):
    vectors = torch.zeros(3, 4, 8)
    for layer, head in heads:
        vectors[layer, head] = torch.randn(8, generator=torch.Generator().manual_seed(10 * layer + head))
    return vectors.requires_grad_(grad)


def hooks_within(model, compensation):
    with compensated(model, compensation):
        return [len(layer.self_attn.o_proj._forward_hooks) for layer in model.model.layers]


def test_layers_without_a_constant_are_left_alone(pair):
    assert hooks_within(pair.pruned, Constants(constants_of((1, 2)))) == [0, 1, 0]
    assert hooks_within(pair.pruned, Constants.none(pair.geometry)) == [0, 0, 0]
    # What is trained may be zero only for now.
    trained, picked = torch.zeros(3, 4, 8, requires_grad=True), torch.zeros(3, 4, dtype=torch.bool)
    picked[2, [0, 3]] = True
    assert hooks_within(pair.pruned, Constants(trained, picked)) == [0, 0, 1]
    assert hooks_within(pair.pruned, Constants(trained)) == [1, 1, 1]
    assert hooks_within(pair.pruned, Constants(trained.detach(), picked)) == [0, 0, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_columns_of_the_heads_that_count_give_what_all_of_them_give(dtype):
    model, c = make_model().to(dtype), Constants(constants_of((0, 1), (0, 3), (2, 0)))
    for layer, bias, vectors in zip(model.model.layers, merged(model, c), c.vectors, strict=True):
        assert bias.dtype == torch.float32
        torch.testing.assert_close(bias.double(), layer.self_attn.o_proj.weight.double() @ vectors.double().flatten(),
                                   rtol=1e-5, atol=1e-6)  # fmt: skip


def test_gradients_of_picked_heads_are_those_of_all_heads_and_the_others_get_none(pair, tokens):
    heads = [(1, 0), (2, 3)]
    picked = torch.zeros(3, 4, dtype=torch.bool)
    picked[tuple(torch.tensor(heads).T)] = True
    every, some = (constants_of(*heads, grad=True) for _ in range(2))
    for compensation in (Constants(every), Constants(some, picked)):
        logits_with(pair.pruned, compensation, tokens.ids).square().mean().backward()
    torch.testing.assert_close(some.grad[picked], every.grad[picked], rtol=1e-4, atol=1e-6)
    assert every.grad[~picked].any()
    assert not some.grad[~picked].any()


def test_no_gradient_runs_below_the_lowest_picked_head(pair, tokens):
    picked = torch.zeros(3, 4, dtype=torch.bool)
    picked[2, 1] = True
    seen = []
    hook = pair.pruned.model.layers[2].register_forward_pre_hook(lambda _, args: seen.append(args[0].requires_grad))
    logits_with(pair.pruned, Constants(torch.zeros(3, 4, 8, requires_grad=True), picked), tokens.ids)
    logits_with(pair.pruned, Constants(torch.zeros(3, 4, 8, requires_grad=True)), tokens.ids)
    hook.remove()
    assert seen == [False, True]


def test_a_model_is_searched_once_and_again_where_something_was_put_in_its_place(tokens, monkeypatch):
    model, c = make_model(), random_compensation()
    searches = []
    search = layout._searched
    monkeypatch.setattr(layout, "_searched", lambda model: searches.append(1) or search(model))
    before = logits_with(model, c, tokens.ids)
    assert torch.equal(logits_with(model, c, tokens.ids), before)
    assert len(searches) == 1
    for name, of in (("o_proj", model.model.layers[1].self_attn), ("self_attn", model.model.layers[2])):
        setattr(of, name, copied(of.get_submodule(name)))
        assert torch.equal(logits_with(model, c, tokens.ids), before)
    assert len(searches) == 3


def test_what_is_known_of_a_model_does_not_keep_it(tokens):
    model = make_model()
    logits_with(model, random_compensation(), tokens.ids)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None
