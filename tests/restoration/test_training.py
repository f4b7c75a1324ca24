"""Training what is put back."""

import math
import time
from dataclasses import replace

import pytest
import torch
from conftest import make_tokens

from restorelcc.compensation.constants import injected
from restorelcc.compensation.interface import compensated
from restorelcc.errors import SettingError
from restorelcc.evaluation.perplexity import perplexity, token_loss
from restorelcc.restoration.constants import trained_parameters
from restorelcc.restoration.parameters import training_seconds
from restorelcc.restoration.settings import PUBLISHED, Settings
from restorelcc.restoration.training import Training
from restorelcc.selection.picks import Selection, everything, of_heads
from restorelcc.text.tokens import Tokens

# Cross-entropy judged on the training texts themselves: there training is sure to improve.
QUICK = {"steps": 12, "batch": 4, "evaluate_every": 4, "lr": 0.02, "loss": "ce"}


@pytest.fixture
def train(pair, lost):
    def build(selection=None, **changes):
        settings = Settings(**(QUICK | changes))
        texts = make_tokens(texts=8, seed=5)
        return Training(pair, lost, selection or everything(lost.shape), texts, texts, settings)

    return build


@pytest.mark.parametrize("loss", ["kl", "ce"])
def test_training_lowers_what_it_minimises(train, pair, loss):
    training = train(loss=loss, steps=30)
    before = {name: value.clone() for name, value in pair.pruned.state_dict().items()}
    steps = list(training.steps())
    assert sum(step.loss for step in steps[-5:]) < sum(step.loss for step in steps[1:6])
    assert [step.step for step in steps] == list(range(31))
    assert all(torch.equal(value, before[name]) for name, value in pair.pruned.state_dict().items())
    assert not any(parameter.requires_grad for parameter in pair.pruned.parameters())


@pytest.mark.parametrize("loss", ["kl", "ce"])
def test_the_result_is_the_step_of_the_lowest_held_out_loss(train, pair, loss):
    training = train(loss=loss, steps=20, evaluate_every=2, lr=0.5)
    evaluated = {step.step: step for step in training.steps() if step.held_out}
    result = training.result()
    best = min(evaluated.values(), key=lambda step: step.held_out_loss)
    assert result.best_step == best.step
    with compensated(pair.pruned, result.compensation):
        again = token_loss(pair.pruned, training.held_out)
        logits = pair.pruned(training.held_out.ids).logits
    assert perplexity(again).nats == pytest.approx(best.held_out.nats, abs=1e-5)
    wanted = pair.dense(training.held_out.ids).logits.softmax(-1)
    gap = (wanted * (wanted.log() - logits.log_softmax(-1))).sum(-1)[:, :-1].mean().item()
    assert best.held_out_loss == pytest.approx(gap if loss == "kl" else best.held_out.nats, rel=1e-4)


def test_only_what_is_picked_moves(train, lost):
    picks = frozenset({(0, 1, 0), (0, 1, 3), (2, 2, 5)})
    training = train(Selection(lost.shape, picks))
    list(training.steps())
    result = training.result()
    assert {tuple(i) for i in result.beta.nonzero().tolist()} == picks
    assert {tuple(i) for i in result.learned.any(-1).nonzero().tolist()} == {(0, 1), (2, 2)}
    assert {tuple(i) for i in result.compensation.vectors.any(-1).nonzero().tolist()} == {(0, 1), (2, 2)}
    rebuilt = torch.einsum("lhi,lhid->lhd", result.beta, lost.directions.float()) + result.learned
    torch.testing.assert_close(result.compensation.vectors, rebuilt)
    assert result.trained_parameters == 3 + 2 * 8


def test_without_the_learned_component_c_stays_within_the_picked_directions(train, lost):
    training = train(of_heads(lost.shape, [(1, 1)], components=2), learned=False)
    list(training.steps())
    result = training.result()
    c = result.compensation.vectors[1, 1]
    outside = lost.directions[1, 1, 2:].float() @ c
    assert c.norm() > 0
    assert outside.abs().max() < 1e-5
    assert not result.learned.any()
    assert result.trained_parameters == 2


def test_starting_from_alpha_begins_at_the_training_free_injection(train, pair, lost):
    training = train(start="alpha")
    first = next(training.steps())
    with compensated(pair.pruned, injected(lost, everything(lost.shape).mask())):
        expected = perplexity(token_loss(pair.pruned, training.held_out))
    assert first.held_out.nats == pytest.approx(expected.nats, rel=1e-5)


