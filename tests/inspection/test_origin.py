"""Pattern and values: together they are the whole head patched; either alone is what a slow, obvious swap gives."""

import pytest
import torch
from conftest import make_model, noisy
from families import make_family

from restorelcc.capture.passage import attention_weights
from restorelcc.evaluation.patching import Patch, patched
from restorelcc.evaluation.perplexity import token_loss
from restorelcc.hf.families import FAMILIES
from restorelcc.inspection.origin import Part, patched_in_part
from restorelcc.models.pair import ModelPair, paired
from restorelcc.progress import finish
from restorelcc.pruning.layerwise import Pruning, prune
from restorelcc.text.tokens import Tokens


@pytest.mark.parametrize("family", FAMILIES)
def test_pattern_and_values_together_are_the_whole_head(family: str, tokens: Tokens, tokenizer):
    dense, pruned = make_family(family), make_family(family, seed=1)
    pair = paired(dense, pruned, tokenizer, "dense", "pruned")
    heads = [(0, 1), (1, 2)]
    together = finish(patched_in_part(pair, tokens, [Part(*head, pattern=True, values=True) for head in heads]))
    whole = finish(patched(pair, tokens, [Patch(frozenset({head})) for head in heads]))
    plain = token_loss(pruned, tokens)
    for one, other in zip(together, whole, strict=True):
        torch.testing.assert_close(one.nll, other.nll, rtol=1e-4, atol=1e-4)
        assert float((one.nll - plain.nll).abs().max()) > 1e-3


def test_either_alone_is_a_swap_by_hand(pair: ModelPair, tokens: Tokens):
    layer, head, of, group = 1, 2, slice(16, 24), slice(8, 16)  # key/value head 1 serves heads 2 and 3
    weights, values = [], []
    for model in (pair.dense, pair.pruned):
        weights.append(torch.stack([attention_weights(model, row[None])[layer, head] for row in tokens.ids]))
        module = model.model.layers[layer].self_attn.v_proj
        hook = module.register_forward_hook(lambda _, __, out: values.append(out[..., group]))
        model(tokens.ids)
        hook.remove()
    dense, pruned = (model.model.layers[layer].self_attn.o_proj for model in (pair.dense, pair.pruned))
    swaps = {
        (True, False): (weights[0] @ values[1]) @ pruned.weight[:, of].T,
        (False, True): (weights[1] @ values[0]) @ dense.weight[:, of].T,
    }
    for (pattern, carried), written in swaps.items():

        def swapped(module, args, output, written=written):
            return output - args[0][..., of] @ module.weight[:, of].T + written

        hook = pruned.register_forward_hook(swapped)
        slow = token_loss(pair.pruned, tokens).nll
        hook.remove()
        (found,) = finish(patched_in_part(pair, tokens, [Part(layer, head, pattern, carried)], batch=4))
        torch.testing.assert_close(found.nll, slow, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(found.nll, token_loss(pair.pruned, tokens).nll, atol=1e-4)


def test_a_head_that_is_gone_comes_back_only_whole(tokens: Tokens, tokenizer):
    dense = make_model(num_key_value_heads=4)
    narrow = finish(prune(dense, tokens, Pruning("structured", 0.5), "test", batch=4))
    pair = paired(dense, narrow, tokenizer, "dense", "pruned")
    gone, kept = ((1, int((pair.present[1] == present).nonzero()[0])) for present in (False, True))
    parts = [Part(*gone, True, False), Part(*gone, False, True), Part(*gone, True, True), Part(*kept, True, True)]
    looks, carries, whole, other = finish(patched_in_part(pair, tokens, parts))
    plain = token_loss(narrow, tokens).nll
    torch.testing.assert_close(looks.nll, plain, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(carries.nll, plain, rtol=1e-5, atol=1e-5)
    expected = finish(patched(pair, tokens, [Patch(frozenset({gone})), Patch(frozenset({kept}))]))
    torch.testing.assert_close(whole.nll, expected[0].nll, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(other.nll, expected[1].nll, rtol=1e-4, atol=1e-5)


def test_what_is_held_fits_into_memory(pair: ModelPair, tokens: Tokens, monkeypatch):
    parts = [Part(1, 1, True, False), Part(2, 0, False, True)]
    at_once = finish(patched_in_part(pair, tokens, parts))
    monkeypatch.setattr("restorelcc.inspection.origin.MEMORY", 1)
    for one, other in zip(finish(patched_in_part(pair, tokens, parts)), at_once, strict=True):
        torch.testing.assert_close(one.nll, other.nll, rtol=1e-5, atol=1e-5)
    same = noisy(pair.dense, amount=0)
    (found,) = finish(patched_in_part(paired(pair.dense, same, pair.tokenizer, "a", "b"), tokens, parts[:1]))
    torch.testing.assert_close(found.nll, token_loss(same, tokens).nll, rtol=1e-5, atol=1e-5)
