"""Numbers beyond what a precision holds: one line that names the place and the precision, never NaN in a result."""

import json
import math

import pytest
import torch
from conftest import make_model, make_tokens, noisy
from typer.testing import CliRunner

from restorelcc.capture.components import components
from restorelcc.capture.statistics import capture
from restorelcc.cli.options import app
from restorelcc.compensation.constants import Constants
from restorelcc.compensation.interface import compensated
from restorelcc.errors import NotFinite, SettingError
from restorelcc.evaluation.losses import cross_entropy
from restorelcc.evaluation.perplexity import TokenLoss, paired_difference, perplexity, token_loss
from restorelcc.models.pair import load_pair
from restorelcc.progress import finish
from restorelcc.pruning.hessian import inverse_factor
from restorelcc.pruning.layerwise import Pruning, prune
from restorelcc.restoration.parameters import move
from restorelcc.restoration.settings import Settings
from restorelcc.restoration.training import Training
from restorelcc.selection.picks import everything
from restorelcc.selection.predicted_effect import slopes
from restorelcc.text.tokens import Tokens

LARGE = 2e4
"""Of weights that float16 holds, and whose products with activations it does not."""


@pytest.fixture
def overflowing(tmp_path, tokenizer):
    """A pair that is finite in float32, and overflows in float16 in the MLP of layer 1."""
    model = make_model()
    model.model.layers[1].mlp.down_proj.weight.data.mul_(LARGE)
    folders = tmp_path / "dense", tmp_path / "pruned"
    for folder, each in zip(folders, (model, noisy(model)), strict=True):
        each.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    text = tmp_path / "text.txt"
    text.write_text("the dog ran and the cat sat " * 60)
    return folders, text


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("command", ["evaluate", "inspect", "one at a time", "scores", "wanda", "sparsegpt", "restore"])
def test_what_overflows_is_named_with_its_layer_and_precision(overflowing, tmp_path, command, dtype):
    (dense, pruned), text = map(str, overflowing[0]), str(overflowing[1])
    out, pair = tmp_path / "out", ["--dense", dense, "--pruned", pruned, "--calibration", text, "--length", "16"]
    words = {
        "evaluate": ["evaluate", dense, "--text", text, "--length", "16", "--json"],
        "inspect": ["inspect", *pair, "--json"],
        "one at a time": ["inspect", *pair, "--one-at-a-time", "--json"],
        "scores": ["inspect", *pair, "--scores", "gradient", "--json"],
        "restore": ["restore", *pair, "--steps", "2", "--out", str(out)],
    }
    prune_words = ["prune", dense, "--method", command, "--calibration", text, "--length", "16", "--out", str(out)]
    result = CliRunner().invoke(app, [*words.get(command, prune_words), "--device", "cpu", "--dtype", dtype])
    if dtype == "float32":
        assert result.exit_code == 0, result.output
        return
    assert result.exit_code == 2, result.output
    assert result.stderr.splitlines()[-1].startswith("Error: Numbers become infinite or NaN in layer 1")
    assert "in float16. float16 holds nothing above 65 504: load it in bfloat16 or float32" in result.stderr
    assert not out.exists()
    assert "{" not in result.stdout


def test_the_first_place_is_named_and_the_model_left_as_it_was(pair, tokens):
    model = pair.pruned
    shape = pair.geometry
    huge = Constants.of_head(shape, 2, 1, torch.full((shape.d_head,), 3e38))
    with compensated(model, huge), pytest.raises(NotFinite, match=r"in layer 2 .* in float32\. No other precision"):
        token_loss(model, tokens)
    assert math.isfinite(perplexity(token_loss(model, tokens)).value)
    assert not any(module._forward_hooks for module in model.modules() if type(module).__name__ == "LlamaMLP")


def test_gradients_of_a_long_batch_do_not_vanish_in_float16(tmp_path, tokenizer):
    """Of the mean over 15 872 tokens, those by the logits of 5 000 tokens are below 6e-8, float16's smallest number."""
    model = make_model(vocab_size=5000)
    for name, each in (("dense", model), ("pruned", noisy(model, 0.05))):
        each.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
    pair = load_pair(str(tmp_path / "dense"), str(tmp_path / "pruned"))
    tokens = make_tokens(texts=512, length=32)
    lost = components(finish(capture(pair, tokens[:64])))
    moved, settings = {}, Settings(loss="ce", batch=512, steps=1)
    for dtype in (torch.float32, torch.float16):
        pair.dense.to(dtype), pair.pruned.to(dtype)
        training = Training(pair, lost, everything(lost.shape), tokens, tokens[:8], settings)
        optimizer = torch.optim.SGD([{"params": training.parameters.moved, "scale": 1.0}], lr=1.0)
        before = [each.detach().clone() for each in training.parameters.moved]
        with compensated(pair.pruned, training.parameters.compensation()):
            logits = pair.pruned(tokens.ids).logits
        move(optimizer, cross_entropy(logits, tokens.ids, tokens.scored), tokens.count, 1.0)
        moved[dtype] = torch.cat([(a - b).flatten() for a, b in zip(training.parameters.moved, before, strict=True)])
    exact, half = moved[torch.float32], moved[torch.float16]
    assert (half - exact).norm() < 0.005 * exact.norm()