def test_starting_from_zero_begins_at_the_pruned_model(train, pair):
    training = train()
    first = next(training.steps())
    assert first.held_out == perplexity(token_loss(pair.pruned, training.held_out))
    assert math.isnan(first.loss)


def test_the_papers_start_is_small_noise(train):
    beta = train(start="noise").result().beta
    assert beta.std().item() == pytest.approx(1e-3, rel=0.3)


def test_leaving_at_any_step_keeps_the_best_so_far(train):
    training = train(steps=1000)
    for step in training.steps():
        if step.step == 9:
            break
    result = training.result()
    assert len(result.history) == 10
    assert result.best_step in (0, 4, 8)


def test_the_same_seed_gives_the_same_restoration(train):
    results = []
    for seed in (3, 3, 4):
        training = train(seed=seed)
        list(training.steps())
        results.append(training.result().compensation.vectors)
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_patience_ends_training_that_gets_no_better(train):
    steps = list(train(steps=1000, lr=9.0, evaluate_every=1, patience=3).steps())  # a rate far too high
    assert len(steps) < 900
    assert not any(step.best for step in steps[-3:])


def test_teacher_memory_bounds_what_is_kept_and_changes_nothing(train):
    results = []
    one_text = 16 * 40 * 4 * 2
    for budget in (0, one_text, 2**30):
        training = train(teacher_bytes=budget, loss="kl")
        list(training.steps())
        results.append(training.result().compensation.vectors)
        kept = sum(row.numel() * row.element_size() for one in training._teachers for row in one._kept.values())
        assert kept <= budget
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=1e-3, atol=1e-4)


def test_response_loss_ignores_the_prompt(pair, lost):
    texts = make_tokens(texts=12, seed=5)
    answers = texts.scored.clone()
    answers[:, :10] = False
    with_answers = Tokens(texts.ids, texts.real, texts.scored, answers)
    other = texts.ids.clone()
    other[:, 15] = (other[:, 15] - 2) % 30 + 3  # the last token of the answer
    results = []
    for ids, loss in ((texts.ids, "response"), (other, "response"), (texts.ids, "ce")):
        rows = Tokens(ids, texts.real, texts.scored, with_answers.response)
        training = Training(
            pair, lost, everything(lost.shape), rows[:8], texts[8:], Settings(**(QUICK | {"loss": loss}))
        )
        results.append(next(step for step in training.steps() if step.step == 1).loss)
    assert len(set(results)) == 3
    expected = token_loss(pair.pruned, with_answers).nll[:8][answers[:8]].mean().item()
    everything_at_once = Settings(**(QUICK | {"batch": 8, "loss": "response"}))
    training = Training(pair, lost, everything(lost.shape), with_answers[:8], texts[8:], everything_at_once)
    assert next(step for step in training.steps() if step.step == 1).loss == pytest.approx(expected, rel=1e-4)


def test_rates_rise_hold_and_fall():
    rates = [Settings(steps=100, lr=1.0, warm_up=0.1, cool_down=0.5).rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[50] == 1.0
    assert rates[75] == pytest.approx(0.5)
    assert rates[99] == pytest.approx(0.02)
    assert [round(replace(PUBLISHED, steps=100).rate(step), 6) for step in (0, 50)] == [0.001, 0.0005]


def test_steps_say_how_fast_and_how_far(train):
    began = time.perf_counter()
    steps = list(train().steps())
    took = time.perf_counter() - began
    assert steps[-1].tokens == 12 * 4 * 16
    assert 0 < steps[-1].seconds <= took
    assert steps[-1].tokens_per_second > steps[-1].tokens / took
    assert [step.step for step in steps if step.held_out] == [0, 4, 8, 12]


def test_trained_parameters_are_counted(lost):
    assert trained_parameters(everything(lost.shape), Settings(), 8) == 96 + 12 * 8
    assert trained_parameters(everything(lost.shape), Settings(learned=False), 8) == 96


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"loss": "mse"}, "kl, ce, response"),
        ({"start": "warm"}, "zero, noise, alpha"),
        ({"lr": 0.0}, "learning rate"),
        ({"steps": 0}, "at least 1"),
        ({"patience": 0}, "patience"),
        ({"warm_up": 0.8, "cool_down": 0.8}, "1 together"),
    ],
)
def test_nonsense_settings_are_refused(changes, says):
    with pytest.raises(SettingError, match=says):
        Settings(**changes)


