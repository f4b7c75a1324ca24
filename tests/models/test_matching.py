"""Pruned models with fewer heads: told or recognised which, compared head by head, compensated in what is left."""

import json
from dataclasses import replace

import pytest
import torch
from conftest import make_model, make_tokens, z_values
from families import foreign

from restorelcc.artifacts.export import adapter_fits, load_adapter, save_adapter, save_checkpoint
from restorelcc.capture.components import components
from restorelcc.capture.head_loss import head_loss
from restorelcc.capture.passage import read_passage
from restorelcc.capture.statistics import capture
from restorelcc.compensation.constants import Constants, merged
from restorelcc.compensation.interface import compensated
from restorelcc.errors import PairMismatch, SettingError
from restorelcc.hf.layout import geometry
from restorelcc.hf.narrow import head_weights
from restorelcc.models.matching import KEPT_FILE, matched, recognised
from restorelcc.models.pair import load_pair, paired
from restorelcc.progress import finish
from restorelcc.pruning.layerwise import Pruning, prune
from restorelcc.restoration.constants import lost_units
from restorelcc.restoration.settings import Settings
from restorelcc.restoration.training import Training
from restorelcc.selection.picks import everything, of_heads, random_heads, top_components, top_heads, within_budget

DENSE = {"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 8, "hidden_size": 48}


@pytest.fixture(scope="module")
def dense():
    return make_model(**DENSE)


@pytest.fixture(scope="module")
def narrow(dense):
    return finish(prune(dense, make_tokens(), Pruning("structured", 0.5)))


@pytest.fixture(scope="module")
def pair(dense, narrow, tokenizer):
    return paired(dense, narrow, tokenizer, "dense", "narrow")


@pytest.fixture(scope="module")
def lost(pair):
    return components(finish(capture(pair, make_tokens(), samples=1000)))


def test_heads_are_recognised_by_their_weights(dense, narrow):
    found = recognised(head_weights(dense), head_weights(foreign(narrow)))
    assert found.heads.tolist() == narrow.config.pruning["kept_heads"]
    assert found.cosine.min() > 0.5
    assert found.margin.min() > 0.1
    assert "4 of 8 heads a layer are gone; the others were recognised" in str(found)


def test_heads_in_another_order_are_recognised_too(dense, narrow):
    """Key/value heads swapped, with the query heads that read them: the same function, another checkpoint."""
    twin = foreign(narrow)
    for layer in twin.model.layers:
        attention = layer.self_attn
        for name, width in (("q_proj", 16), ("k_proj", 8), ("v_proj", 8)):
            weight = attention.get_submodule(name).weight
            weight.copy_(weight.view(2, width, -1).flip(0).reshape(weight.shape).clone())
        attention.o_proj.weight.copy_(attention.o_proj.weight.view(-1, 2, 16).flip(1).reshape(-1, 32).clone())
    kept = torch.tensor(narrow.config.pruning["kept_heads"])
    assert torch.equal(
        recognised(head_weights(dense), head_weights(twin)).heads, kept.view(-1, 2, 2).flip(1).flatten(1)
    )


def test_a_model_of_other_weights_is_refused(dense, narrow):
    stranger = foreign(narrow)
    for parameter in stranger.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(9)))
    with pytest.raises(PairMismatch, match=r"resemble no head of it clearly.*kept_heads\.json"):
        matched(dense, stranger)


def saved(folder, tokenizer, **models):
    for name, model in models.items():
        save_checkpoint(folder / name, model, tokenizer)
    return [str(folder / name) for name in models]


