"""The logit lens: at the last layer it is the outputs, elsewhere what the obvious computation gives."""

from contextlib import nullcontext
from functools import partial

import pytest
import torch
from conftest import make_tokens, noisy
from families import make_family, random_compensation

from restorelcc.compensation.interface import compensated
from restorelcc.evaluation.comparison import side_by_side
from restorelcc.hf.families import FAMILIES
from restorelcc.inspection.depth import departure
from restorelcc.models.pair import ModelPair, paired
from restorelcc.progress import finish
from restorelcc.text.tokens import Tokens


@pytest.mark.parametrize("family", FAMILIES)
def test_after_the_last_layer_it_is_the_distance_of_the_outputs(family: str, tokens: Tokens, tokenizer):
    """Whatever stands between the last layer and the logits: caps, scales, projections."""
    dense, other = make_family(family), make_family(family, seed=1)
    pair = paired(dense, other, tokenizer, "dense", "other")
    back = partial(compensated, other, random_compensation(other))
    found = finish(departure(pair, tokens, [back], batch=4))
    _, expected = finish(side_by_side(dense, tokens, [(other, back)]))
    torch.testing.assert_close(found[0].kl[-1], expected.kl, rtol=1e-4, atol=1e-6)
    assert len(found[0].kl) == 2


def test_every_layer_is_read_through_the_norm_and_the_unembedding(pair: ModelPair):
    tokens = make_tokens(texts=3, length=12)
    tokens.scored[1, 7:] = False
    plain, restored = finish(
        departure(pair, tokens, [partial(compensated, pair.pruned, random_compensation(pair.pruned)), nullcontext])
    )[::-1]
    for layer in range(3):
        logs = []
        for model in (pair.dense, pair.pruned):
            states = model(tokens.ids, output_hidden_states=True).hidden_states
            # The last of them is normed already.
            state = states[layer + 1] if layer == 2 else model.model.norm(states[layer + 1])
            logs.append(model.lm_head(state)[:, :-1].double().log_softmax(-1))
        kl = (logs[0].exp() * (logs[0] - logs[1])).sum(-1)
        expected = torch.where(tokens.scored[:, 1:], kl, 0.0)
        torch.testing.assert_close(plain.kl[layer, :, 1:], expected, rtol=1e-4, atol=1e-6)
        mean = float(expected.sum() / tokens.scored.sum())
        assert plain.by_layer[layer].nats == pytest.approx(mean, rel=1e-4)
    assert not torch.allclose(plain.kl, restored.kl)
    assert list(plain.to_pandas().columns) == ["layer", "kl", "kl_error"]


def test_equal_models_never_depart(tokens: Tokens, tokenizer):
    model = noisy(make_family("llama"), amount=0)
    (found,) = finish(departure(paired(model, model, tokenizer, "a", "b"), tokens))
    assert float(found.kl.abs().max()) < 1e-6
