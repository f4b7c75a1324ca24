"""Patching: all of it is the dense model, none of it the pruned one, and a part is what a plain swap gives."""

from contextlib import nullcontext

import torch

from restorelcc.evaluation.comparison import side_by_side
from restorelcc.evaluation.patching import Patch, all_heads, everything, patched
from restorelcc.evaluation.perplexity import token_loss
from restorelcc.models.pair import ModelPair
from restorelcc.progress import finish
from restorelcc.text.tokens import Tokens


def test_everything_patched_is_the_dense_model_and_nothing_the_pruned(pair: ModelPair, tokens: Tokens):
    whole, none = finish(patched(pair, tokens, [everything(pair.geometry), Patch()], batch=4))
    assert torch.equal(whole.nll, token_loss(pair.dense, tokens, batch=4).nll)
    assert torch.equal(none.nll, token_loss(pair.pruned, tokens, batch=4).nll)


def test_distances_are_to_the_dense_model(pair: ModelPair, tokens: Tokens):
    whole, none = finish(patched(pair, tokens, [everything(pair.geometry), Patch()], batch=4, distances=True))
    _, pruned = finish(side_by_side(pair.dense, tokens, [(pair.pruned, nullcontext)], batch=4))
    assert whole.kl is not None
    assert float(whole.kl.abs().max()) < 1e-6
    assert torch.equal(none.kl, pruned.kl)
    assert float(none.kl.sum()) > 0


def test_one_head_is_swapped_and_no_other(pair: ModelPair, tokens: Tokens):
    """Against a slow, obvious swap: W_O z of one head taken from the dense model's own pass."""
    layer, head, of = 1, 2, slice(16, 24)
    read: list[torch.Tensor] = []
    dense = pair.dense.model.layers[layer].self_attn.o_proj
    hook = dense.register_forward_pre_hook(lambda _, args: read.append(args[0]))
    pair.dense(tokens.ids)
    hook.remove()
    pruned = pair.pruned.model.layers[layer].self_attn.o_proj

    def swapped(module: torch.nn.Module, args: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        z = args[0].clone()
        z[..., of] = 0
        return pruned.weight.new_tensor(0) + z @ pruned.weight.T + read[0][..., of] @ dense.weight[:, of].T

    hook = pruned.register_forward_hook(swapped)
    slow = token_loss(pair.pruned, tokens).nll
    hook.remove()
    (found,) = finish(patched(pair, tokens, [Patch(frozenset({(layer, head)}))]))
    torch.testing.assert_close(found.nll, slow, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found.nll, token_loss(pair.pruned, tokens).nll, atol=1e-4)


def test_a_layer_patched_is_all_its_heads(pair: ModelPair):
    assert all_heads(pair.geometry, 2).heads == {(2, head) for head in range(4)}
    assert all_heads(pair.geometry, 2).first == 2
    assert len(all_heads(pair.geometry).heads) == 12


def test_what_is_kept_of_the_dense_model_fits_into_memory(pair: ModelPair, tokens: Tokens, monkeypatch):
    """z, what attention writes and what the MLP writes, of three layers: a batch of six texts becomes three of two."""
    patches, text = [everything(pair.geometry), Patch()], 16 * 3 * (32 + 24 + 24) * 4
    losses, batches = finish(patched(pair, tokens, patches)), []
    monkeypatch.setattr("restorelcc.evaluation.patching.MEMORY", 2 * text)
    with pair.dense.register_forward_pre_hook(lambda _, args: batches.append(len(args[0]))):
        again = finish(patched(pair, tokens, patches))
    assert batches == [2, 2, 2]
    for loss, other in zip(losses, again, strict=True):
        torch.testing.assert_close(loss.nll, other.nll, rtol=1e-5, atol=1e-5)
