"""Perplexity, its error, and paired differences."""

import math

import pytest
import torch
import torch.nn.functional as F
from conftest import make_model, make_tokens

from restorelcc.compensation.constants import Constants
from restorelcc.compensation.interface import compensated
from restorelcc.errors import SettingError
from restorelcc.evaluation.perplexity import (
    Perplexity,
    TokenLoss,
    measure,
    paired_difference,
    perplexity,
    recovered_share,
    token_loss,
)
from restorelcc.progress import finish
from restorelcc.text.tokens import Tokens


def test_nll_equals_token_by_token(pair, tokens):
    found = token_loss(pair.dense, tokens, batch=4)
    for text in (0, 5):
        for pos in (1, 7, 15):
            logits = pair.dense(tokens.ids[text : text + 1, :pos]).logits[0, -1]
            expected = -logits.double().log_softmax(-1)[tokens.ids[text, pos]]
            assert found.nll[text, pos].item() == pytest.approx(expected.item(), rel=1e-4)
    assert (found.nll[:, 0] == 0).all()


def test_perplexity_equals_transformers_loss(pair, tokens):
    loss = pair.dense(tokens.ids, labels=tokens.ids).loss.item()
    found = perplexity(token_loss(pair.dense, tokens))
    assert found.nats == pytest.approx(loss, rel=1e-5)
    assert found.value == pytest.approx(math.exp(loss), rel=1e-5)
    assert found.tokens == 6 * 15


def test_a_model_that_knows_nothing_has_the_vocabulary_as_perplexity(tokens):
    model = make_model()
    model.lm_head.weight.data.zero_()
    found = perplexity(token_loss(model, tokens))
    assert found.value == pytest.approx(model.config.vocab_size, rel=1e-5)
    assert found.stderr == pytest.approx(0, abs=1e-4)


def test_standard_error_is_the_spread_over_repeated_texts():
    """Texts with a mean of their own: the error of the mean must cover that, not only the noise within a text."""
    generator = torch.Generator().manual_seed(0)
    texts, length, repeats = 40, 25, 400

    def draw():
        level = torch.randn(texts, 1, generator=generator, dtype=torch.float64)
        return level + torch.randn(texts, length, generator=generator, dtype=torch.float64)

    scored = torch.ones(texts, length, dtype=torch.bool)
    zero = TokenLoss(torch.zeros(texts, length, dtype=torch.float64), scored)
    draws = [paired_difference(TokenLoss(draw(), scored), zero) for _ in range(repeats)]
    true_spread = torch.tensor([one.nats for one in draws]).std().item()
    claimed = sum(one.stderr for one in draws) / repeats
    assert claimed == pytest.approx(true_spread, rel=0.15)
    assert claimed > 3 / math.sqrt(texts * length)  # what ignoring the texts would claim is 1.4 / √1000 at most


def test_pairing_cancels_what_both_find_hard(pair, tokens):
    hard = torch.randn(6, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 5
    scored = tokens.scored
    first = TokenLoss((hard + 0.1) * scored, scored)
    second = TokenLoss(hard * scored, scored)
    difference = paired_difference(first, second)
    assert difference.nats == pytest.approx(0.1)
    assert difference.stderr < 1e-9 < perplexity(first).stderr
    assert paired_difference(second, first).z < -1e6
    assert paired_difference(first, first).z == 0


def test_different_tokens_cannot_be_paired(pair, tokens):
    with pytest.raises(SettingError, match="same tokens"):
        paired_difference(token_loss(pair.dense, tokens), token_loss(pair.dense, tokens[:3]))


def test_only_scored_tokens_count(pair, tokens):
    few = tokens.scored.clone()
    few[:, :12] = False
    part = Tokens(tokens.ids, tokens.real, few, few)
    whole, late = token_loss(pair.dense, tokens), token_loss(pair.dense, part)
    assert late.scored.sum() == 6 * 4
    assert perplexity(late).nats == pytest.approx((whole.nll[:, 12:].mean()).item())


def test_padding_on_the_right_changes_nothing(pair):
    full = make_tokens(texts=2, length=10)
    real = torch.cat([full.real, torch.zeros(2, 6, dtype=torch.bool)], 1)
    scored = torch.cat([full.scored, torch.zeros(2, 6, dtype=torch.bool)], 1)
    padded = Tokens(F.pad(full.ids, (0, 6)), real, scored, scored)
    assert perplexity(token_loss(pair.dense, padded)).nats == pytest.approx(
        perplexity(token_loss(pair.dense, full)).nats, rel=1e-5
    )


def test_measuring_within_leaves_nothing_in_place_between_steps(own_pair, tokens):
    pair = own_pair
    c = Constants(torch.ones(3, 4, 8))
    with compensated(pair.pruned, c):
        expected = token_loss(pair.pruned, tokens)
    work = measure(pair.pruned, tokens, batch=2, within=lambda: compensated(pair.pruned, c))
    for _ in range(3):
        next(work)
        assert not any(module._forward_hooks for module in pair.pruned.modules())
    again = finish(measure(pair.pruned, tokens, within=lambda: compensated(pair.pruned, c)))
    torch.testing.assert_close(again.nll, expected.nll)


def test_recovered_share():
    def at(nats):
        return Perplexity(math.exp(nats), nats, 100, 0.1)

    assert recovered_share(at(2.0), at(2.5), at(2.5)) == 0
    assert recovered_share(at(2.0), at(2.5), at(2.0)) == 1
    assert recovered_share(at(2.0), at(2.5), at(2.4)) == pytest.approx(0.2)
    # RestoreLCC's table, LLaMA-7B: Wanda 50 % and SparseGPT 2:4.
    wanda = recovered_share(at(math.log(5.68)), at(math.log(7.26)), at(math.log(6.93)))
    sparse = recovered_share(at(math.log(5.68)), at(math.log(11.04)), at(math.log(8.99)))
    assert (round(wanda, 2), round(sparse, 2)) == (0.19, 0.31)
    assert math.isnan(recovered_share(at(2.0), at(2.0), at(1.9)))
