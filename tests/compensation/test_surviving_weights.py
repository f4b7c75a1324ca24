"""Changes of surviving weights, applied, folded and kept: zeros stay zeros, and each head's slice is its own."""

import threading
from dataclasses import replace

import pytest
import torch
from conftest import make_model, make_tokens, noisy
from families import logits_with, make_family, random_compensation
from transformers import AutoModelForCausalLM

from restorelcc.artifacts.export import adapter_fits, load_adapter, made_for, save_adapter, save_checkpoint
from restorelcc.compensation.interface import compensated, folded
from restorelcc.compensation.kinds import read_compensation
from restorelcc.compensation.weights import Weights, survivors
from restorelcc.errors import LoadError, SettingError
from restorelcc.hf.families import FAMILIES
from restorelcc.hf.layout import geometry, output_projections
from restorelcc.hf.slices import sliced
from restorelcc.pruning.sparsity import Pattern, lowest_in_groups

IDS = make_tokens().ids


def with_zeros(model, share=0.4):
    """The model, some weights of its layers zeroed in place."""
    draw = torch.Generator().manual_seed(3)
    for row in sliced(model, "layer"):
        for entry in row:
            entry.weight[torch.rand(entry.weight.shape, generator=draw) < share] = 0
    return model


def random_weights(model, reach="layer", heads=None, scale=0.1, seed=4):
    """A random change of every surviving weight of these heads; heads: (layer, head), None for all."""
    shape, draw = geometry(model), torch.Generator().manual_seed(seed)
    picked = torch.zeros(shape.n_layers, shape.n_heads, dtype=torch.bool)
    for place in heads if heads is not None else [(slice(None), slice(None))]:
        picked[place] = True
    output, counts, others = [], [], {}
    for row, own in zip(sliced(model, reach), picked, strict=True):
        counts.append(survivors(row[0], own).unflatten(0, (shape.n_heads, -1)).sum(1))
        for entry in row if own.any() else ():
            values = scale * torch.randn(int(survivors(entry, own).sum()), generator=draw)
            if entry.is_output:
                output.append(values)
            else:
                others[entry.name] = values
        if not own.any():
            output.append(torch.zeros(0))
    return Weights(tuple(output), torch.stack(counts), others, n_heads=shape.n_heads)


def same_zeros(one, other):
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key] == 0, theirs[key] == 0) for key in ours)


