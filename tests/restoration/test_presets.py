"""The presets, and the settings in which the paper's code differs from ours."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import make_tokens

from restorelcc.capture.components import components
from restorelcc.capture.statistics import capture
from restorelcc.errors import SettingError
from restorelcc.progress import finish
from restorelcc.restoration.settings import DEFAULTS, PRESETS, Settings, presets_table
from restorelcc.restoration.training import Training, directions
from restorelcc.selection.picks import everything
from restorelcc.text.tokens import Tokens

QUICK = Settings(steps=6, batch=3, evaluate_every=2, lr=0.05, loss="ce")


@pytest.fixture
def train(pair, lost):
    def build(texts=8, **changes):
        tokens = make_tokens(texts=texts, seed=5)
        return Training(pair, lost, everything(lost.shape), tokens, tokens[:4], replace(QUICK, **changes))

    return build


@pytest.fixture
def questions():
    """Rows of questions with answers: of each, where its answer begins."""
    tokens, begins = make_tokens(texts=6, seed=3), torch.tensor([4, 9, 2, 7, 11, 5])
    response = tokens.scored & (torch.arange(tokens.ids.shape[1]) >= begins[:, None])
    return Tokens(tokens.ids, tokens.real, tokens.scored, response), begins


def test_readmes_table_is_the_presets():
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert readme.split("<!-- presets -->")[1].split("<!-- /presets -->")[0].strip() == presets_table()


def test_ours_is_what_is_taken_where_nothing_is_said():
    assert PRESETS["ours"].settings == DEFAULTS


@pytest.mark.parametrize(("short", "steps", "last"), [(True, 9, 2), (False, 8, 3)])
def test_epochs_are_passes_over_the_texts_and_may_end_in_a_short_batch(train, short, steps, last):
    training = train(epochs=3.0, short_batch=short, steps=500)
    history = list(training.steps())
    assert training.settings.steps == history[-1].step == steps
    assert history[-1].tokens - history[-2].tokens == last * training.tokens.ids.shape[1]
    if short:  # every text exactly once an epoch
        assert [history[epoch].tokens for epoch in (3, 6, 9)] == [epoch * 8 * 16 for epoch in (1, 2, 3)]


def test_epochs_count_again_to_the_same(train):
    once = train(epochs=2.5).settings
    assert once.counted(8) == once
    assert once.steps == round(2.5 * 8 / 3)


def test_clipped_gradients_are_at_most_so_long(train, monkeypatch):
    norms = []
    step = torch.optim.AdamW.step

    def seen(optimizer, *given):
        parts = [part.grad for group in optimizer.param_groups for part in group["params"]]
        norms.append(torch.stack([part.norm() for part in parts]).norm().item())
        return step(optimizer, *given)

    monkeypatch.setattr(torch.optim.AdamW, "step", seen)
    list(train().steps())
    free, limit = norms.copy(), min(norms) / 2
    norms.clear()
    list(train(clip=limit).steps())
    assert norms == pytest.approx([limit] * len(free), rel=1e-4)
    norms.clear()
    list(train(clip=1e9).steps())
    assert norms == free


def test_beta_and_b_are_held_in_bfloat16(train):
    training = train(precision="bfloat16", unit="activation")
    list(training.steps())
    assert {part.dtype for part in training.parameters.moved} == {torch.bfloat16}
    held = {part.dtype for state in training.optimizer.state.values() for part in state.values() if part.dim()}
    assert held == {torch.bfloat16}
    trained = training.result().trained
    assert all(part.dtype == torch.float32 for part in trained.values())
    assert all(torch.equal(part, part.bfloat16().float()) for part in trained.values())
    assert trained["beta"].any()
    with pytest.raises(SettingError, match="float32 alone"):
        Settings(kind="weights", precision="bfloat16")


def test_the_last_step_is_kept_however_bad(train):
    kept = {}
    for keep in ("best", "last"):
        training = train(keep=keep, loss="kl", lr=9.0, warm_up=0.0, cool_down=0.0)
        history = list(training.steps())
        kept[keep] = training.result()
    losses = {step.step: step.held_out_loss for step in history if step.held_out}
    assert losses[6] > losses[0]
    assert kept["best"].best_step == min(losses, key=losses.get)
    assert kept["last"].best_step == 6
    assert [step.best for step in kept["last"].history] == [step.best for step in kept["best"].history]
    torch.testing.assert_close(kept["last"].trained["beta"], training.parameters.tensors()["beta"].detach())


def test_directions_are_of_the_last_tokens_of_questions(pair, lost, questions):
    tokens, begins = questions
    one_at_a_time = [tokens[row : row + 1] for row in range(len(tokens))]
    cut = [Tokens(*(part[:, :at] for part in (row.ids, row.real, row.scored, row.scored)))
           for row, at in zip(one_at_a_time, begins.tolist(), strict=True)]  # fmt: skip
    means = torch.stack([finish(capture(pair, row, "last")).mean for row in cut]).mean(0)
    found = finish(capture(pair, tokens, "last"))
    torch.testing.assert_close(found.mean, means, rtol=1e-4, atol=1e-6)
    along = finish(directions(pair, lost, tokens, replace(QUICK, positions="last")))
    assert torch.equal(along.directions, components(found).directions)
    assert finish(directions(pair, lost, tokens, QUICK)) is lost


def test_what_makes_no_sense_is_refused():
    for changes, says in (
        ({"epochs": -1.0}, "epochs"), ({"clip": -0.1}, "clip"), ({"clip": float("nan")}, "clip"),
        ({"keep": "worst"}, "best or last"), ({"precision": "int4"}, "float32 or bfloat16"),
        ({"positions": "first"}, "all or last"),
    ):  # fmt: skip
        with pytest.raises(SettingError, match=says):
            Settings(**changes)
    with pytest.raises(SettingError, match="steps is"):
        Settings(epochs=1e6).counted(10**6)