def test_told_by_a_file_or_by_the_config_or_recognised(dense, narrow, tokenizer, tmp_path):
    ours, told, plain = saved(tmp_path, tokenizer, dense=dense, told=narrow, plain=foreign(narrow))
    kept = narrow.config.pruning["kept_heads"]
    assert json.loads((tmp_path / "told" / KEPT_FILE).read_text()) == {"format": 1, "kept": kept}
    assert not (tmp_path / "plain" / KEPT_FILE).exists()
    found = load_pair(ours, told)
    assert found.match.heads.tolist() == kept
    assert found.match.cosine is None
    (tmp_path / "told" / KEPT_FILE).unlink()
    assert load_pair(ours, told).match.heads.tolist() == kept
    recovered = load_pair(ours, plain)
    assert recovered.match.heads.tolist() == kept
    assert recovered.match.cosine is not None
    save_checkpoint(tmp_path / "again", recovered.pruned, tokenizer)
    card = (tmp_path / "again" / "README.md").read_text()
    assert "Pruning: not recorded" in card
    assert "4 of 8 a layer are left" in card
    assert "fewer attention heads" in (tmp_path / "told" / "README.md").read_text()
    assert recovered.pruned.config.pruning["kept_heads"] == kept  # so that an export of it says so
    other = [heads[::-1] for heads in kept]
    (tmp_path / "plain" / KEPT_FILE).write_text(json.dumps({"format": 1, "kept": other}))
    assert load_pair(ours, plain).match.heads.tolist() == other


@pytest.mark.parametrize(
    "kept",
    [[[0, 1, 2, 3]] * 2, [[0, 1, 2]] * 3, [[0, 1, 2, 8]] * 3, [[0, 1, 2, 2]] * 3, [[0, 1, 2, 3], [0]], "all", None],
)
def test_a_map_that_cannot_be_is_refused(dense, narrow, tokenizer, tmp_path, kept):
    names = saved(tmp_path, tokenizer, dense=dense, told=narrow)
    (tmp_path / "told" / KEPT_FILE).write_text(json.dumps({"format": 1, "kept": kept}))
    with pytest.raises(PairMismatch, match=r"kept_heads\.json"):
        load_pair(*names)


def test_what_was_said_of_another_dense_model_is_not_believed(dense, narrow, tokenizer, tmp_path):
    """Pruned twice: the record is of the model between, and the first is found by the weights."""
    twice = finish(prune(narrow, make_tokens(), Pruning("structured", 0.5)))
    kept = [[first[head] for head in second] for first, second in zip(
        narrow.config.pruning["kept_heads"], twice.config.pruning["kept_heads"], strict=True)]  # fmt: skip
    names = saved(tmp_path, tokenizer, dense=dense, narrow=narrow, twice=twice)
    assert load_pair(names[1], names[2]).match.heads.tolist() == twice.config.pruning["kept_heads"]
    (tmp_path / "twice" / KEPT_FILE).unlink()
    assert load_pair(names[0], names[2]).match.heads.tolist() == kept


def test_without_a_map_a_pair_in_memory_is_refused(dense, narrow, tokenizer):
    with pytest.raises(PairMismatch, match="n_heads 8 against 4"):
        paired(dense, foreign(narrow), tokenizer, "a", "b")


def test_every_head_is_compared_with_its_partner_and_the_gone_are_lost_whole(pair):
    tokens, kept = make_tokens(), pair.match.heads
    statistics = finish(capture(pair, tokens, samples=1000, batch=4))
    z_d = geometry(pair.dense).split(z_values(pair.dense, tokens.ids)).flatten(1, 2).double()
    z_p = geometry(pair.pruned).split(z_values(pair.pruned, tokens.ids)).flatten(1, 2).double()
    loss = head_loss(statistics)
    for layer in range(3):
        for head in range(8):
            d = z_d[layer, :, head]
            if head in kept[layer]:
                assert statistics.present[layer, head]
                p = z_p[layer, :, kept[layer].tolist().index(head)]
            else:
                assert not statistics.present[layer, head]
                assert loss.relative_error[layer, head] == pytest.approx(1)
                assert loss.cosine_distance[layer, head] == 1
                assert loss.output_weighted[layer, head] > 0
                p = torch.zeros_like(d)
            torch.testing.assert_close(statistics.mean[layer, head], (d - p).mean(0))
            expected = float((d - p).square().sum() / d.square().sum())
            assert loss.relative_error[layer, head] == pytest.approx(expected)


def test_a_head_is_held_by_the_pruned_model_where_it_is_left(pair):
    for layer in range(3):
        for head in range(8):
            model, same, own = pair.holder(layer, head)
            assert (model is pair.pruned) == bool(pair.present[layer, head])
            assert same == layer
            assert own == head if model is pair.dense else pair.match.heads[layer, own] == head