def test_texts_without_an_answer_are_not_trained_on(pair, statistics):
    """One answer among seven texts that have none, in batches of one: every step learns something, none is 0/0."""
    tokens = make_tokens(texts=8, length=12)
    response = torch.zeros_like(tokens.scored)
    response[3, 6:] = True
    some = Tokens(tokens.ids, tokens.real, tokens.scored, response)
    lost = components(statistics)
    settings = Settings(loss="response", batch=1, steps=6, evaluate_every=3)
    training = Training(pair, lost, everything(lost.shape), some, some, settings)
    steps = list(training.steps())
    assert all(math.isfinite(step.loss) for step in steps[1:])
    assert steps[-1].held_out_loss < steps[0].held_out_loss
    assert all(bool(values.isfinite().all()) for values in training.result().trained.values())
    assert {step.tokens for step in steps[1:]} == {12 * number for number in range(1, 7)}


# --- broken numbers ---------------------------------------------------------------------------------------------


def test_one_scored_token_has_no_error_to_show():
    scored = torch.tensor([[False, True, False], [False, False, False]])
    plain, better = (TokenLoss(torch.where(scored, value, 0.0).double(), scored) for value in (2.0, 1.0))
    assert perplexity(plain).stderr == math.inf
    difference = paired_difference(better, plain)
    assert (difference.nats, difference.stderr, difference.z) == (-1.0, math.inf, 0.0)


def test_one_scored_text_is_judged_by_its_tokens():
    """As if it were alone: texts without scored tokens say nothing of how texts vary."""
    scored = torch.zeros(3, 9, dtype=torch.bool)
    scored[1, 1:] = True
    nll = torch.where(scored, torch.rand(3, 9, generator=torch.Generator().manual_seed(0)).double(), 0.0)
    among, alone = perplexity(TokenLoss(nll, scored)), perplexity(TokenLoss(nll[1:2], scored[1:2]))
    assert among == alone
    values = nll[1, 1:]
    assert among.stderr == pytest.approx(float(values.std() / 8**0.5) * among.value)


def test_no_scored_token_is_said():
    scored = torch.zeros(2, 4, dtype=torch.bool)
    with pytest.raises(SettingError, match="No token of this text is scored"):
        perplexity(TokenLoss(torch.zeros(2, 4).double(), scored))


def test_a_decomposition_that_does_not_converge_is_made_another_way(statistics, monkeypatch):
    usual = components(statistics)

    def fails(_):
        raise torch.linalg.LinAlgError("linalg.eigh: the algorithm failed to converge")

    monkeypatch.setattr(torch.linalg, "eigh", fails)
    other = components(statistics)
    torch.testing.assert_close(other.variance, usual.variance)
    torch.testing.assert_close(other.directions[..., :3, :], usual.directions[..., :3, :])
    torch.testing.assert_close(other.magnitude[..., :3], usual.magnitude[..., :3])


def test_a_hessian_without_a_factor_is_damped_until_it_has_one():
    """With an eigenvalue below zero, as rounding leaves them where inputs differ by orders."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(8, 8, generator=generator))[0]
    values = torch.tensor([8.0, 2, 1, 0.5, 0.1, 0.1, 0.1, -0.08])
    hessian = basis @ torch.diag(values) @ basis.T
    factor = inverse_factor(hessian)
    damped = torch.linalg.inv(factor.T @ factor)
    added = damped - hessian
    mean = hessian.diagonal().mean()
    torch.testing.assert_close(added, torch.eye(8) * 0.1 * mean, rtol=1e-2, atol=1e-3)


def test_gradients_that_overflow_are_said(pair, tokens, monkeypatch):
    monkeypatch.setattr(
        "restorelcc.selection.predicted_effect.cross_entropy", lambda *a: cross_entropy(*a) * float("nan")
    )
    with pytest.raises(NotFinite, match="in its gradients"):
        finish(slopes(pair, tokens))


def test_wanda_reads_numbers_or_says_where_they_end(overflowing):
    """No mask is made of NaN: magnitude pruning reads nothing, and goes on."""
    dense = load_pair(*map(str, overflowing[0])).dense.to(torch.float16)
    with pytest.raises(NotFinite, match=r"layer 1, in what it puts out"):
        finish(prune(dense, make_tokens(), Pruning("wanda", 0.5)))
    twin = finish(prune(dense, make_tokens(), Pruning("magnitude", 0.5)))
    assert all(bool(weight.isfinite().all()) for weight in twin.parameters())


def test_json_has_numbers_alone(overflowing):
    dense, text = str(overflowing[0][0]), str(overflowing[1])
    words = ["evaluate", dense, "--text", text, "--length", "16", "--device", "cpu", "--json"]
    result = CliRunner().invoke(app, words)
    figures = json.loads(result.stdout, parse_constant=lambda name: pytest.fail(name))
    assert figures["perplexity"] > 1
