"""Sweeps: every point is the restoration that it says, and what fails stops nothing; on the command line too."""

import json
import math
import shlex
from dataclasses import replace

import pandas as pd
import pytest
import torch
from commands import answer, call

from restorelcc.artifacts.runs import list_runs
from restorelcc.cli.commands import sweep as sweep_command
from restorelcc.compensation.interface import compensated
from restorelcc.errors import SettingError, WriteError
from restorelcc.evaluation.perplexity import token_loss
from restorelcc.progress import Progress, finish
from restorelcc.restoration.settings import Settings
from restorelcc.restoration.sweep import Failure, Grid, Point, SweepResult, best_first, enough, sweep, to_pandas
from restorelcc.restoration.training import Training
from restorelcc.selection.picks import everything, top_heads
from restorelcc.text.calibration import sampled_windows

SHORT = Settings(steps=4, batch=4, evaluate_every=2)


@pytest.fixture
def texts(pair):
    """Written by the dense model, so that pruning loses something on them."""
    return finish(sampled_windows(pair.dense, pair.tokenizer, 16, 8))


@pytest.fixture
def score(lost):
    """Heads from the last to the first."""
    return torch.arange(math.prod(lost.shape[:2]), dtype=torch.float64).view(lost.shape[:2])


@pytest.fixture
def run(pair, lost, score, texts):
    def run(grid, score=score):
        steps = list(sweep(pair, lost, score, texts, texts, grid))
        return [step for step in steps if not isinstance(step, Progress)], steps

    return run


def test_a_grid_is_every_combination_once(lost, score):
    grid = Grid((0.25, 1.0), (2, None), (0.1, 0.2, 0.5), ("kl", "ce"), SHORT)
    points = grid.points()
    assert len(points) == len(set(points)) == 2 * 2 * 3 * 2
    assert {grid.settings_of(point) for point in points} == {
        replace(SHORT, lr=lr, loss=loss) for lr in (0.1, 0.2, 0.5) for loss in ("kl", "ce")
    }
    selections = {point.selection(lost, score) for point in points}
    assert selections == {
        top_heads(lost.shape, score, 3, 2),
        top_heads(lost.shape, score, 3),
        top_heads(lost.shape, score, 12, 2),
        everything(lost.shape),
    }


def test_a_share_is_of_the_heads_that_are_there(lost, score):
    present = lost.present.clone()
    present[2] = False  # the four heads of highest score
    some = Point(0.25, None, 0.2, "kl").selection(replace(lost, present=present), score)
    assert some.heads == {(1, 3), (1, 2)}
    assert Point(0.01, None, 0.2, "kl").selection(lost, score).heads == {(2, 3)}


@pytest.mark.parametrize(
    ("lists", "says"),
    [
        (((), ["all"], ["0.2"], ["kl"]), "no shares of heads"),
        ((["1"], (), ["0.2"], ["kl"]), "no numbers of components"),
        ((["1"], ["all"], (), ["kl"]), "no rates"),
        ((["1"], ["all"], ["0.2"], ()), "no losses"),
        ((["0"], ["all"], ["0.2"], ["kl"]), "share of 0.0 heads"),
        ((["nan"], ["all"], ["0.2"], ["kl"]), "share of nan heads"),
        ((["1"], ["0"], ["0.2"], ["kl"]), "0 components"),
        ((["1"], ["some"], ["0.2"], ["kl"]), "'some' cannot be read"),
        ((["half"], ["all"], ["0.2"], ["kl"]), "'half' cannot be read"),
        ((["1"], ["all"], ["-1"], ["kl"]), "learning rate of -1"),
        ((["1"], ["all"], ["0.2", "0.20"], ["kl"]), "given twice"),
        ((["1"], ["all"], ["0.2"], ["mse"]), "Loss 'mse' is not known"),
        ((["1"], ["all"], ["0.2"], ["kl"], None, ["0"]), "share of 0.0 of the text"),
        ((["1"], ["all"], ["0.2"], ["kl"], None, ["most"]), "'most' cannot be read"),
        ((["1"], ["all"], ["0.2"], ["kl"], None, []), "no shares of the text"),
    ],
)
def test_a_grid_of_nonsense_is_refused_before_anything_is_trained(lists, says):
    with pytest.raises(SettingError, match=says):
        Grid.read(*lists)


