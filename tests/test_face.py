"""What `import restorelcc` gives: the list, what importing it costs, and each verb against the wings it stands for."""

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import make_model
from families import logits_with, random_compensation
from transformers import AutoModelForCausalLM
from transformers.utils import logging

import restorelcc
from restorelcc import progress_bar
from restorelcc.artifacts.export import save_adapter
from restorelcc.compensation.interface import compensated
from restorelcc.errors import SettingError
from restorelcc.evaluation.perplexity import perplexity, token_loss
from restorelcc.progress import Progress
from restorelcc.progress_bar import libraries_quiet, watched
from restorelcc.pruning.sparsity import measure_sparsity
from restorelcc.restoration.training import Training

ROOT = Path(__file__).resolve().parents[1]
FEW = {"settings": restorelcc.Settings(steps=4, evaluate_every=2, batch=2)}


def run(*script, **kwargs):
    arguments = [sys.executable, *script]
    return subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT, check=True, **kwargs)


def test_the_names_are_these():
    assert sorted(restorelcc.__all__, key=str.lower) == [
        "capture", "compensated", "Compensation", "components", "errors", "evaluate", "export", "head_loss", "HeadLoss",
        "HeadStatistics", "load_pair", "load_restored", "Loading", "LostComponents", "ModelPair", "Perplexity", "prune",
        "Pruning", "rank_heads", "read_text", "recovered_share", "Restoration", "restore", "RestoreLCCError",
        "Selection", "Settings", "Tokens", "top_components", "top_heads",
    ]  # fmt: skip
    assert set(restorelcc.__all__) <= set(dir(restorelcc))
    for name in restorelcc.__all__:
        assert getattr(restorelcc, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'libraries_quiet'"):
        _ = restorelcc.libraries_quiet


def loaded_by(code):
    """Top-level names of all that is imported on the way."""
    lines = run("-X", "importtime", "-c", code).stderr.splitlines()
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


def test_importing_the_package_loads_nothing_but_what_python_brings():
    loaded = loaded_by("import restorelcc")
    assert "restorelcc" in loaded
    assert loaded - loaded_by("pass") <= {"restorelcc", *sys.stdlib_module_names}


@pytest.mark.parametrize(
    "script",
    [
        "import restorelcc; verb = restorelcc.capture; import restorelcc.capture.statistics",
        "import restorelcc.capture.statistics; verb = restorelcc.capture",
        "from restorelcc.capture import statistics; from restorelcc import capture as verb",
        "import importlib, restorelcc.capture; importlib.reload(restorelcc); verb = restorelcc.capture",
    ],
)
def test_a_verb_keeps_its_name_whatever_is_imported_when(script):
    """`capture` is a wing as well."""
    check = "assert verb is restorelcc.capture is restorelcc.face.capture, verb"
    run("-c", f"{script}\nimport restorelcc.face\n{check}\nfrom restorelcc.capture.statistics import HeadStatistics")


@pytest.fixture
def place(folders, text, tmp_path, monkeypatch):
    """A folder to be in, with two models and two texts where README has them."""
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "to").symlink_to(tmp_path)
    for name in ("stories.txt", "other.txt"):
        (tmp_path / name).write_text(text.read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_readme_goes_from_two_names_to_a_checkpoint(place, capsys):
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## From Python")[2]
    block = re.search(r"```python\n(.*?)```", section, re.S)[1]
    assert len(block.splitlines()) <= 10
    names = {}
    exec(block, names)
    assert capsys.readouterr().out.count("Perplexity(") == 2
    restored = restorelcc.evaluate("path/to/restored", "other.txt")
    put_back = restorelcc.evaluate("path/to/pruned", "other.txt", names["restoration"].compensation)
    assert restored.value == pytest.approx(put_back.value, rel=1e-5)
    assert restored.value != pytest.approx(restorelcc.evaluate("path/to/pruned", "other.txt").value, rel=1e-5)
    stock = AutoModelForCausalLM.from_pretrained("path/to/restored")
    assert all(layer.self_attn.o_proj.bias is not None for layer in stock.model.layers)
    card = (place / "restored" / "README.md").read_text()
    assert "values trained to match the dense model" in card
    assert str(place) not in card


def test_names_and_a_loaded_pair_give_the_same(place, pair):
    loaded = restorelcc.load_pair("dense", "pruned")
    by_name = restorelcc.restore("dense", "pruned", "stories.txt", heads=0.5, **FEW)
    tokens = restorelcc.read_text("stories.txt", loaded)
    by_pair = restorelcc.restore(loaded, text=tokens, heads=0.5, **FEW)
    ids = tokens.ids[:2]
    assert torch.equal(
        logits_with(pair.pruned, by_name.compensation, ids), logits_with(pair.pruned, by_pair.compensation, ids)
    )
    assert by_name.selection == by_pair.selection


def test_the_heads_are_those_that_rank_highest(pair, tokens):
    lost = restorelcc.components(restorelcc.capture(pair, tokens))
    for score in ("together_dense", "relative_error"):
        ranks = restorelcc.rank_heads(pair, tokens, score)
        restoration = restorelcc.restore(pair, text=tokens, heads=0.25, components=2, score=score, **FEW)
        assert restoration.selection == restorelcc.top_heads(lost.shape, ranks, 3, components=2)
    whole = restorelcc.restore(pair, text=tokens, **FEW)
    assert len(whole.selection) == 3 * 4 * 8
    by_hand = restorelcc.top_components(lost, 5)
    assert restorelcc.restore(pair, text=tokens, picks=by_hand, **FEW).selection == by_hand
    with pytest.raises(SettingError, match="not known"):
        restorelcc.rank_heads(pair, tokens, "nosuch")


def test_an_interruption_keeps_the_best_so_far(pair, tokens, monkeypatch):
    steps = Training.steps

    def interrupted(self):
        for step in steps(self):
            yield step
            if step.step == 3:
                raise KeyboardInterrupt

    monkeypatch.setattr(Training, "steps", interrupted)
    restoration = restorelcc.restore(pair, text=tokens, **FEW)
    assert [step.step for step in restoration.history] == [0, 1, 2, 3]
    assert restoration.history[-1].held_out is not None


def test_perplexity_is_that_of_the_model_as_it_is_called(pair, tokens, tmp_path):
    put_back = random_compensation(pair.pruned)
    assert restorelcc.evaluate(pair.pruned, tokens) == perplexity(token_loss(pair.pruned, tokens))
    with compensated(pair.pruned, put_back):
        expected = perplexity(token_loss(pair.pruned, tokens))
    assert restorelcc.evaluate(pair.pruned, tokens, put_back) == expected
    save_adapter(tmp_path / "adapter", put_back, pair.geometry, {})
    assert restorelcc.evaluate(pair.pruned, tokens, tmp_path / "adapter") == expected


def test_an_adapter_loads_in_one_line(place, pair, tokens):
    restoration = restorelcc.restore(pair, text=tokens, **FEW)
    assert restorelcc.export(restoration, "pruned", "adapter", "adapter") == Path("adapter")
    model, _ = restorelcc.load_restored("pruned", "adapter")
    expected = logits_with(pair.pruned, restoration.compensation, tokens.ids)
    torch.testing.assert_close(model(tokens.ids).logits, expected)
    with pytest.raises(SettingError, match="checkpoint or adapter"):
        restorelcc.export(restoration, pair, "other", "gguf")


def test_pruning_gives_a_pair_and_leaves_the_model_as_it_is(place, tokens):
    pair = restorelcc.prune("dense", "stories.txt", restorelcc.Pruning("magnitude", pattern="2:4"))
    assert measure_sparsity(pair.pruned).sparsity == pytest.approx(0.5)
    assert measure_sparsity(pair.dense).sparsity == 0
    assert pair.pruned_name == "magnitude 2:4"
    again = restorelcc.prune(pair.dense, tokens)
    assert torch.equal(again.dense(tokens.ids).logits, make_model()(tokens.ids).logits)
    with pytest.raises(SettingError, match="not loaded from anywhere"):
        restorelcc.prune(make_model(), tokens)


def test_nothing_is_said_where_nobody_sees_a_bar(place):
    few = "settings=restorelcc.Settings(steps=2)"
    script = f"restorelcc.restore('dense', 'pruned', 'stories.txt', {few})"
    done = run("-c", f"import os, restorelcc; os.chdir({str(place)!r}); {script}")
    assert (done.stdout, done.stderr) == ("", "")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def work():
    yield Progress("reading", 1, 2)
    yield Progress("training, step 3", 3, 10)
    return "done"


def test_a_bar_says_what_is_done_where_somebody_sees_it(monkeypatch, capsys):
    assert watched(work()) == "done"
    assert capsys.readouterr().err == ""
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    assert watched(work()) == "done"
    assert "reading" in shown.getvalue()
    assert "training, step 3" in shown.getvalue()
    assert "3/10" in shown.getvalue()
    assert shown.getvalue().endswith("\r")  # and is gone after it


def test_bars_of_libraries_are_as_they_were(monkeypatch):
    logging.enable_progress_bar()
    with libraries_quiet():
        assert not logging.is_progress_bar_enabled()
    assert logging.is_progress_bar_enabled()
    monkeypatch.setattr(progress_bar, "seen", lambda: True)
    with libraries_quiet():
        assert logging.is_progress_bar_enabled()
