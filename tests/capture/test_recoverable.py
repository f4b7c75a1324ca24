"""What could bring back what a head lost: told exactly where it is known."""

import pytest
import torch
from conftest import make_model, make_tokens, noisy

from restorelcc.capture.recoverable import recoverable
from restorelcc.errors import SettingError
from restorelcc.hf.twins import copied
from restorelcc.models.pair import paired
from restorelcc.progress import finish
from restorelcc.pruning.layerwise import Pruning, prune

TOKENS = make_tokens(texts=40)


def split(tokenizer, dense, pruned, **changes):
    return finish(recoverable(paired(dense, pruned, tokenizer, "dense", "pruned"), TOKENS, **changes))


def test_a_shift_is_brought_back_by_a_constant(tokenizer):
    dense = make_model(attention_bias=True)
    pruned = copied(dense)
    pruned.model.layers[0].self_attn.v_proj.bias += 1
    found = split(tokenizer, dense, pruned)
    torch.testing.assert_close(found.constant[0], torch.ones(4).double(), rtol=1e-6, atol=1e-6)
    assert found.constant[1:].max() < 0.9
    torch.testing.assert_close(found.gone[0], torch.zeros(4).double(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("memory", [2**30, 0])
def test_a_scale_is_brought_back_by_a_map_of_the_head_itself(tokenizer, memory):
    dense = make_model()
    pruned = copied(dense)
    pruned.model.layers[0].self_attn.v_proj.weight *= 0.5
    found = split(tokenizer, dense, pruned, memory=memory)
    assert found.constant[0].max() < 0.9
    assert found.head[0].min() > 0.99
    assert (found.layer is None) == (memory == 0)


def test_what_other_heads_still_compute_is_brought_back_by_a_map_of_the_layer(tokenizer):
    """Key/value heads that are copies of each other, of which one is taken."""
    dense = make_model()
    for name in ("q_proj", "k_proj", "v_proj"):
        weight = getattr(dense.model.layers[0].self_attn, name).weight
        half = len(weight) // 2
        weight[half:] = weight[:half]
    pruned = copied(dense)
    pruned.model.layers[0].self_attn.v_proj.weight[8:] = 0
    found = split(tokenizer, dense, pruned)
    assert found.head[0, 2:].max() < 0.9
    assert found.layer[0, 2:].min() > 0.99
    assert torch.equal(found.constant[0, :2], torch.zeros(2).double())


def test_shares_add_up_and_nothing_learnt_by_heart_counts(tokenizer):
    dense = make_model()
    found = split(tokenizer, dense, noisy(dense))
    assert bool((found.constant >= 0).all() and (found.head >= found.constant).all())
    assert bool((found.layer >= found.head).all() and (found.gone >= 0).all())
    few = finish(recoverable(paired(dense, noisy(dense), tokenizer, "dense", "pruned"), TOKENS[:2]))
    assert few.gone.mean() > found.gone.mean()


def test_heads_that_are_gone(tokenizer):
    dense = make_model()
    narrow = finish(prune(dense, TOKENS, Pruning("structured", 0.5)))
    pair = paired(dense, narrow, tokenizer, "dense", "narrow")
    found = finish(recoverable(pair, TOKENS))
    assert torch.equal(found.head[~pair.present], found.constant[~pair.present])


def test_one_text_is_too_few(pair):
    with pytest.raises(SettingError, match="judged on another"):
        finish(recoverable(pair, TOKENS[:1]))