def test_points_are_the_restorations_that_they_say(run, pair, lost, score, texts):
    grid = Grid((0.25, 1.0), (2, None), (0.2,), ("kl", "ce"), SHORT)
    results, steps = run(grid)
    assert [result.point for result in results] == grid.points()
    assert [step.done for step in steps if isinstance(step, Progress) and "point" in step.what] == [
        index * 4 + step for index in range(8) for step in range(5)
    ]
    plain = {name: token_loss(getattr(pair, name), texts) for name in ("dense", "pruned")}
    before, dense = (float(plain[name].nll.sum()) / texts.count for name in ("pruned", "dense"))
    for result in results:
        training = Training(pair, lost, result.point.selection(lost, score), texts, texts,
                            grid.settings_of(result.point))  # fmt: skip
        history = list(training.steps())
        with compensated(pair.pruned, training.result().compensation):
            restored = token_loss(pair.pruned, texts)
        difference = (restored.nll - plain["pruned"].nll).sum(1) / texts.scored.sum(1)  # windows of one length
        assert result.judged.gain.nats == pytest.approx(float(difference.mean()), abs=1e-6)
        assert result.judged.gain.stderr == pytest.approx(float(difference.std()) / math.sqrt(8), abs=1e-6)
        assert result.judged.recovered.value == pytest.approx(-float(difference.mean()) / (before - dense), abs=1e-4)
        assert result.judged.recovered.stderr == pytest.approx(result.judged.gain.stderr / (before - dense), rel=1e-6)
        assert math.log(result.judged.restored.value) == pytest.approx(before + float(difference.mean()), abs=1e-6)
        assert result.held_out_loss == pytest.approx(min(step.held_out_loss or 99 for step in history), rel=1e-5)
        assert result.trained_parameters == training.result().trained_parameters
        assert (result.picked_heads, result.picked_components) == (
            12 if result.point.heads == 1 else 3,
            (12 if result.point.heads == 1 else 3) * (result.point.components or 8),
        )


def test_what_fails_is_named_and_the_others_go_on(run):
    results, _ = run(Grid((1.0,), (99, 2), (0.2,), ("kl",), SHORT))
    failed, good = results
    assert isinstance(failed, Failure)
    assert "99 components a head" in failed.error
    assert isinstance(good, SweepResult)
    frame = to_pandas(results)
    assert list(frame["components"]) == ["2", "99"]
    assert frame["error"].tolist() == ["", failed.error]
    assert frame["perplexity"].notna().tolist() == [True, False]


def test_results_come_as_their_points_end(pair, lost, score, texts):
    work = sweep(pair, lost, score, texts, texts, Grid((1.0,), (None,), (0.1, 0.2), ("kl",), SHORT))
    last = None
    for step in work:
        if isinstance(step, SweepResult):
            break
        last = step
    assert last == Progress("point 1 of 2, step 4 of 4", 4, 8)


def test_the_best_of_each_loss_comes_first(run):
    results, _ = run(Grid((0.25, 1.0), (None,), (0.05, 0.5), ("ce", "kl"), SHORT))
    ranked = best_first(results)
    assert set(ranked) == {"ce", "kl"}
    for loss, group in ranked.items():
        losses = [result.held_out_loss for result in group]
        assert losses == sorted(losses)
        assert losses[0] < losses[-1]
        assert {result.point.loss for result in group} == {loss}
    expected = [result.held_out_loss for group in ranked.values() for result in group]
    assert to_pandas(results)["held_out_loss"].tolist() == expected


def test_a_share_of_the_text_is_fewer_windows_and_as_many_steps(run, pair, lost, score, texts):
    grid = Grid((1.0,), (None,), (0.2,), ("kl",), SHORT, text=(0.25, 1.0))
    few, all_of_it = run(grid)[0]
    assert (few.tokens, all_of_it.tokens) == (2 * 16, 8 * 16)
    some = texts[torch.tensor([0, 7])]
    training = Training(pair, lost, everything(lost.shape), some, texts, grid.settings_of(few.point))
    steps = [step for step in training.steps() if step.step]
    assert len(steps) == 4
    with compensated(pair.pruned, training.result().compensation):
        torch.testing.assert_close(few.restored.nll, token_loss(pair.pruned, texts).nll)
    assert set(to_pandas([few, all_of_it])["tokens"]) == {32, 128}


