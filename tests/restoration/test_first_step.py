"""The longest rate whose first step does not overshoot: against the loss itself, measured along the step."""

from dataclasses import replace

import pytest
import torch
from conftest import make_tokens

from restorelcc.capture.components import components
from restorelcc.cli.given.asked import settings_of
from restorelcc.compensation.constants import Constants
from restorelcc.compensation.interface import compensated
from restorelcc.evaluation.losses import distillation
from restorelcc.progress import finish
from restorelcc.restoration.choices import LOSSES
from restorelcc.restoration.constants import ConstantParameters, lost_units
from restorelcc.restoration.settings import PUBLISHED, Settings
from restorelcc.restoration.training import Training, prepared
from restorelcc.selection.picks import everything, of_heads
from restorelcc.selection.predicted_effect import LONGEST, longest_rate


@pytest.fixture
def many():
    return make_tokens(texts=48, length=24)


def distance(pair, tokens, constants):
    with torch.no_grad(), compensated(pair.pruned, Constants(constants)):
        return float(distillation(pair.pruned(tokens.ids).logits, pair.dense(tokens.ids).logits, tokens.scored))


def test_the_loss_is_lowest_along_the_step_near_the_rate_that_is_foretold(pair, statistics, many):
    """Within a factor of four: curvature is estimated from 48 texts, and the loss is no parabola."""
    unit = lost_units(components(statistics))
    gradients = []

    def step(gradient):
        gradients.append(gradient)
        return -gradient.sign() * unit

    best = longest_rate(pair, many, "kl", step) / LONGEST
    direction = -gradients[-1].sign() * unit
    rates = [best * 2 ** (power / 2) for power in range(-8, 9)]
    losses = [distance(pair, many, rate * direction) for rate in rates]
    lowest = rates[losses.index(min(losses))]
    assert best / 4 <= lowest <= best * 4


def test_the_step_is_the_one_that_training_takes_first(pair, statistics, many, monkeypatch):
    lost = components(statistics)
    seen = {}

    def longest(pair, tokens, against, step):
        seen["step"] = step
        return float("inf")

    monkeypatch.setattr("restorelcc.restoration.constants.longest_rate", longest)
    picks = of_heads(lost.shape, [(0, 1), (2, 3)], 3)
    settings = Settings(lr=0.1, steps=1, warm_up=0.0, cool_down=0.0, batch=48, bounded=True)
    training = Training(pair, lost, picks, many, many[:4], settings)
    list(training.steps())
    moved = training.parameters.compensation().vectors.detach()
    # The gradient by constants, from a pass of its own: β and b move by their signs.
    constants = torch.zeros(3, 4, 8, requires_grad=True)
    with compensated(pair.pruned, Constants(constants)):
        logits = pair.pruned(many.ids).logits
    with torch.no_grad():
        teacher = pair.dense(many.ids).logits
    distillation(logits, teacher, many.scored).backward()
    torch.testing.assert_close(moved, 0.1 * seen["step"](constants.grad), rtol=1e-3, atol=1e-6)


def test_more_heads_are_trained_at_a_lower_rate(pair, statistics, many):
    lost = components(statistics)
    some, generator = of_heads(lost.shape, [(1, 1)]), torch.Generator()
    rates = [
        ConstantParameters(pair, lost, picks, Settings(), generator).longest_rate(pair, many, LOSSES["kl"])
        for picks in (some, everything(lost.shape))
    ]
    assert rates[1] < rates[0]


def test_a_rate_that_would_overshoot_is_lowered_and_a_training_says_with_which_it_trained(pair, statistics, many):
    lost = components(statistics)
    longest = ConstantParameters(pair, lost, everything(lost.shape), Settings(), torch.Generator()).longest_rate(
        pair, many[:16], LOSSES["kl"]
    )
    settings = Settings(lr=9.0, steps=6, batch=4, evaluate_every=1)
    trainings = {
        bounded: Training(
            pair, lost, everything(lost.shape), many, many[:16], replace(settings, bounded=bounded)
        )
        for bounded in (True, False)
    }  # fmt: skip
    used = trainings[True].settings
    assert used.lr == pytest.approx(longest)
    assert not used.bounded
    assert trainings[False].settings.lr == 9.0
    curves = {bounded: [step.held_out_loss for step in training.steps()] for bounded, training in trainings.items()}
    assert curves[True][-1] < curves[True][0] < curves[False][-1]
    low = Training(pair, lost, everything(lost.shape), many, many[:16], replace(settings, lr=longest / 50))
    assert low.settings.lr == longest / 50


def test_a_rate_that_is_given_stays_as_it_is():
    assert settings_of({"lr": None, "steps": 5}, None).bounded
    assert not settings_of({"lr": 0.2, "steps": 5}, None).bounded
    assert not PUBLISHED.bounded


def test_weights_too_are_trained_at_a_rate_whose_first_step_helps(pair, statistics, many):
    """Twice the rate, of halves of what was asked for, at which the first step takes the loss lowest."""
    lost = components(statistics)
    asked = Settings(kind="weights", where="all", lr=9.0, steps=6, batch=4, warm_up=0.0, cool_down=0.0, seed=3)

    def training(settings):
        return Training(pair, lost, everything(lost.shape), many, many[:16], settings)

    bounded = training(replace(asked, bounded=True))
    used = bounded.settings.lr
    assert not bounded.settings.bounded
    assert all(part.grad is None and not part.any() for part in bounded.parameters.moved)
    first = torch.arange(4)

    def after_one_step(rate):
        once = training(replace(asked, lr=rate))
        once.order = first.tolist()
        steps = once.steps()
        next(steps), next(steps)
        with torch.no_grad():
            return sum(float(loss) * count for loss, count in once._objective(first))

    halves = [9.0 / 2**power for power in range(14)]
    losses = [after_one_step(rate) for rate in halves]
    best = next(index for index in range(13) if losses[index + 1] >= losses[index])
    assert used == pytest.approx(2 * halves[best])
    assert used < 9.0
    falling = training(replace(asked, bounded=True, steps=12, warm_up=0.05, cool_down=0.95))
    curve = [step.held_out_loss for step in falling.steps() if step.held_out_loss is not None]
    assert curve[-1] < curve[0]


def test_a_rate_of_weights_that_helps_stays(pair, statistics, many):
    lost = components(statistics)
    settings = Settings(kind="weights", lr=1e-3, steps=2, batch=4, bounded=True)
    assert Training(pair, lost, everything(lost.shape), many, many[:4], settings).settings.lr == 1e-3


def test_what_takes_as_long_as_some_steps_is_told_before_it_is_done(pair, statistics, many, monkeypatch):
    lost, told = components(statistics), []
    monkeypatch.setattr(
        "restorelcc.restoration.constants.longest_rate", lambda *_: told.append("found") or float("inf")
    )
    given = pair, lost, of_heads(lost.shape, [(0, 1)]), many, many[:4]
    finish(prepared(*given, Settings(bounded=False)), lambda step: told.append(step.what))
    assert told == []
    training = finish(prepared(*given, Settings(lr=0.1, bounded=True)), lambda step: told.append(step.what))
    assert told == ["finding the rate at which the first step does not overshoot", "found"]
    assert training.settings == Settings(lr=0.1)
