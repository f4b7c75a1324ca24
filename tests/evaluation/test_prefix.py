"""Going on from kept hidden states gives what the whole forward pass gives."""

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