def test_the_fewest_tokens_within_two_errors_suffice(run):
    one, *_ = run(Grid((1.0,), (None,), (0.2,), ("kl",), SHORT))[0]
    noise = torch.randn(one.restored.nll.shape, generator=torch.Generator().manual_seed(0)).double() * 1e-2

    def of(share, worse, times):
        loss = replace(one.restored, nll=one.restored.nll + worse + times * noise)
        return replace(one, point=replace(one.point, text=share), tokens=round(1000 * share), restored=loss)

    most, half, some = of(1.0, 0.0, 0), of(0.5, 1e-4, 1), of(0.1, 0.5, 1)
    other = replace(most, point=replace(most.point, lr=0.1))
    (found,) = enough([most, some, other, half, Failure(most.point, "why")])
    assert [result.tokens for result in found.results] == [100, 500, 1000]
    assert found.least is half
    assert str(found).startswith("500 tokens suffice: with 1,000 the loss changes by")
    (found,) = enough([most, some])
    assert found.least is most
    assert "All 1,000 tokens are needed" in str(found)


def test_a_score_of_another_shape_is_refused(run):
    with pytest.raises(SettingError, match="does not order heads"):
        run(Grid((0.5,), (None,), (0.2,), ("kl",), SHORT), torch.zeros(2, 4))


# --- on the command line ----------------------------------------------------------------------------------------


def test_the_command_tries_every_point_and_names_the_best(pair_args, tmp_path):
    lists = ["--heads", "0.25,1", "--components", "2,all", "--lr", "0.05, 0.5", "--loss", "kl,ce", "--steps", 3]
    found = answer("sweep", *pair_args, *lists, "--score", "relative_error", "--csv", tmp_path / "all.csv")
    rows = found["results"]
    assert len(rows) == 16
    assert not found["stopped"]
    table = pd.read_csv(tmp_path / "all.csv")
    assert table["perplexity"].tolist() == pytest.approx([row["perplexity"] for row in rows])
    for loss, line in found["best"].items():
        best = min((row for row in rows if row["loss"] == loss), key=lambda row: row["held_out_loss"])
        words = shlex.split(line)
        assert words[:4] == ["python", "-m", "restorelcc", "restore"]
        words[words.index("--out") + 1] = str(tmp_path / loss)
        restored = answer(*words[3:])
        assert restored["restored"]["perplexity"] == pytest.approx(best["perplexity"], rel=1e-6)
        assert restored["recovered_share"] == pytest.approx(best["recovered_share"], abs=1e-5)
        assert restored["trained_parameters"] == best["trained_parameters"]
        assert restored["pruned"] == found["pruned"]


def test_points_of_the_command_are_runs_of_one_tag(pair_args):
    options = ["--lr", "0.1,0.3", "--text", "0.5,1", "--steps", 2, "--heads", 0.5, "--score", "random"]
    found = answer("sweep", *pair_args, *options)
    runs = {str(run.folder): run for run in list_runs()}
    assert sorted(found["runs"]) == sorted(runs)
    assert len({tuple(run.config["tags"]) for run in runs.values()}) == 1
    rows = {(row["lr"], row["text"]): row for row in found["results"]}
    seen = {(run.settings.lr, 0.5 if "0.5 of the text" in run.name else 1.0): run for run in runs.values()}
    assert seen.keys() == rows.keys()
    for point, run in seen.items():
        assert not run.damage
        assert run.config["figures"]["recovered_share"] == rows[point]["recovered_share"]
        assert run.config["figures"]["restored"]["perplexity"] == rows[point]["perplexity"]
        assert run.adapter().compensation is not None
    windows = {text: run.config["calibration"]["windows"] for (_, text), run in seen.items()}
    assert windows[0.5] == round(windows[1.0] / 2)
    assert [row["folder"] for row in answer("runs")["runs"]] == [str(run.folder) for run in list_runs()]


