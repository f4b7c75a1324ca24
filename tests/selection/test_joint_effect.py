"""What sets of picks are predicted to do together, against what is measured, and the best of them against every set."""

from itertools import combinations

import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor

from restorelcc.capture.components import LostComponents
from restorelcc.compensation.constants import injected
from restorelcc.compensation.interface import compensated
from restorelcc.evaluation.perplexity import paired_difference, token_loss
from restorelcc.models.pair import ModelPair
from restorelcc.progress import finish
from restorelcc.selection.joint_effect import SHRUNK, Along, together
from restorelcc.selection.picks import top_components
from restorelcc.selection.predicted_effect import PredictedEffect, Slopes, predicted, slopes
from restorelcc.text.tokens import Tokens


@pytest.fixture(scope="module")
def effect(pair: ModelPair, tokens: Tokens, lost: LostComponents) -> PredictedEffect:
    return predicted(finish(slopes(pair, tokens)), lost)


def test_near_the_pruned_model_sets_of_picks_rank_as_they_measure(
    pair: ModelPair, tokens: Tokens, lost: LostComponents, effect: PredictedEffect
):
    generator, plain = torch.Generator().manual_seed(0), token_loss(pair.pruned, tokens)
    layers, heads, width = lost.shape
    foretold, measured = [], []
    for _ in range(30):
        picked = torch.randperm(layers * heads, generator=generator)[
            : int(torch.randint(1, 13, (1,), generator=generator))
        ]
        factors = torch.zeros(layers * heads, width)
        factors[picked] = 0.02 + 0.03 * torch.rand(len(picked), width, generator=generator)
        back = injected(lost, factors.view(lost.shape))
        foretold.append(effect.together(back.vectors).nats)
        with compensated(pair.pruned, back):
            measured.append(paired_difference(token_loss(pair.pruned, tokens), plain).nats)
    assert spearmanr(foretold, measured).statistic > 0.9


def test_one_component_has_its_slope_and_its_own_curvature_shrunk(lost: LostComponents, effect: PredictedEffect):
    constant = torch.zeros(lost.directions.shape[:2] + lost.directions.shape[3:])
    constant[1, 2] = 0.01 * lost.directions[1, 2, 0].float()
    undamped = predicted(effect.slopes, lost, damping=1e-9)
    awaited = 0.01 * undamped.slope[1, 2, 0] + SHRUNK * 0.0001 * undamped.curvature[1, 2, 0] / 2
    assert effect.together(constant).nats == pytest.approx(float(awaited), rel=1e-3)
    assert effect.together(torch.zeros_like(constant)).nats == 0


def test_towards_the_dense_model_the_slope_is_the_distance_s_and_the_curvature_the_likelihood_s():
    generator = torch.Generator().manual_seed(0)
    by_text, likelihood = torch.randn(2, 6, 1, 1, 2, generator=generator)
    found = together(Slopes(by_text, likelihood, torch.full((6,), 4)), torch.tensor([[[1.0, 0.0]]]))
    along, own = by_text[:, 0, 0, 0] / 4, likelihood[:, 0, 0, 0] / 4
    assert found.nats == pytest.approx(float(along.mean() + SHRUNK * (4 * own.var() + own.mean() ** 2) / 2), rel=1e-5)
    assert found.stderr == pytest.approx(float(along.std()) / 6**0.5, rel=1e-5)


def won(along: Along, places: tuple[int, ...]) -> float:
    """What a set of components wins at its best magnitudes, by solving for them in full."""
    slope, spread = along.slope[list(places)], along.spread[list(places)]
    return float(slope @ torch.linalg.solve(torch.eye(len(places)).double() + spread @ spread.T, slope) / 2)


def test_each_component_is_the_best_beside_those_before_it(lost: LostComponents, effect: PredictedEffect):
    along = effect.along(lost)
    order = along.in_turn(5).flatten().argsort().tolist()
    assert sorted(order) == list(range(len(along.slope)))
    for turn in range(5):
        before = tuple(order[:turn])
        left = [place for place in range(len(along.slope)) if place not in before]
        assert won(along, (*before, order[turn])) == pytest.approx(max(won(along, (*before, one)) for one in left))


def test_the_best_magnitudes_win_what_the_set_can(lost: LostComponents, effect: PredictedEffect):
    along = effect.along(lost)
    chosen = top_components(lost, 4, -along.in_turn(4)).mask()
    best = along.best(chosen)
    assert ((best != 0) == chosen).all()
    steps: Tensor = (best.flatten() * along._unit)[chosen.flatten()]
    slope, spread = along.slope[chosen.flatten()], along.spread[chosen.flatten()]
    lowest = slope @ steps + steps @ steps / 2 + (spread.T @ steps).square().sum() / 2
    places = tuple(chosen.flatten().nonzero().flatten().tolist())
    assert float(lowest) == pytest.approx(-won(along, places))
    assert won(along, places) >= max(won(along, pair) for pair in combinations(places, 2))
