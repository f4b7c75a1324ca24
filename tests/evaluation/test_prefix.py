"""Going on from kept hidden states gives what the whole forward pass gives."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from restorelcc.compensation.constants import Constants
from restorelcc.compensation.interface import compensated
from restorelcc.evaluation.perplexity import token_loss
from restorelcc.evaluation.prefix import Prefix
from restorelcc.models.pair import ModelPair
from restorelcc.progress import finish
from restorelcc.text.tokens import Tokens


def changed(layer: int) -> Constants:
    vectors = torch.zeros(3, 4, 8)
    vectors[layer, 1] = 0.5
    return Constants(vectors)


# One byte keeps nothing but what the model reads; 5 000 keep every second layer's input.
@pytest.mark.parametrize("memory", [2**29, 25_000, 1])
def test_again_is_the_whole_pass_from_any_layer(pair: ModelPair, tokens: Tokens, memory: int):
    prefix = Prefix(pair.pruned, tokens, batch=4, memory=memory)
    assert torch.equal(finish(prefix.measured()).nll, token_loss(pair.pruned, tokens, batch=4).nll)
    for layer in range(3):
        back = changed(layer)
        found = finish(prefix.again(layer, lambda back=back: compensated(pair.pruned, back)))
        with compensated(pair.pruned, back):
            assert torch.equal(found.nll, token_loss(pair.pruned, tokens, batch=4).nll)


def test_layers_below_are_not_computed(pair: ModelPair, tokens: Tokens):
    prefix = Prefix(pair.pruned, tokens)
    finish(prefix.measured())
    ran = []
    hooks = [
        layer.register_forward_hook(lambda *_, index=index: ran.append(index))
        for index, layer in enumerate(pair.pruned.model.layers)
    ]
    finish(prefix.again(2))
    for hook in hooks:
        hook.remove()
    assert ran == [2]


def test_a_change_below_is_not_seen(pair: ModelPair, tokens: Tokens):
    """So the caller has to name the first changed layer rightly: the states above it are those of before."""
    prefix = Prefix(pair.pruned, tokens)
    plain = finish(prefix.measured())
    assert torch.equal(finish(prefix.again(2, lambda: compensated(pair.pruned, changed(0)))).nll, plain.nll)


def test_the_model_is_left_as_it_is(pair: ModelPair, tokens: Tokens):
    before = list(pair.pruned.named_modules())
    prefix = Prefix(pair.pruned, tokens)
    finish(prefix.measured())
    finish(prefix.again(1))
    assert [(name, id(module)) for name, module in before] == [
        (name, id(module)) for name, module in pair.pruned.named_modules()
    ]


@pytest.mark.parametrize("measured_before", [False, True])
def test_stopped_half_way_it_is_as_it_was(pair: ModelPair, tokens: Tokens, measured_before: bool):
    prefix = Prefix(pair.pruned, tokens, batch=2)
    if measured_before:
        finish(prefix.measured())
    stopped = prefix.measured()
    next(stopped)
    stopped.close()
    back = changed(2)
    found = finish(prefix.again(2, lambda: compensated(pair.pruned, back)))
    with compensated(pair.pruned, back):
        assert torch.equal(found.nll, token_loss(pair.pruned, tokens, batch=2).nll)


# --- again and again, by people who change one thing at a time ---------------------------------------------------


def picked(seed: int) -> dict[int, int]:
    """By layer, which head has something put back; not in every layer."""
    draw = random.Random(seed)
    return {layer: draw.randrange(4) for layer in range(3) if draw.random() < 0.6}


def put_back(picks: dict[int, int]) -> Constants:
    vectors = torch.zeros(3, 4, 8)
    for layer, head in picks.items():
        vectors[layer, head] = 0.3 + 0.1 * head
    return Constants(vectors)


def after(prefix: Prefix, picks: dict[int, int]) -> torch.Tensor:
    back = put_back(picks)
    return finish(prefix.after(picks, lambda: compensated(prefix.model, back))).nll


def whole(prefix: Prefix, picks: dict[int, int]) -> torch.Tensor:
    with compensated(prefix.model, put_back(picks)):
        return token_loss(prefix.model, prefix.tokens, prefix.batch).nll


@pytest.mark.parametrize("memory", [2**29, 25_000, 1])
def test_after_others_is_the_whole_pass(pair: ModelPair, tokens: Tokens, memory: int):
    prefix = Prefix(pair.pruned, tokens, batch=4, memory=memory)
    finish(prefix.measured())
    for seed in range(40):
        assert torch.equal(after(prefix, picked(seed)), whole(prefix, picked(seed)))


def test_after_others_only_the_layers_from_the_first_difference_are_computed(pair: ModelPair, tokens: Tokens):
    prefix = Prefix(pair.pruned, tokens)
    finish(prefix.measured())
    ran: list[int] = []
    hooks = [
        layer.register_forward_hook(lambda *_, index=index: ran.append(index))
        for index, layer in enumerate(pair.pruned.model.layers)
    ]
    computed = []
    for picks in ({0: 1}, {0: 1, 2: 3}, {0: 1, 1: 0, 2: 3}, {0: 1, 1: 0}, {0: 2}, {2: 1}, {}):
        ran.clear()
        after(prefix, picks)
        computed.append(ran[:])
    for hook in hooks:
        hook.remove()
    assert computed == [[0, 1, 2], [2], [1, 2], [2], [0, 1, 2], [2], [2]]


def test_what_is_kept_of_others_is_bounded(pair: ModelPair, tokens: Tokens):
    entering = tokens.ids.numel() * 24 * 4  # bytes: d_model, float32
    prefix = Prefix(pair.pruned, tokens, memory=10 * entering)
    finish(prefix.measured())
    for head in range(4):
        after(prefix, {0: head})
    kept = [tensor.nbytes for states in prefix._changed.values() for tensor in states]
    assert sum(kept) == 5 * entering
    assert [below for _, below in prefix._changed] == [((0, head),) for head in (1, 2, 2, 3, 3)]
    after(prefix, {0: 1, 2: 0})  # begins at what is kept of head 1, which is used last now
    after(prefix, {0: 0})
    assert [below for _, below in prefix._changed] == [((0, head),) for head in (3, 3, 1, 0, 0)]


def test_given_up_half_way_nothing_of_it_is_kept(pair: ModelPair, tokens: Tokens):
    prefix = Prefix(pair.pruned, tokens, batch=2)
    finish(prefix.measured())
    stopped = prefix.after({0: 1}, lambda: compensated(pair.pruned, put_back({0: 1})))
    next(stopped), next(stopped)
    stopped.close()
    assert not prefix._changed
    assert torch.equal(after(prefix, {0: 1}), whole(prefix, {0: 1}))


def test_several_threads_go_on_from_it_at_once(pair: ModelPair, tokens: Tokens):
    prefix = Prefix(pair.pruned, tokens, batch=4, memory=30_000)  # so little that what one keeps another drives out
    finish(prefix.measured())
    choices = [picked(seed) for seed in range(12)]
    alone = [whole(prefix, picks) for picks in choices]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for nll, expected in zip(pool.map(lambda picks: after(prefix, picks), choices), alone, strict=True):
                assert torch.equal(nll, expected)
