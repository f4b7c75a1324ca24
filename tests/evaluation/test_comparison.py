"""What came back of the loss, and how near the dense model is: against slow, obvious computations."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from conftest import make_model, make_tokens
from families import make_family
from typer.testing import CliRunner

from restorelcc.artifacts.runs import list_runs
from restorelcc.cli.options import app
from restorelcc.compensation.constants import Constants
from restorelcc.compensation.interface import compensated
from restorelcc.evaluation.comparison import Comparison, Distance, Share, compare, measured, nearer, side_by_side
from restorelcc.evaluation.ending import Ending
from restorelcc.evaluation.perplexity import Difference, Perplexity, TokenLoss, token_loss
from restorelcc.progress import finish

NOTHING = Constants(torch.zeros(3, 4, 8))
SOMETHING = Constants(torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(3)) * 0.2)


def put_back(pair, constants):
    return lambda: compensated(pair.pruned, constants)


def test_distance_is_the_divergence_of_the_next_token(pair, tokens):
    dense, pruned, back = finish(
        side_by_side(
            pair.dense, tokens, [(pair.pruned, put_back(pair, NOTHING)), (pair.pruned, put_back(pair, SOMETHING))], 4
        )
    )
    with torch.no_grad():
        teacher = pair.dense(tokens.ids).logits.double().log_softmax(-1)
        with compensated(pair.pruned, SOMETHING):
            model = pair.pruned(tokens.ids).logits.double().log_softmax(-1)
    for text in range(len(tokens)):
        for pos in range(1, tokens.ids.shape[1]):
            wanted = F.kl_div(model[text, pos - 1], teacher[text, pos - 1], log_target=True, reduction="sum")
            assert float(back.kl[text, pos]) == pytest.approx(float(wanted), rel=1e-4, abs=1e-7)
    assert dense.kl is None
    assert torch.equal(dense.nll, token_loss(pair.dense, tokens, 4).nll)
    assert torch.equal(pruned.nll, token_loss(pair.pruned, tokens, 4).nll)


def test_shares_are_0_with_nothing_back_and_1_at_the_dense_model(pair, tokens):
    none = finish(measured(pair.dense, pair.pruned, tokens, put_back(pair, NOTHING)))
    assert (none.nearer.value, none.nearer.stderr) == (0.0, 0.0)
    assert none.gain.nats == 0
    losses = finish(side_by_side(pair.dense, tokens, [(pair.pruned, put_back(pair, NOTHING)), (pair.dense, _plain)]))
    whole = compare(*losses)
    assert whole.nearer.value == pytest.approx(1.0)
    assert whole.nearer.stderr == pytest.approx(0.0, abs=1e-6)
    if whole.lost.nats > 0:
        assert whole.recovered.value == pytest.approx(1.0)


def _plain():
    return torch.no_grad()


def test_the_error_is_that_of_a_ratio_over_texts():
    """Against the spread of the share over many draws of texts."""
    generator = torch.Generator().manual_seed(0)
    scored = torch.ones(2_000, 9, dtype=torch.bool)
    scored[:, 0] = False
    hard = torch.rand(2_000, 1, generator=generator).double() + 0.2
    before = hard * (1 + 0.3 * torch.rand(2_000, 9, generator=generator)) * scored
    after = before * (0.6 + 0.3 * torch.rand(2_000, 1, generator=generator)) * scored
    losses = [TokenLoss(torch.zeros_like(kl), scored, kl) for kl in (before, after)]
    draws = torch.randperm(2_000, generator=generator).view(100, 20)
    shares = [nearer(*(TokenLoss(part.nll[d], part.scored[d], part.kl[d]) for part in losses)) for d in draws]
    spread = torch.tensor([share.value for share in shares]).std()
    assert sum(share.stderr for share in shares) / 100 == pytest.approx(float(spread), rel=0.15)
    whole = nearer(*losses)
    assert whole.value == pytest.approx(1 - float(after.sum() / before.sum()))


def test_it_is_said_where_likelihood_rises_and_distance_grows():
    perplexity, lost = Perplexity(10.0, math.log(10), 100, 0.1), Difference(0.5, 0.01)

    def outcome(gain, share):
        far = Distance(0.4, 0.01)
        return Comparison(perplexity, perplexity, perplexity, gain, lost, Share(0.2, 0.01), far, far, share, 8)

    assert outcome(Difference(-0.1, 0.01), Share(-0.3, 0.05)).learns_the_text
    assert not outcome(Difference(-0.1, 0.01), Share(-0.05, 0.05)).learns_the_text
    assert not outcome(Difference(-0.01, 0.01), Share(-0.3, 0.05)).learns_the_text
    assert not outcome(Difference(-0.1, 0.01), Share(0.3, 0.05)).learns_the_text


def test_a_token_that_the_dense_model_rules_out_counts_for_nothing(pair, tokens):
    dense, bias = make_model(), torch.zeros(pair.dense.config.vocab_size)
    bias[7] = -math.inf

    class RulingOut(torch.nn.Module):
        def forward(self, hidden):
            return plain(hidden) + bias

    plain, dense.lm_head = dense.lm_head, RulingOut()
    some = make_tokens()
    some.ids[some.ids == 7] = 8
    _, back = finish(side_by_side(dense, some, [(pair.pruned, put_back(pair, NOTHING))]))
    assert bool(back.kl.isfinite().all())
    assert float(back.kl.sum()) > 0


def test_restore_says_both_shares_of_both_texts_and_keeps_them(folders, text, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("a small cat likes a big dog " * 40)
    words = ["restore", "--dense", folders[0], "--pruned", folders[1], "--calibration", text, "--length", 16,
             "--steps", 3, "--elsewhere", other, "--device", "cpu"]  # fmt: skip
    result = CliRunner().invoke(app, [*map(str, words), "--out", str(tmp_path / "out"), "--json"])
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    for part in (figures, figures["elsewhere"]):
        kl = [part["kl"][state]["nats"] for state in ("pruned", "restored")]
        assert part["nearer"] == pytest.approx(1 - kl[1] / kl[0])
        assert part["nearer_stderr"] > 0
    assert figures["elsewhere"]["text"] == str(other)
    (run,) = list_runs()
    assert run.damage == ""
    assert run.config["figures"]["elsewhere"]["nearer"] == figures["elsewhere"]["nearer"]
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"Nearer: {figures['nearer']:.1%}" in card
    assert "other.txt, which nothing was trained or chosen on" in card
    shown = CliRunner().invoke(app, [*map(str, words), "--out", str(tmp_path / "again")])
    assert "nearer" in shown.output


def test_evaluate_measures_the_distance_to_a_dense_model(folders, text, tmp_path):
    """With an adapter, also what of it the adapter undoes; the dense model is at no distance from itself."""
    common = ["--text", text, "--against", folders[0], "--length", 16, "--windows", 4, "--device", "cpu", "--json"]

    def figures(*more):
        result = CliRunner().invoke(app, ["evaluate", *map(str, (*more, *common))])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    dense, pruned = (figures(folder) for folder in folders)
    assert dense["kl"] == {"nats": 0.0, "stderr": 0.0}
    assert pruned["lost"]["nats"] == pytest.approx(math.log(pruned["perplexity"] / dense["perplexity"]))
    words = ["restore", "--dense", folders[0], "--pruned", folders[1], "--calibration", text, "--length", 16,
             "--steps", 2, "--device", "cpu", "--out", tmp_path / "out"]  # fmt: skip
    assert CliRunner().invoke(app, [*map(str, words)]).exit_code == 0
    restored = figures(folders[1], "--adapter", tmp_path / "out")
    assert restored["kl"]["pruned"] == pruned["kl"]
    assert restored["nearer"] == pytest.approx(1 - restored["kl"]["restored"]["nats"] / pruned["kl"]["nats"])
    told = CliRunner().invoke(app, ["evaluate", str(folders[1]), *map(str, common[:-1]), "--adapter", tmp_path / "out"])
    assert "of the distance to the dense model is gone" in told.stdout


def test_the_text_that_is_trained_on_is_no_other(folders, text, tmp_path):
    words = ["restore", "--dense", folders[0], "--pruned", folders[1], "--calibration", text, "--elsewhere", text,
             "--out", tmp_path / "out"]  # fmt: skip
    result = CliRunner().invoke(app, [*map(str, words)])
    assert result.exit_code == 2
    assert "is the text that is trained on" in result.stderr


@pytest.mark.parametrize("family", ["gpt2", "gemma2", "gpt_neox", "granite", "opt"])
def test_logits_from_the_last_layer_are_the_models_own(family):
    """Scales, caps and projections after the last layer included."""
    model, tokens = make_family(family), make_tokens(texts=5, length=12, vocabulary=30)
    ending = Ending(model, tokens, batch=2)
    finish(ending.made())
    for start in (0, 2, 4):
        with torch.no_grad():
            torch.testing.assert_close(ending.logits(start), model(tokens.ids[start : start + 2]).logits)


def test_the_live_set_knows_the_distance_too(workspace, pair):
    live = workspace.live()
    constants = Constants(torch.full((3, 4, 8), 0.1))
    again = finish(live.prefix.again(0, within=lambda: compensated(pair.pruned, constants)))
    others = [(pair.pruned, put_back(pair, each)) for each in (NOTHING, constants)]
    _, pruned, back = finish(side_by_side(pair.dense, workspace.findings.live, others))
    torch.testing.assert_close(live.pruned.kl, pruned.kl)
    torch.testing.assert_close(again.kl, back.kl)
    assert nearer(live.pruned, again).value == pytest.approx(nearer(pruned, back).value, abs=1e-5)
