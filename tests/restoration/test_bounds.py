"""Bounds are what their parts give one by one."""

import pandas as pd
import pytest
import torch
from conftest import make_tokens

from restorelcc.capture.components import LostComponents
from restorelcc.compensation.interface import compensated
from restorelcc.evaluation.patching import Patch, all_heads, patched
from restorelcc.evaluation.perplexity import perplexity, token_loss
from restorelcc.models.pair import ModelPair
from restorelcc.progress import finish
from restorelcc.restoration.bounds import bounds
from restorelcc.restoration.settings import Settings
from restorelcc.restoration.training import Training
from restorelcc.selection.picks import everything
from restorelcc.text.calibration import sampled_windows

SETTINGS = Settings(steps=12, batch=3, evaluate_every=4, lr=0.5)


def test_every_bound_is_its_part_measured_alone(pair: ModelPair, lost: LostComponents):
    training, held_out, tokens = (make_tokens(texts=6, seed=seed) for seed in (5, 6, 7))
    found = finish(bounds(pair, lost, training, held_out, tokens, SETTINGS))
    assert torch.equal(found.pruned.nll, token_loss(pair.pruned, tokens).nll)
    assert torch.equal(found.dense.nll, token_loss(pair.dense, tokens).nll)

    trainer = Training(pair, lost, everything(lost.shape), training, held_out, SETTINGS)
    for _ in trainer.steps():
        pass
    with compensated(pair.pruned, trainer.result().compensation):
        torch.testing.assert_close(found.constants.nll, token_loss(pair.pruned, tokens).nll)
    assert not torch.equal(found.constants.nll, found.pruned.nll)

    patches = [*(all_heads(pair.geometry, layer) for layer in range(3)), all_heads(pair.geometry)]
    *layers, heads = finish(patched(pair, tokens, patches))
    assert all(torch.equal(ours.nll, one.nll) for ours, one in zip(found.layers, layers, strict=True))
    assert torch.equal(found.heads.nll, heads.nll)
    (mlps,) = finish(patched(pair, tokens, [Patch(mlps=frozenset(range(3)))]))
    assert torch.equal(found.mlps.nll, mlps.nll)


def test_the_table_has_shares_between_pruned_and_dense(pair: ModelPair, lost: LostComponents):
    texts = finish(sampled_windows(pair.dense, pair.tokenizer, 16, 6))  # which the dense model knows best
    found = finish(bounds(pair, lost, texts, texts, texts, SETTINGS))
    frame = found.to_pandas()
    assert list(frame["what"]) == ["pruned", "constants", "heads", "heads", "heads", "heads", "mlps", "dense"]
    assert [None if one is pd.NA else one for one in frame["layer"]] == [None, None, 0, 1, 2, None, None, None]
    before, after = perplexity(found.pruned), perplexity(found.dense)
    for row, loss in zip(frame.itertuples(), (found.pruned, found.constants), strict=False):
        assert row.perplexity == pytest.approx(perplexity(loss).value)
        assert row.change == pytest.approx(perplexity(loss).nats - before.nats)
    assert after.nats < before.nats
    shares = -frame["change"] / (before.nats - after.nats)
    assert frame["recovered_share"].tolist() == pytest.approx(shares.tolist())
    far = found.pruned.kl.sum()
    near = [1 - float(loss.kl.sum() / far) for loss in (found.pruned, found.constants, *found.layers, found.heads)]
    assert frame["nearer"].tolist()[:6] == pytest.approx(near)
    assert (near[0], frame["nearer"].iloc[-1]) == (0, pytest.approx(1))
    assert all(frame["nearer_stderr"][1:-1] > 0)
