"""Probes of all heads at once against scikit-learn's, one head at a time."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from conftest import make_model, noisy, z_values
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from restorelcc.cores import single_threaded
from restorelcc.demo.pair import demo_dense, demo_pair
from restorelcc.errors import SettingError, TextError
from restorelcc.models.pair import paired
from restorelcc.progress import finish
from restorelcc.selection.probes import fit_probes
from restorelcc.selection.probing import Contrast, fit_all, probe, read_contrast_activations
from restorelcc.text import sources
from restorelcc.text.calibration import calibration_tokens
from restorelcc.text.contrast import ContrastItem, contrast_items

WORDS = "the a little girl boy dog cat ball tree house".split()


def made(pairs=60, heads=3, width=8, told=0.0, seed=0):
    """Activations whose right and wrong responses lie `told` apart along a line, in features of very unlike scale."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(heads, width, width, generator=generator) * torch.logspace(0, -2, width)
    question, right, wrong = (torch.randn(heads, pairs, width, generator=generator) for _ in range(3))
    line = torch.randn(heads, 1, width, generator=generator)
    right, wrong = question + right + told * line, question + wrong - told * line
    return tuple((part @ mix + 3.0)[None] for part in (question, right, wrong))


def one_by_one(question, right, wrong, training):
    """(held-out margins [head, row], right ones first, accuracies [head]) of scikit-learn, converged, in float64."""
    margins, accuracies = [], []
    for head in range(len(question)):
        q, r, w = (part[head].double().numpy() for part in (question, right, wrong))
        features = np.stack([np.hstack([q, r]), np.hstack([q, w])])  # [right or wrong, pair, feature]
        labels = np.repeat([1, 0], len(q)).reshape(2, -1)
        known = (slice(None), slice(None, training))
        held = (slice(None), slice(training, None))
        scaler = StandardScaler().fit(features[known].reshape(-1, features.shape[-1]))
        model = LogisticRegression(tol=1e-10, max_iter=100_000)
        model.fit(scaler.transform(features[known].reshape(-1, features.shape[-1])), labels[known].flatten())
        rows = scaler.transform(features[held].reshape(-1, features.shape[-1]))
        margins.append(model.decision_function(rows))
        accuracies.append(model.score(rows, labels[held].flatten()))
    return np.array(margins), np.array(accuracies)


@pytest.fixture(scope="module")
def items():
    generator = np.random.default_rng(0)
    return [ContrastItem(*(" " + " ".join(generator.choice(WORDS, generator.integers(1, 6))) for _ in range(3)))
            for _ in range(12)]  # fmt: skip


@pytest.mark.parametrize("told", [0.0, 0.1, 2.0])
def test_probes_are_scikit_learns(told):
    """From chance to parted without a remainder."""
    parts = [part[0] for part in made(told=told)]
    expected, accuracies = one_by_one(*parts, training=42)
    probes = fit_probes(*(part[:, :42] for part in parts))
    question, right, wrong = (part[:, 42:] for part in parts)
    margins = torch.cat([probes.margins(question, right), probes.margins(question, wrong)], dim=1)
    np.testing.assert_allclose(margins, expected, rtol=5e-3, atol=5e-3)
    clear = np.abs(expected) > 1e-2
    assert clear.mean() > 0.9
    np.testing.assert_array_equal((margins.numpy() > 0)[clear], (expected > 0)[clear])
    found = finish(fit_all(Contrast(*made(told=told))))
    np.testing.assert_allclose(found.accuracy[0], accuracies, atol=(~clear).sum(1).max() / clear.shape[1] + 1e-9)


def test_any_number_of_heads_at_once_gives_the_same():
    """Heads that are done early wait for others without being moved."""
    easy, hard = made(heads=4, told=0.0), made(heads=9, told=1.0, seed=1)
    parts = [torch.cat([one[0], other[0]]) for one, other in zip(easy, hard, strict=True)]
    together = fit_probes(*parts)
    for head in (0, 3, 4, 12):
        alone = fit_probes(*(part[head : head + 1] for part in parts))
        for name in ("question", "response", "bias"):
            torch.testing.assert_close(getattr(together, name)[head], getattr(alone, name)[0], rtol=1e-2, atol=1e-3)


