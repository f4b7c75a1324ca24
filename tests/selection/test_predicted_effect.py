"""Predicted effects against plain differentiation and against what happens."""

from dataclasses import replace

import pytest
import torch

from restorelcc.capture.components import LostComponents
from restorelcc.capture.statistics import HeadStatistics
from restorelcc.compensation.constants import Constants
from restorelcc.compensation.interface import compensated
from restorelcc.errors import SettingError
from restorelcc.evaluation.losses import cross_entropy, distillation
from restorelcc.evaluation.perplexity import token_loss
from restorelcc.models.pair import ModelPair
from restorelcc.progress import finish
from restorelcc.selection.predicted_effect import PredictedEffect, Slopes, predicted, slopes
from restorelcc.selection.scores import EFFECT, EFFECT_TOWARDS_DENSE, ScoreInputs
from restorelcc.selection.scoring import score_heads
from restorelcc.text.tokens import Tokens


@pytest.fixture(scope="module")
def found(pair: ModelPair, tokens: Tokens) -> Slopes:
    return finish(slopes(pair, tokens, batch=4))


@pytest.fixture(scope="module")
def effect(found: Slopes, lost: LostComponents) -> PredictedEffect:
    return predicted(found, lost)


def plain_gradient(pair: ModelPair, tokens: Tokens, against: str) -> torch.Tensor:
    """∂(summed loss)/∂c by autograd through a compensation, the way training has it."""
    vectors = torch.zeros(3, 4, 8, requires_grad=True)
    with compensated(pair.pruned, Constants(vectors)):
        logits = pair.pruned(tokens.ids, use_cache=False).logits
    if against == "kl":
        loss = distillation(logits, pair.dense(tokens.ids).logits, tokens.scored)
    else:
        loss = cross_entropy(logits, tokens.ids, tokens.scored)
    return torch.autograd.grad(loss * tokens.count, vectors)[0]


@pytest.mark.parametrize("against", ["ce", "kl"])
def test_slopes_are_those_of_each_text(pair: ModelPair, tokens: Tokens, against: str):
    found = finish(slopes(pair, tokens, against, batch=4))
    for text in range(len(tokens)):
        alone = plain_gradient(pair, tokens[text : text + 1], against)
        torch.testing.assert_close(found.by_text[text], alone, rtol=1e-3, atol=1e-5)
        likelihood = plain_gradient(pair, tokens[text : text + 1], "ce")
        torch.testing.assert_close(found.likelihood[text], likelihood, rtol=1e-3, atol=1e-5)
    assert found.counts.tolist() == [15] * len(tokens)


def test_a_small_step_changes_the_loss_by_its_slope(
    pair: ModelPair, tokens: Tokens, lost: LostComponents, effect: PredictedEffect
):
    plain = token_loss(pair.pruned, tokens).nll
    for pick in ((0, 1, 0), (1, 2, 3), (2, 0, 7)):
        vectors = torch.zeros(3, 4, 8)
        vectors[pick[:2]] = 0.02 * lost.directions[pick].float()
        with compensated(pair.pruned, Constants(vectors)):
            change = float((token_loss(pair.pruned, tokens).nll - plain).sum()) / tokens.count
        assert change == pytest.approx(0.02 * float(effect.slope[pick]), rel=0.1, abs=1e-5)


def test_curvature_is_the_fisher_information_of_token_gradients(lost: LostComponents):
    """Texts made of independent token gradients: what the texts' gradients say of them is nearly right."""
    generator = torch.Generator().manual_seed(0)
    shape, width = (3, 4), lost.directions.shape[-1]
    tokens = torch.randn(400, 50, *shape, width, generator=generator) * torch.linspace(0.5, 2, width) + 0.3
    flat = tokens.flatten(0, 1)
    exact = torch.einsum("tlhi,tlhj->lhij", flat, flat) / len(flat)
    undamped = predicted(Slopes(tokens.sum(1), tokens.sum(1), torch.full((400,), 50)), lost, damping=1e-6)
    along = torch.einsum("lhid,lhde,lhie->lhi", lost.directions.float(), exact, lost.directions.float())
    assert ((undamped.curvature - along).abs() / along).median() < 0.1


def test_best_magnitudes_and_constants_are_the_lowest_points(effect: PredictedEffect):
    lowest = effect.at(effect.best)
    torch.testing.assert_close(lowest, effect.of_component)
    for other in (0.9, 1.1, 0.0):
        assert (effect.at(other * effect.best) >= lowest).all()
    assert (effect.of_head < 0).all()
    assert (effect.of_head_error > 0).all()
    assert (effect.curvature > 0).all()


def test_a_head_does_at_least_what_its_best_component_does(effect: PredictedEffect):
    assert (effect.of_head <= effect.of_component.min(-1).values + 1e-7).all()


def test_one_text_shows_no_curvature(pair: ModelPair, tokens: Tokens, lost: LostComponents):
    with pytest.raises(SettingError, match="at least 2"):
        predicted(finish(slopes(pair, tokens[:1])), lost)
    with pytest.raises(SettingError, match="no tokens"):
        finish(slopes(pair, tokens[:0]))


def test_both_losses_have_one_curvature(pair: ModelPair, tokens: Tokens, lost: LostComponents, effect: PredictedEffect):
    towards_dense = predicted(finish(slopes(pair, tokens, "kl", batch=4)), lost)
    torch.testing.assert_close(towards_dense.curvature, effect.curvature, rtol=1e-3, atol=1e-6)
    assert not torch.allclose(towards_dense.slope, effect.slope, rtol=0.1)


def test_scores_of_one_prediction_share_it(
    pair: ModelPair, tokens: Tokens, statistics: HeadStatistics, lost: LostComponents
):
    inputs = ScoreInputs(pair, statistics, lost, tokens, tokens)
    alone = {name: finish(score_heads(name, replace(inputs, results={}))) for name in ("predicted", "together")}
    for name, score in alone.items():
        shared = finish(score_heads(name, inputs))
        torch.testing.assert_close(shared.values, score.values)
    kept = predictions(inputs)
    assert list(kept) == [False]
    again = kept[False]
    finish(score_heads("gradient", inputs))
    finish(score_heads("together_dense", inputs))
    kept = predictions(inputs)
    assert kept[False] is again
    assert set(kept) == {False, True}


def predictions(inputs: ScoreInputs) -> dict[bool, PredictedEffect]:
    """Those made so far, by whether they are towards the dense model."""
    names = {EFFECT.name: False, EFFECT_TOWARDS_DENSE.name: True}
    return {names[name]: effect for name, effect in inputs.results.items()}
