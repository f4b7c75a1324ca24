"""Streamed statistics against the slow, obvious computation."""

import threading

import pytest
import torch
from conftest import make_tokens, z_values

from restorelcc.capture.statistics import MEANS, capture
from restorelcc.compensation.constants import Constants
from restorelcc.compensation.interface import compensated
from restorelcc.errors import SettingError
from restorelcc.progress import finish
from restorelcc.text.tokens import Tokens


def obvious(pair, tokens, chosen):
    """Every δz kept, in float64: [layer, head, token, d_head] of dense and pruned."""
    shape = pair.geometry
    both = []
    for model in (pair.dense, pair.pruned):
        z = z_values(model, tokens.ids).double()[:, chosen]  # [layer, token, head * d_head]
        both.append(z.view(shape.n_layers, -1, shape.n_heads, shape.d_head).transpose(1, 2))
    return both


def check(statistics, pair, tokens, chosen):
    dense, pruned = obvious(pair, tokens, chosen)
    lost = dense - pruned
    count = lost.shape[2]
    assert statistics.count == count
    close = {"rtol": 1e-5, "atol": 1e-7}
    torch.testing.assert_close(statistics.mean, lost.mean(2), **close)
    torch.testing.assert_close(statistics.second_moment, torch.einsum("lhni,lhnj->lhij", lost, lost) / count, **close)
    torch.testing.assert_close(statistics.dense_energy, dense.square().sum(-1).mean(2), **close)
    torch.testing.assert_close(statistics.pruned_energy, pruned.square().sum(-1).mean(2), **close)
    torch.testing.assert_close(statistics.inner, (dense * pruned).sum(-1).mean(2), **close)
    for layer, block in enumerate(pair.pruned.model.layers):
        for head in range(pair.geometry.n_heads):
            width = pair.geometry.d_head
            w = block.self_attn.o_proj.weight.double()[:, head * width : (head + 1) * width]
            written = (lost[layer, head] @ w.T).square().sum(-1).mean()
            torch.testing.assert_close(statistics.written_loss[layer, head], written, **close)
    for layer, block in enumerate(pair.dense.model.layers):
        flat = dense[layer].transpose(0, 1).flatten(1)
        written = (flat @ block.self_attn.o_proj.weight.double().T).square().sum(-1).mean()
        torch.testing.assert_close(statistics.attention_energy[layer], written, **close)


def test_statistics_equal_the_obvious_computation(statistics, pair, tokens):
    check(statistics, pair, tokens, tokens.real)


def test_last_position_alone(pair, tokens):
    last = torch.zeros_like(tokens.real)
    last[:, -1] = True
    check(finish(capture(pair, tokens, positions="last")), pair, tokens, last)


def test_padding_counts_for_nothing(pair):
    full = make_tokens(texts=2, length=12)
    real = full.real.clone()
    real[1, 7:] = False
    ragged = Tokens(torch.where(real, full.ids, 0), real, full.scored & real, full.scored & real)
    check(finish(capture(pair, ragged)), pair, full, real)
    last = torch.zeros_like(real)
    last[0, 11] = last[1, 6] = True
    check(finish(capture(pair, ragged, positions="last")), pair, full, last)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_any_split_gives_the_same(pair, tokens, statistics, batch):
    split = finish(capture(pair, tokens, samples=20, batch=batch))
    for name in MEANS:
        expected = getattr(statistics, name)
        # Of what is a sum of float32 products, what nearly cancels out is as exact as the largest is.
        within = 1e-6 * float(expected.abs().max())
        torch.testing.assert_close(getattr(split, name), expected, rtol=1e-6, atol=within)
    whole = statistics.samples.lowest(20)
    assert torch.equal(split.samples.text, whole.text)
    assert torch.equal(split.samples.pos, whole.pos)
    torch.testing.assert_close(split.samples.lost, whole.lost, rtol=1e-4, atol=1e-6)


def test_samples_are_what_their_names_say(pair, tokens, statistics):
    dense, pruned = obvious(pair, tokens, tokens.real)
    samples = statistics.samples
    flat = samples.text * tokens.ids.shape[1] + samples.pos
    assert sorted(flat.tolist()) == list(range(tokens.ids.numel()))  # 1 000 asked for, 96 there are: each once
    torch.testing.assert_close(samples.lost.double(), (dense - pruned)[:, :, flat], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(samples.dense.double(), dense[:, :, flat], rtol=1e-4, atol=1e-6)


def test_samples_are_bounded_and_depend_on_the_seed(pair, tokens):
    first, second = (finish(capture(pair, tokens, samples=10, seed=seed)).samples for seed in (0, 1))
    assert first.lost.shape[2] == 10
    assert not torch.equal(first.pos, second.pos)


def test_the_forward_pass_ends_after_the_last_attention(pair, tokens):
    called = []
    watch = [
        module.register_forward_hook(lambda *_, name=name: called.append(name))
        for model in (pair.dense, pair.pruned)
        for name, module in (("first mlp", model.model.layers[0].mlp), ("last mlp", model.model.layers[-1].mlp),
                             ("unembedding", model.lm_head))
    ]  # fmt: skip
    finish(capture(pair, tokens))
    for hook in watch:
        hook.remove()
    assert set(called) == {"first mlp"}


def test_another_thread_is_neither_captured_nor_stopped(pair, tokens):
    expected = pair.pruned(tokens.ids).logits
    started, done, seen = threading.Event(), threading.Event(), []

    def forward():
        started.set()
        while not done.is_set():
            seen.append(pair.pruned(tokens.ids).logits)

    thread = threading.Thread(target=forward)
    thread.start()
    started.wait()
    alone = finish(capture(pair, tokens))
    for _ in range(20):
        again = finish(capture(pair, tokens))
        assert torch.equal(again.second_moment, alone.second_moment)
    done.set()
    thread.join()
    assert seen
    assert all(torch.equal(logits, expected) for logits in seen)


def test_capture_sees_a_compensation_in_place_below(pair, tokens):
    vectors = torch.zeros(3, 4, 8)
    vectors[0, 1] = 1.0
    plain = finish(capture(pair, tokens))
    with compensated(pair.pruned, Constants(vectors)):
        changed = finish(capture(pair, tokens))
    assert torch.equal(changed.mean[0], plain.mean[0])
    assert not torch.allclose(changed.mean[1], plain.mean[1])


def test_unknown_positions_are_refused(pair, tokens):
    with pytest.raises(SettingError, match="all or last"):
        finish(capture(pair, tokens, positions="first"))