def test_a_disk_that_refuses_runs_costs_a_sweep_nothing(pair_args, monkeypatch):
    def refused(*given):
        raise WriteError("The disk is full.")

    monkeypatch.setattr(sweep_command, "keep_point", refused)
    result = call("sweep", *pair_args, "--lr", "0.1,0.2", "--steps", 2, "--json")
    assert result.exit_code == 0
    assert result.stderr.count("The disk is full.") == 1
    found = json.loads(result.stdout)
    assert (len(found["results"]), found["runs"]) == (2, [])


def test_the_command_says_how_many_tokens_suffice(pair_args):
    options = ["--lr", 0.3, "--steps", 3, "--text", "0.5,1"]
    found = answer("sweep", *pair_args, *options)
    tokens = sorted(row["tokens"] for row in found["results"])
    assert tokens[0] < tokens[1]
    (one,) = found["enough"]
    assert one["tokens"] in tokens
    assert one["says"] in call("sweep", *pair_args, *options).stdout.replace("\n", " ")


def test_heads_by_chance_are_those_that_restore_draws(pair_args, tmp_path):
    some = [*pair_args, "--steps", 2, "--heads", 0.25, "--score", "random", "--seed", 3]
    found = answer("sweep", *some, "--lr", 0.3)
    words = shlex.split(found["best"]["kl"])
    words[words.index("--out") + 1] = str(tmp_path / "a")
    assert answer(*words[3:])["restored"]["perplexity"] == found["results"][0]["perplexity"]


def test_people_see_a_table_what_failed_and_the_command(pair_args):
    shown = call("sweep", *pair_args, "--components", "2,99", "--lr", 0.3, "--steps", 2)
    assert shown.exit_code == 0
    for part in ("best first", "Failed: heads 1, components 99, lr 0.3, loss kl: 99 components", "--components 2"):
        assert part in shown.stdout


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--heads", ""], "no shares of heads"),
        (["--heads", "0.5,2"], "share of 2.0 heads"),
        (["--components", "1,few"], "'few' cannot be read"),
        (["--lr", "0.1,0.1"], "given twice"),
        (["--loss", "kl,mse"], "Loss 'mse' is not known"),
        (["--csv", "/nowhere/at/all.csv"], "Make it first"),
    ],
)
def test_bad_grids_are_one_message(pair_args, options, says):
    result = call("sweep", *pair_args, *options, "--json")
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_ctrl_c_keeps_what_is_done(pair_args, monkeypatch):
    whole = sweep_command.swept

    def interrupted(*given):
        for step in whole(*given):
            if isinstance(step, Progress) and step.what.startswith("point 2"):
                raise KeyboardInterrupt
            yield step

    monkeypatch.setattr(sweep_command, "swept", interrupted)
    found = answer("sweep", *pair_args, "--lr", "0.1,0.2", "--steps", "3")
    assert found["stopped"]
    assert [row["lr"] for row in found["results"]] == [0.1]
    assert "--lr 0.1" in found["best"]["kl"]


def short_of_memory(monkeypatch, error):
    """Every training of more than 6 heads ends as it would where memory runs out, or whatever `error` says."""
    steps = Training.steps

    def failing(self):
        for step in steps(self):
            if step.step and len(self.selection.heads) > 6:
                raise error
            yield step

    monkeypatch.setattr(Training, "steps", failing)


def test_a_point_that_memory_is_too_short_for_stops_no_other(run, monkeypatch):
    short_of_memory(monkeypatch, torch.OutOfMemoryError("CUDA out of memory."))
    results, _ = run(Grid((0.25, 1.0, 0.5), (None,), (0.2,), ("kl",), SHORT))
    assert [result.point.heads for result in results] == [0.25, 1.0, 0.5]
    assert [type(result) for result in results] == [SweepResult, Failure, SweepResult]
    assert results[1].error.startswith("Memory ran out. Give shorter windows")


def test_the_command_tells_what_was_done_whatever_ends_it(pair_args, tmp_path, monkeypatch):
    short_of_memory(monkeypatch, ZeroDivisionError())
    options = ["--heads", "0.5,1,0.25", "--lr", 0.1, "--steps", 3, "--csv", tmp_path / "all.csv"]
    result = call("sweep", *pair_args, *options, "--json")
    assert isinstance(result.exception, ZeroDivisionError)
    found = json.loads(result.stdout)
    assert found["stopped"]
    assert [row["heads"] for row in found["results"]] == [0.5] == pd.read_csv(tmp_path / "all.csv")["heads"].tolist()