@pytest.mark.parametrize("unit", ["loss", "activation"])
def test_training_starts_from_the_magnitudes_set_by_hand(pair, lost, tokens, unit):
    """Step 0 puts back what the picks do: α times what was set, where it was, and α elsewhere."""
    selection = Selection(lost.shape, frozenset({(0, 1, 0), (0, 1, 2), (2, 3, 1)}))
    weights = selection.mask().double()
    weights[0, 1, 2] = -2.5
    settings = Settings(steps=1, batch=2, start="picked", unit=unit)

    def started(**given):
        return Training(pair, lost, selection, tokens, tokens, settings, **given).result()

    by_hand, plain = started(magnitudes=weights), started()
    torch.testing.assert_close(by_hand.compensation.vectors, injected(lost, weights).vectors)
    torch.testing.assert_close(plain.compensation.vectors, injected(lost, selection.mask()).vectors)
    assert not by_hand.learned.any()
    alpha = Training(pair, lost, selection, tokens, tokens, replace(settings, start="alpha"), weights).result()
    assert torch.equal(alpha.compensation.vectors, plain.compensation.vectors)


def test_nothing_to_train_is_refused(pair, lost, tokens):
    with pytest.raises(SettingError, match="Pick at least one"):
        Training(pair, lost, Selection(lost.shape, frozenset()), tokens, tokens)
    with pytest.raises(SettingError, match="do not fit"):
        Training(pair, lost, everything((1, 1, 1)), tokens, tokens)
    no_answers = Tokens(tokens.ids, tokens.real, tokens.scored, torch.zeros_like(tokens.scored))
    with pytest.raises(SettingError, match="longer windows"):
        Training(pair, lost, everything(lost.shape), no_answers, tokens, Settings(loss="response"))
    with pytest.raises(SettingError, match="longer windows"):  # Nothing to judge by would keep step 0 in silence.
        Training(pair, lost, everything(lost.shape), tokens, no_answers, Settings(loss="response"))


def test_a_training_left_between_measurements_is_judged_where_it_stands(pair, lost, tokens):
    trainer = Training(pair, lost, everything(lost.shape), tokens, tokens, Settings(steps=20, batch=3))
    for step in trainer.steps():
        if step.step == 7:  # the default measures at 0, 10 and 20
            break
    assert trainer.judged().step == 7
    assert trainer.judged() is None  # once is enough
    restored = trainer.result()
    assert restored.history[-1].held_out is not None
    lowest = min((s for s in restored.history if s.held_out_loss is not None), key=lambda s: s.held_out_loss)
    assert restored.best_step == lowest.step == 7
    with compensated(pair.pruned, restored.compensation):
        assert perplexity(token_loss(pair.pruned, tokens)) == restored.history[-1].held_out


@pytest.mark.parametrize("name", ["steps", "batch", "evaluate_every"])
@pytest.mark.parametrize("value", [0, -1, 10**9, 10**30])
def test_numbers_that_would_never_end_or_fill_the_memory_are_refused(name, value):
    with pytest.raises(SettingError, match=name):
        Settings(**{name: value})


@pytest.mark.parametrize("kind", ["constants", "weights"])
def test_how_long_it_takes_is_foretold_from_what_passes_through_the_models(own_pair, lost, kind):
    texts = make_tokens(texts=8, seed=5)
    settings = Settings(steps=30, batch=2, kind=kind, teacher_bytes=0)
    passed = 0

    def count(model, args, kwargs):
        nonlocal passed
        # The way back costs twice the way there.
        passed += (3 if model is own_pair.pruned and torch.is_grad_enabled() else 1) * args[0].numel()

    training = Training(own_pair, lost, everything(lost.shape), texts, texts, settings)
    hooks = [model.register_forward_pre_hook(count, with_kwargs=True) for model in (own_pair.dense, own_pair.pruned)]
    for _ in training.steps():
        pass
    for hook in hooks:
        hook.remove()
    foretold = training_seconds(settings, texts.ids.shape[1], len(texts), 1.0)
    assert 0.8 * foretold < passed < 1.2 * foretold
