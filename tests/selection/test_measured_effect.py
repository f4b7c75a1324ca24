"""Heads and components put back alone, measured."""

import pytest
import torch

from restorelcc.capture.components import LostComponents
from restorelcc.compensation.constants import injected
from restorelcc.compensation.interface import compensated
from restorelcc.evaluation.perplexity import paired_difference, token_loss
from restorelcc.models.pair import ModelPair
from restorelcc.selection.measured_effect import of_components, of_heads, tried
from restorelcc.text.tokens import Tokens


def test_what_is_measured_is_the_component_put_back_alone(pair: ModelPair, tokens: Tokens, lost: LostComponents):
    picks = [(2, 0, 1), (0, 3, 0)]
    plain = token_loss(pair.pruned, tokens)
    for pick, (trial, change) in zip(
        picks, tried(pair, tokens, of_components(lost, lost.magnitude.float(), picks)), strict=True
    ):
        assert (trial.layer, trial.head, trial.component) == pick
        mask = torch.zeros(lost.shape, dtype=torch.bool)
        mask[pick] = True
        with compensated(pair.pruned, injected(lost, mask)):
            whole = paired_difference(token_loss(pair.pruned, tokens), plain)
        assert change.nats == pytest.approx(whole.nats, rel=1e-4, abs=1e-7)
        assert change.stderr == pytest.approx(whole.stderr, rel=1e-4, abs=1e-7)


def test_heads_come_in_the_order_asked_for():
    order = torch.tensor([[3.0, 1.0], [2.0, 0.0]])
    trials = of_heads(torch.arange(8.0).view(2, 2, 2), order)
    assert [(trial.layer, trial.head) for trial in trials] == [(1, 1), (0, 1), (1, 0), (0, 0)]
    assert trials[0].constant.tolist() == [6.0, 7.0]
