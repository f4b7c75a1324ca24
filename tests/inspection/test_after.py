"""What is still lost with something put back, and which windows were hit, against the obvious computation."""

from functools import partial

import pytest
import torch
from conftest import make_tokens, z_values
from families import random_compensation

from restorelcc.capture.components import LostComponents
from restorelcc.capture.head_loss import head_loss
from restorelcc.capture.statistics import HeadStatistics
from restorelcc.compensation.constants import Constants
from restorelcc.compensation.interface import compensated
from restorelcc.evaluation.perplexity import token_loss
from restorelcc.hf.layout import geometry
from restorelcc.inspection.after import still_lost
from restorelcc.inspection.windows import windows
from restorelcc.models.pair import ModelPair
from restorelcc.progress import finish
from restorelcc.text.tokens import Tokens


def test_nothing_put_back_leaves_what_was_lost(
    pair: ModelPair, tokens: Tokens, statistics: HeadStatistics, lost: LostComponents
):
    after = finish(still_lost(pair, tokens, lost, Constants.none(pair.geometry)))
    torch.testing.assert_close(after.loss.relative_error, head_loss(statistics).relative_error)
    torch.testing.assert_close(after.variance, lost.variance, rtol=1e-6, atol=1e-9)


def test_the_mean_put_back_leaves_the_spread_about_it(
    pair: ModelPair, tokens: Tokens, statistics: HeadStatistics, lost: LostComponents
):
    """In the lowest layer, where nothing below changes."""
    after = finish(still_lost(pair, tokens, lost, Constants(statistics.mean.float())))
    left = statistics.lost_energy - statistics.mean.square().sum(-1)
    torch.testing.assert_close(after.loss.relative_error[0], (left / statistics.dense_energy)[0], rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(after.variance[0], (lost.variance - lost.magnitude.square())[0], rtol=1e-4, atol=1e-6)


def test_deeper_layers_are_measured_with_those_below_in_place(pair: ModelPair, tokens: Tokens, lost: LostComponents):
    back = random_compensation(pair.pruned)
    after = finish(still_lost(pair, tokens, lost, back))
    dense = geometry(pair.dense).split(z_values(pair.dense, tokens.ids)).double()
    with compensated(pair.pruned, back):
        pruned = geometry(pair.dense).split(z_values(pair.pruned, tokens.ids)).double()
    pruned = pruned + back.vectors[:, None, None].double()
    apart = (dense - pruned).square().sum(-1).mean((1, 2)) / dense.square().sum(-1).mean((1, 2))
    torch.testing.assert_close(after.loss.relative_error, apart, rtol=1e-4, atol=1e-6)
    cosine = (dense * pruned).sum(-1).mean((1, 2)) / (
        dense.square().sum(-1).mean((1, 2)) * pruned.square().sum(-1).mean((1, 2))
    ).sqrt()
    torch.testing.assert_close(after.loss.cosine_distance, 1 - cosine, rtol=1e-4, atol=1e-6)


def test_every_window_says_what_it_lost_and_where(pair: ModelPair):
    tokens = make_tokens(texts=4, length=12)
    tokens.scored[1, 5:] = False
    tokens.scored[3] = False
    back = partial(compensated, pair.pruned, random_compensation(pair.pruned))
    frame = finish(windows(pair, tokens, back)).set_index("window")
    assert sorted(frame.index) == [0, 1, 2]
    assert frame["lost"].is_monotonic_decreasing
    dense, pruned = token_loss(pair.dense, tokens).nll, token_loss(pair.pruned, tokens).nll
    with back():
        restored = token_loss(pair.pruned, tokens).nll
    for window, row in frame.iterrows():
        at = tokens.scored[window]
        assert row["tokens"] == int(at.sum())
        assert row["lost"] == pytest.approx(float((pruned - dense)[window][at].mean()))
        assert row["back"] == pytest.approx(float((pruned - restored)[window][at].mean()))
        assert row["still"] == pytest.approx(row["lost"] - row["back"])
        apart = torch.where(at, (pruned - dense)[window], -torch.inf)
        assert int(row["position"]) == int(apart.argmax())
        assert row["most"] == pytest.approx(float(apart.max()))
    plain = finish(windows(pair, tokens))
    assert "back" not in plain
    assert plain["kl"].tolist() == pytest.approx(frame["kl"].tolist())