def test_the_injected_constant_changes_nothing():
    parts = made(told=0.1, pairs=200)
    plain = finish(fit_all(Contrast(*parts)))
    constant = torch.randn(1, 3, 8, generator=torch.Generator().manual_seed(3)) * 5
    put_back = Contrast(parts[0] + constant[:, :, None], *parts[1:])
    assert torch.equal(finish(fit_all(put_back)).accuracy, plain.accuracy)
    question, right, wrong = (part[0] for part in parts)
    shifted = question + constant[0][:, None]
    one, other = fit_probes(question, right, wrong), fit_probes(shifted, right, wrong)
    for name in ("question", "response", "bias"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(one.margins(question, right), other.margins(shifted, right), rtol=1e-3, atol=1e-3)
    # Not because c is never looked at: injected into half of the rows, it would be something to tell them by.
    half = question.clone()
    half[:, :100] += constant[0][:, None]
    assert (fit_probes(half, right, wrong).question - one.question).abs().max() > 0.01


def test_the_questions_half_shifts_both_rows_of_a_pair_alike():
    question, right, wrong = (part[0] for part in made(told=0.1))
    probes = fit_probes(question, right, wrong)
    other = question.flip(1)
    moved = [probes.margins(other, response) - probes.margins(question, response) for response in (right, wrong)]
    torch.testing.assert_close(*moved, rtol=1e-4, atol=1e-4)
    assert moved[0].abs().max() > 0.01  # it does shift them


def test_a_planted_head_is_found_and_noise_is_chance():
    parts = made(pairs=1000, heads=8)
    told = made(pairs=1000, heads=8, told=1.0)
    mixed = [part.clone() for part in parts]
    for part, one in zip(mixed, told, strict=True):
        part[0, 5] = one[0, 5]
    found = finish(fit_all(Contrast(*(part.view(2, 4, 1000, 8) for part in mixed))))
    assert divmod(int(found.accuracy.argmax()), 4) == (1, 1)
    assert found.accuracy[1, 1] > 0.9
    noise = torch.ones(2, 4, dtype=torch.bool)
    noise[1, 1] = False
    assert ((found.accuracy - 0.5).abs() < 4 * found.stderr)[noise].all()
    torch.testing.assert_close(found.stderr[noise], torch.full((7,), (0.25 / 300) ** 0.5).double(), rtol=0.02, atol=0)


def test_both_rows_of_a_pair_are_on_one_side():
    """Every pair's response is a direction of its own, right pointing up it and wrong down: whoever has seen one row of
    a pair knows the other, and whoever has seen neither knows nothing."""
    pairs = 40
    own = torch.eye(pairs)[None, None]
    found = finish(fit_all(Contrast(torch.zeros_like(own), own, -own)))
    assert found.accuracy.item() == 0.5
    assert (found.training, found.held_out) == (28, 12)


def test_how_many_threads_others_compute_on_is_left_alone():
    before = torch.get_num_threads()
    work = fit_all(Contrast(*made()))
    next(work)

    def of_a_new_thread():
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(torch.get_num_threads).result()

    assert torch.get_num_threads() == before == of_a_new_thread()
    with single_threaded(2) as workers:
        assert {workers.submit(torch.get_num_threads).result() for _ in range(9)} == {1}
    work.close()
    assert torch.get_num_threads() == before == of_a_new_thread()


def test_a_head_that_is_always_the_same_is_chance():
    still = torch.ones(1, 2, 20, 8)
    found = finish(fit_all(Contrast(still, still, still)))
    assert found.accuracy.tolist() == [[0.5, 0.5]]


def test_activations_are_those_of_the_last_tokens(pair, items):
    """Against one text at a time, without padding, the whole forward pass."""
    found = finish(read_contrast_activations(pair, items, batch=5))
    for index, item in enumerate(items):
        for seen, model, words in (
            (found.question, pair.pruned, item.prompt),
            (found.right, pair.dense, item.prompt + item.right),
            (found.wrong, pair.dense, item.prompt + item.wrong),
        ):
            ids = torch.tensor([[0, *pair.tokenizer(words).input_ids]])
            expected = z_values(model, ids)[:, 0, -1].view(3, 4, 8)
            torch.testing.assert_close(seen[:, :, index], expected, rtol=1e-4, atol=1e-6)


def test_what_is_longer_than_the_context_keeps_its_end(pair, items):
    long = ContrastItem(" dog" * 70, items[0].right, items[0].wrong)
    found = finish(read_contrast_activations(pair, [long]))
    ids = pair.tokenizer(long.prompt + long.right, return_tensors="pt").input_ids[:, -64:]
    torch.testing.assert_close(found.right[:, :, 0], z_values(pair.dense, ids)[:, 0, -1].view(3, 4, 8),
                               rtol=1e-4, atol=1e-6)  # fmt: skip


def test_probing_depends_on_the_seed_and_on_nothing_else(pair, items):
    first = finish(probe(pair, items, seed=1))
    assert torch.equal(first.accuracy, finish(probe(pair, items, seed=1, batch=3)).accuracy)
    assert not torch.equal(first.accuracy, finish(probe(pair, items, seed=2)).accuracy)
    assert (first.training, first.held_out) == (8, 4)
    assert first.accuracy.shape == (3, 4)


def test_too_few_pairs_and_broken_activations_are_refused(pair, items, tokenizer):
    with pytest.raises(TextError, match="at least 4"):
        finish(probe(pair, items[:3]))
    broken = noisy(make_model())
    broken.model.layers[0].self_attn.v_proj.weight.data[0] = torch.inf
    with pytest.raises(SettingError, match="not finite"):
        finish(probe(paired(pair.dense, broken, tokenizer, "a", "b"), items))


def test_on_the_embedded_pair_accuracies_are_scikit_learns():
    dense, tokenizer = demo_dense()
    tokens = finish(calibration_tokens(sources.DEMO, dense, tokenizer, most=4))
    pair = finish(demo_pair(dense, tokenizer, tokens))
    items = contrast_items()
    contrast = finish(read_contrast_activations(pair, items))
    found = finish(fit_all(contrast))
    parts = [part.flatten(0, 1).float() for part in (contrast.question, contrast.right, contrast.wrong)]
    _, expected = one_by_one(*parts, training=found.training)
    apart = (found.accuracy.flatten() - torch.from_numpy(expected)).abs()
    assert (apart <= found.stderr.flatten()).all()
    # Far closer than that: nearly every head agrees on every row, and none is off by more than two.
    rows = apart * 2 * found.held_out
    assert rows.max() < 2.5
    assert (rows < 0.5).double().mean() > 0.9