@pytest.mark.parametrize("model_type", FAMILIES)
@pytest.mark.parametrize("reach", ["output", "attention", "layer"])
def test_folded_equals_applied_and_every_zero_stays_where_it_was(model_type, reach):
    model = with_zeros(make_family(model_type))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    change = random_weights(model, reach, [(0, 1), (1, 0), (1, 3)])
    twin, applied = folded(model, change), logits_with(model, change, IDS)
    torch.testing.assert_close(twin(IDS).logits, applied, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(applied, model(IDS).logits, atol=1e-2)
    assert type(twin) is type(model)
    assert same_zeros(twin, model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# OLMo 2 norms queries and keys across all heads, so that none of them is a head's own.
@pytest.mark.parametrize("model_type", [name for name in FAMILIES if name != "olmo2"])
def test_lines_of_a_head_are_what_it_computes_with_and_no_other_does(model_type):
    model = with_zeros(make_family(model_type))
    shape = geometry(model)
    group = shape.n_heads // shape.n_kv_heads

    def z():
        """[token, head, d_head] of the first layer."""
        seen = []
        hook = output_projections(model)[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        with hook:
            model(IDS)
        return shape.split(seen[0]).flatten(0, 1)

    plain = z()
    output, *reading = sliced(model, "attention")[0]
    for head in range(shape.n_heads):
        own = torch.arange(shape.n_heads) == head
        assert output.taken(own).nonzero().flatten().tolist() == list(range(head * 8, head * 8 + 8))
        saved = [entry.weight.clone() for entry in reading]
        for entry in reading:
            entry.weight[entry.taken(own)] += 0.1
        moved = (z() - plain).abs().amax((0, 2)) > 1e-4
        sharing = torch.arange(shape.n_heads) // group == head // group
        assert bool(moved[head])
        assert not moved[~sharing].any()
        # Of each line that only this head has, only it computes with.
        for entry, weight in zip(reading, saved, strict=True):
            entry.weight.copy_(weight)
            entry.weight[entry.taken(own) & (entry.owners.sum(1) == 1)] += 0.1
        alone = (z() - plain).abs().amax((0, 2)) > 1e-4
        assert not alone[~own].any()
        for entry, weight in zip(reading, saved, strict=True):
            entry.weight.copy_(weight)


def test_each_thread_computes_with_its_own_weights(pair):
    choices = [random_weights(pair.pruned, seed=1), random_weights(pair.pruned, "output", [(1, 2)], seed=2)]
    alone = [logits_with(pair.pruned, choice, IDS) for choice in choices]
    barrier, wrong = threading.Barrier(2), []

    def work(index):
        for _ in range(20):
            barrier.wait()
            if not torch.equal(logits_with(pair.pruned, choices[index], IDS), alone[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert not torch.allclose(*alone, atol=1e-2)


def test_there_and_back_again_onto_the_model_it_is_for_and_no_other(pair, tmp_path):
    change = replace(random_weights(pair.pruned, heads=[(0, 1), (2, 3)]), constants=random_compensation(pair.pruned))
    save_adapter(tmp_path / "adapter", change, pair.geometry, made_for(pair.pruned), pair.pruned)
    adapter = load_adapter(tmp_path / "adapter")
    again = adapter.compensation
    assert torch.equal(logits_with(pair.pruned, again, IDS), logits_with(pair.pruned, change, IDS))
    assert torch.equal(again.norms, change.norms)
    assert torch.equal(again.constants.vectors, change.constants.vectors)
    assert not (tmp_path / "adapter" / "peft").exists()
    assert "changes of the weights that survived" in (tmp_path / "adapter" / "README.md").read_text()
    adapter_fits(adapter, pair.pruned)
    other = noisy(pair.dense, seed=2)
    with pytest.raises(LoadError, match="another model of this shape"):
        adapter_fits(adapter, other)
    with pytest.raises(SettingError, match="pruned again"), compensated(other, change):
        other(IDS)


def test_a_checkpoint_that_stock_transformers_loads(pair, tmp_path):
    change = random_weights(pair.pruned)
    save_checkpoint(tmp_path / "restored", pair.pruned, pair.tokenizer, change)
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "restored")
    torch.testing.assert_close(again(IDS).logits, logits_with(pair.pruned, change, IDS), rtol=1e-4, atol=1e-4)
    assert same_zeros(again, pair.pruned)
    card = (tmp_path / "restored" / "README.md").read_text()
    assert "folded into its weights" in card
    assert "In other runtimes" not in card


def test_constants_that_ride_along_fold_into_biases(pair):
    change = replace(random_weights(pair.pruned), constants=random_compensation(pair.pruned))
    applied = logits_with(pair.pruned, change, IDS)
    torch.testing.assert_close(folded(pair.pruned, change)(IDS).logits, applied, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(applied, logits_with(pair.pruned, replace(change, constants=None), IDS), atol=1e-2)


def test_sizes_are_those_of_the_slices_and_a_part_is_one_slice(pair):
    change = random_weights(pair.pruned, "output", [(0, 1), (2, 0), (2, 3)])
    twin, shape = folded(pair.pruned, change), pair.geometry
    for layer, (new, old) in enumerate(zip(output_projections(twin), output_projections(pair.pruned), strict=True)):
        slices = shape.split(new.weight - old.weight).permute(1, 0, 2)
        torch.testing.assert_close(change.norms[layer], slices.flatten(1).norm(dim=1), rtol=1e-4, atol=1e-5)
    part = change.part(2, 3)
    wanted = torch.zeros_like(change.norms)
    wanted[2, 3] = change.norms[2, 3]
    assert torch.equal(part.norms, wanted)
    both = [logits_with(pair.pruned, each, IDS) for each in (part, random_weights(pair.pruned, "output", []))]
    assert not torch.allclose(*both, atol=1e-3)
    assert torch.equal(both[1], pair.pruned(IDS).logits)


def test_a_weight_that_would_come_to_zero_does_not(pair):
    change = random_weights(pair.pruned, "output")
    first = sliced(pair.pruned, "output")[0][0]
    values = -first.weight[first.weight != 0]
    change = replace(change, output=(values, *change.output[1:]))
    twin = folded(pair.pruned, change)
    assert same_zeros(twin, pair.pruned)
    assert twin.model.layers[0].self_attn.o_proj.weight.abs().max() < 1e-30


def test_two_of_four_stays_two_of_four():
    model = make_model(hidden_size=32)
    for row in sliced(model, "layer"):
        for entry in row:
            weight = entry.module.weight
            weight[lowest_in_groups(weight.abs(), Pattern.parse("2:4"))] = 0
    twin = folded(model, random_weights(model))
    for row in sliced(twin, "layer"):
        for entry in row:
            assert bool(((entry.module.weight.unflatten(1, (-1, 4)) != 0).sum(-1) == 2).all())


def test_half_precision_is_folded_as_it_is_applied():
    model = with_zeros(make_model()).bfloat16()
    change = random_weights(model, scale=0.02)
    twin = folded(model, change)
    applied = logits_with(model, change, IDS)
    assert same_zeros(twin, model)
    apart, moved = (twin(IDS).logits - applied).float().norm(), (applied - model(IDS).logits).float().norm()
    assert apart < 0.1 * moved


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda t: t.pop("counts"), "counts"),
        (lambda t: t.pop("output.1"), "output.1"),
        (lambda t: t.update(counts=t["counts"][:1]), "counts"),
        (lambda t: t.update({"output.0": t["output.0"][1:]}), "more or fewer"),
        (lambda t: t.update({"output.0": t["output.0"] * torch.nan}), "not finite"),
        (lambda t: t.update(heads=t["counts"] + 100), "heads"),
    ],
)
def test_what_is_damaged_is_said(pair, harm, says):
    tensors = random_weights(pair.pruned).tensors()
    harm(tensors)
    with pytest.raises((KeyError, ValueError), match=says):
        read_compensation("weights", 1, tensors, pair.geometry)
