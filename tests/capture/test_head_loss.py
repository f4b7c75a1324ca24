"""Every measure against its definition, head by head."""

import pytest
import torch
from conftest import make_model, make_tokens

from restorelcc.capture.head_loss import METRICS, head_loss
from restorelcc.capture.statistics import capture
from restorelcc.errors import SettingError
from restorelcc.models.pair import paired
from restorelcc.progress import finish


def test_measures_equal_their_definitions(pair, statistics):
    loss = head_loss(statistics)
    samples = statistics.samples
    for layer in range(3):
        for head in range(4):
            delta = samples.lost[layer, head].double()
            dense = samples.dense[layer, head].double()
            pruned = dense - delta
            energy = delta.square().sum(1).mean()
            close = {"rtol": 1e-5, "atol": 1e-8}
            torch.testing.assert_close(loss.relative_error[layer, head], energy / dense.square().sum(1).mean(), **close)
            torch.testing.assert_close(loss.mean_squared_error[layer, head], delta.square().mean(), **close)
            cosine = (dense * pruned).sum() / (dense.norm() * pruned.norm())
            torch.testing.assert_close(loss.cosine_distance[layer, head], 1 - cosine, **close)
            w = pair.pruned.model.layers[layer].self_attn.o_proj.weight.double()[:, head * 8 : head * 8 + 8]
            whole = statistics.attention_energy[layer]
            written = ((delta @ w.T).square().sum(1).mean() / whole).sqrt()
            torch.testing.assert_close(loss.output_weighted[layer, head], written, **close)


def test_an_unpruned_model_lost_nothing(tokenizer):
    model = make_model()
    statistics = finish(capture(paired(model, model, tokenizer, "a", "a"), make_tokens()))
    loss = head_loss(statistics)
    for metric in METRICS:
        torch.testing.assert_close(loss.table(metric), torch.zeros(3, 4, dtype=torch.float64), rtol=0, atol=1e-12)


def test_a_head_that_was_removed_lost_all_of_its_energy(tokenizer):
    dense, pruned = make_model(), make_model()
    pruned.model.layers[1].self_attn.v_proj.weight.data[:8] = 0  # key/value head 0 serves query heads 0 and 1
    statistics = finish(capture(paired(dense, pruned, tokenizer, "a", "b"), make_tokens()))
    loss = head_loss(statistics)
    torch.testing.assert_close(loss.relative_error[1, :2], torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(loss.cosine_distance[1, :2], torch.ones(2, dtype=torch.float64))
    assert (loss.relative_error[0] == 0).all()


def test_table_by_name_and_as_pandas(statistics):
    loss = head_loss(statistics)
    table = loss.to_pandas()
    assert list(table.columns) == ["layer", "head", *METRICS]
    row = table.query("layer == 2 and head == 1").iloc[0]
    assert row.output_weighted == loss.output_weighted[2, 1]
    with pytest.raises(SettingError, match="relative_error"):
        loss.table("to_pandas")
