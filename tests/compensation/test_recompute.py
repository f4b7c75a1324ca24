"""Computed anew on the way back: the same logits and gradients, and less held meanwhile."""

import threading

import torch
from conftest import make_tokens
from families import logits_with, random_compensation
from test_surviving_weights import random_weights
from torch.autograd.graph import saved_tensors_hooks

from restorelcc.compensation.constants import Constants
from restorelcc.compensation.interface import compensated
from restorelcc.compensation.recompute import recomputing

IDS = make_tokens().ids


def logits_of(model, constants, again):
    if again:
        return recomputing(model, constants)(IDS, use_cache=False).logits
    with compensated(model, constants):
        return model(IDS, use_cache=False).logits


def held_and_gradient(model, again):
    """(bytes that wait for the way back, gradient of the constants)."""
    vectors = random_compensation(model).vectors.requires_grad_()
    held = {}

    def pack(part):
        held[part.untyped_storage().data_ptr()] = part.untyped_storage().nbytes()
        return part

    with saved_tensors_hooks(pack, lambda part: part):
        logits = logits_of(model, Constants(vectors), again)
    loss = logits.square().mean()
    # As on a GPU, where another thread than the one that went forward goes back.
    thread = threading.Thread(target=loss.backward)
    thread.start()
    thread.join()
    return sum(held.values()), vectors.grad


def test_gradients_are_the_same_and_less_is_held(pair):
    plain, again = (held_and_gradient(pair.pruned, again) for again in (False, True))
    torch.testing.assert_close(again[1], plain[1], rtol=1e-4, atol=1e-7)
    assert plain[1].abs().min() > 0
    assert again[0] < plain[0] / 2


def test_it_is_the_model_with_what_is_put_back_and_the_model_stays(pair):
    change, plain = random_weights(pair.pruned), pair.pruned(IDS).logits
    with torch.no_grad():
        again = recomputing(pair.pruned, change)(IDS, use_cache=False).logits
    torch.testing.assert_close(again, logits_with(pair.pruned, change, IDS), rtol=1e-4, atol=1e-4)
    assert torch.equal(pair.pruned(IDS).logits, plain)