def test_a_passage_shows_gone_heads_as_looking_nowhere(pair):
    reading = read_passage(pair, make_tokens(1, 9).ids[0])
    assert torch.equal(reading.pruned_attention.sum((2, 3)) > 0, pair.present)
    torch.testing.assert_close(reading.lost[~pair.present], reading.dense[~pair.present])


def test_what_is_put_back_reaches_the_heads_that_are_left(pair, tmp_path):
    """By hand: the vector of a dense head through the columns of the pruned head that it is."""
    draw = torch.Generator().manual_seed(0)
    whole = Constants(torch.randn(3, 8, 8, generator=draw))
    for layer, bias in enumerate(merged(pair.pruned, whole)):
        weight = pair.pruned.model.layers[layer].self_attn.o_proj.weight
        expected = sum(
            weight[:, 8 * own : 8 * own + 8] @ whole.vectors[layer, head]
            for own, head in enumerate(pair.match.heads[layer].tolist())
        )
        torch.testing.assert_close(bias, expected)
    own = Constants(torch.stack([c[heads] for c, heads in zip(whole.vectors, pair.match.heads, strict=True)]))
    ids = make_tokens().ids
    with compensated(pair.pruned, whole):
        hooked = pair.pruned(ids).logits
    with compensated(pair.pruned, own):
        torch.testing.assert_close(pair.pruned(ids).logits, hooked)
    save_checkpoint(tmp_path / "restored", pair.pruned, pair.tokenizer, whole)
    loaded = type(pair.pruned).from_pretrained(tmp_path / "restored")
    torch.testing.assert_close(loaded(ids).logits, hooked, rtol=1e-4, atol=1e-4)
    assert (tmp_path / "restored" / KEPT_FILE).is_file()
    save_adapter(tmp_path / "adapter", whole, pair.geometry, {})
    adapter_fits(load_adapter(tmp_path / "adapter"), pair.pruned)


def test_no_strategy_offers_a_head_that_is_gone(lost):
    there = {(layer, head) for layer, head in lost.present.nonzero().tolist()}
    assert len(there) == 12
    score = torch.rand(3, 8, generator=torch.Generator().manual_seed(1))
    for found in (
        everything(lost.shape).within(lost.present),
        top_heads(lost.shape, score, 12, present=lost.present),
        random_heads(lost.shape, 12, seed=0, present=lost.present),
        top_components(lost, 12 * 8),
        within_budget(lost, 12 * 16),
    ):
        assert found.heads == there
    for refused in (lambda: top_components(lost, 97), lambda: random_heads(lost.shape, 13, 0, None, lost.present)):
        with pytest.raises(SettingError, match="cannot be picked"):
            refused()


def test_training_leaves_gone_heads_out(pair, lost):
    gone = (~lost.present).nonzero().tolist()
    tokens = make_tokens()
    with pytest.raises(SettingError, match="Every picked head was removed"):
        Training(pair, lost, of_heads(lost.shape, gone), tokens, tokens[:2])
    trainer = Training(pair, lost, everything(lost.shape), tokens, tokens[:2], Settings(steps=20, batch=4, lr=0.02))
    for _ in trainer.steps():
        pass
    result = trainer.result()
    assert len(result.selection) == 12 * 8
    assert result.trained_parameters == 12 * 16
    assert (result.compensation.norms[~lost.present] == 0).all()
    assert result.history[-1].held_out_loss < result.history[0].held_out_loss


def test_heads_that_lost_nothing_step_carefully(lost):
    """Heads of the first layer read what they always did, so those that are left lose nothing; what the gone ones lost
    says nothing of how far they may go."""
    silent = lost.variance.clone()
    silent[0, lost.present[0]] = 0
    unit = lost_units(replace(lost, variance=silent))[..., 0]
    least = min(silent[layer, lost.present[layer]].mean() for layer in (1, 2)).sqrt()
    torch.testing.assert_close(unit[0, lost.present[0]], least.float().expand(4))
    torch.testing.assert_close(unit[1:].square(), silent[1:].mean(-1).float())
