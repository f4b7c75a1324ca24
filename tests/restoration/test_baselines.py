"""Methods that a restoration is compared with: each against its formula, and what all must have in common."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import make_tokens

from restorelcc.errors import SettingError
from restorelcc.evaluation.losses import distillation
from restorelcc.progress import Progress, finish
from restorelcc.pruning.sparsity import zeros_kept
from restorelcc.restoration.baselines.adapters import ALPHA, LORA_RATE, RANK
from restorelcc.restoration.baselines.comparing import Failure, Outcome, compared
from restorelcc.restoration.baselines.eora import low_rank
from restorelcc.restoration.baselines.methods import METHODS, methods_table
from restorelcc.restoration.baselines.rival import Task
from restorelcc.restoration.settings import Settings
from restorelcc.restoration.ways.least_squares import RIDGE, least_squares
from restorelcc.selection.picks import everything

STEPS, BATCH = 6, 4
FILLS = {"lora", "dora", "eora"}
"""What is no longer sparse once it is merged."""


@pytest.fixture(scope="module")
def task(pair, lost):
    return Task(pair, lost, everything(lost.shape), make_tokens(8), make_tokens(4, seed=3), STEPS, BATCH)


def logits(model, ids):
    with torch.no_grad():
        return model(ids, use_cache=False).logits


@pytest.mark.parametrize("name", METHODS)
def test_every_method_leaves_the_pair_alone_and_tells_what_it_costs(task, name):
    before = {key: value.clone() for key, value in task.pair.pruned.state_dict().items()}
    ids = make_tokens(2, seed=9).ids
    plain = logits(task.pair.pruned, ids)
    rival = finish(METHODS[name].run(task))
    merged = rival.model if rival.merged is None else rival.merged()
    after = task.pair.pruned.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert not any(parameter.requires_grad for parameter in task.pair.pruned.parameters())
    assert torch.equal(logits(task.pair.pruned, ids), plain)
    with rival.within():
        applied = logits(rival.model, ids)
    assert not torch.equal(applied, plain)
    torch.testing.assert_close(logits(merged, ids), applied, rtol=0, atol=1e-4)
    zeros, kept = zeros_kept(task.pair.pruned, merged)
    assert zeros > 1000
    assert (kept < zeros, rival.beside > 0) == (name in FILLS,) * 2
    assert rival.tokens == (STEPS * BATCH * 16 if METHODS[name].trains else 0)
    assert rival.trained > 0


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.trains and name != "paper"])
def test_training_comes_nearer_on_what_chose_the_best_step(task, name):
    rival = finish(METHODS[name].run(replace(task, steps=20, tokens=task.held_out)))
    wanted = logits(task.pair.dense, task.held_out.ids)

    def apart(model):
        return float(distillation(logits(model, task.held_out.ids), wanted, task.held_out.scored))

    before = apart(task.pair.pruned)
    with rival.within():
        assert apart(rival.model) < before


def test_lora_is_what_a_plain_loop_over_peft_gives(task):
    """The loop that anybody would write: same texts, rates and steps, in an order of its own making."""
    from peft import LoraConfig, get_peft_model

    rival = finish(METHODS["lora"].run(task))
    settings = Settings(lr=LORA_RATE, unit="activation", steps=STEPS, batch=BATCH)
    model = copy.deepcopy(task.pair.pruned)
    maps = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear) and "layers" in name]
    torch.manual_seed(0)
    model = get_peft_model(model, LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=maps))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, weight_decay=0.0)
    generator, order = torch.Generator().manual_seed(0), []
    for step in range(STEPS):
        while len(order) < BATCH:
            order += torch.randperm(len(task.tokens), generator=generator).tolist()
        texts, order = order[:BATCH], order[BATCH:]
        ids = task.tokens.ids[texts]
        loss = distillation(model(ids).logits, logits(task.pair.dense, ids), task.tokens.scored[texts])
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = settings.rate(step)
        optimizer.step()
    ids = make_tokens(2, seed=9).ids
    torch.testing.assert_close(logits(rival.model, ids), logits(model, ids), rtol=0, atol=1e-4)


def test_low_rank_is_the_best_of_its_rank_on_its_inputs():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(400, 16, generator=generator) @ torch.randn(16, 16, generator=generator)
    lost = torch.randn(12, 16, generator=generator)
    b, a = low_rank(lost, inputs.T @ inputs / 400)
    wanted = inputs @ lost.T
    u, s, v = torch.linalg.svd(wanted, full_matrices=False)
    best = (u[:, RANK:] * s[RANK:] @ v[RANK:]).square().sum()
    assert a.shape[0] == RANK
    torch.testing.assert_close((wanted - inputs @ a.T @ b.T).square().sum(), best, rtol=1e-3, atol=0)


def test_a_row_is_solved_for_on_its_surviving_weights_alone():
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(200, 10, generator=generator).double()
    dense = torch.randn(5, 10, generator=generator).double()
    weight = dense * (torch.rand(5, 10, generator=generator) < 0.5)
    second = inputs.T @ inputs / 200
    solved = least_squares(weight, dense, second)
    penalty = RIDGE * second.diagonal().mean()
    for row in range(5):
        there = weight[row] != 0
        own = second[there][:, there] + penalty * torch.eye(int(there.sum()))
        right = (second @ dense[row])[there] + penalty * weight[row][there]
        torch.testing.assert_close(solved[row][there], torch.linalg.solve(own, right), rtol=0, atol=1e-3)
        assert not solved[row][~there].any()


def test_the_bias_of_a_matrix_is_what_it_lost_of_its_mean(task):
    """Of the first layer, whose inputs no repair changes."""
    rival = finish(METHODS["mean-bias"].run(task))
    read = {}
    names = ("self_attn.q_proj", "self_attn.o_proj", "mlp.down_proj")
    layer, dense = task.pair.pruned.model.layers[0], task.pair.dense.model.layers[0]
    hooks = [layer.get_submodule(name).register_forward_hook(lambda _, inputs, __, name=name: read.update(
        {name: inputs[0]})) for name in names]  # fmt: skip
    logits(task.pair.pruned, task.tokens.ids)
    for hook in hooks:
        hook.remove()
    for name in names:
        lost = dense.get_submodule(name).weight - layer.get_submodule(name).weight
        found = rival.model.model.layers[0].get_submodule(name).bias
        torch.testing.assert_close(found, lost @ read[name].flatten(0, 1).mean(0), rtol=0, atol=1e-5)


def test_all_are_compared_on_the_same_texts_and_seeds(task):
    texts = {"there": make_tokens(4, seed=5), "elsewhere": make_tokens(4, seed=6)}
    steps = list(compared(task, ["restorelcc", "mean-bias", "lora"], 2, texts))
    rows = [step for step in steps if not isinstance(step, Progress)]
    assert [(row.method, row.seed) for row in rows] == [
        ("restorelcc", 0), ("mean-bias", 0), ("lora", 0), ("restorelcc", 1), ("lora", 1),
    ]  # fmt: skip
    assert all(isinstance(row, Outcome) for row in rows)
    assert len({row.there.pruned.nats for row in rows}) == len({row.elsewhere.pruned.nats for row in rows}) == 1
    assert [row.free for row in rows] == [True, True, False, True, False]
    figures = rows[0].figures()
    assert figures["nearer"] is not None
    assert figures["elsewhere"]["kl"]["pruned"]["nats"] > 0
    with pytest.raises(SettingError, match="Method 'lorra'"):
        list(compared(task, ["lorra"], 1, texts))


def test_a_method_that_cannot_repair_a_pair_leaves_the_others(task, monkeypatch):
    def refuse(_):
        yield Progress("looking", 0, 1)
        raise SettingError("It has fewer weights.")

    monkeypatch.setitem(METHODS, "ridge", replace(METHODS["ridge"], run=refuse))
    steps = compared(task, ["ridge", "mean-bias"], 1, {"there": make_tokens(4, seed=5)})
    refused, done = [step for step in steps if isinstance(step, Outcome | Failure)]
    assert refused == Failure("ridge", 0, "It has fewer weights.")
    assert done.method == "mean-bias"


def test_readme_lists_the_methods():
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert readme.split("<!-- methods -->")[1].split("<!-- /methods -->")[0].strip() == methods_table()
