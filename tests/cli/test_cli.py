"""The command line on tiny models: results, exit codes, and nothing left half-written."""

import os
import shlex
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from commands import answer, call
from conftest import WORDS, make_model, make_tokenizer
from families import make_family
from safetensors.torch import load_file, save_file

from restorelcc.artifacts.export import load_adapter

ROOT = __file__.rsplit("/", 3)[0]


@pytest.mark.parametrize("form", ["adapter", "checkpoint"])
def test_the_command_on_a_card_comes_to_its_figures(folders, pair_args, text, tmp_path, form):
    other = tmp_path / "other.txt"
    other.write_text(" ".join(reversed(Path(text).read_text().split())))
    options = [*pair_args, "--steps", 2, "--batch", 4, "--elsewhere", other, "--format", form]
    figures = answer("restore", *options, "--out", tmp_path / "out")["elsewhere"]
    card = (tmp_path / "out" / "README.md").read_text()
    line = next(line for line in card.splitlines() if line.startswith("python -m restorelcc evaluate"))
    assert str(tmp_path) not in card
    places = {"THIS FOLDER": tmp_path / "out", "other.txt": other} | {Path(folder).name: folder for folder in folders}
    found = answer(*(places.get(word, word) for word in shlex.split(line)[3:]))
    assert found["perplexity"] == pytest.approx(figures["restored"]["perplexity"], rel=1e-5)


def test_a_budget_buys_the_components_that_do_most_together(pair_args, tmp_path):
    options = [*pair_args, "--steps", 2, "--batch", 4, "--budget", 11]
    whole = answer("restore", *options, "--out", tmp_path / "learned")
    assert whole["trained_parameters"] == 11  # a head with its learned component takes 8, each component 1
    assert answer("restore", *options, "--no-learned", "--out", tmp_path / "plain")["trained_parameters"] == 11
    refused = call("restore", *options, "--heads", 0.5, "--out", tmp_path / "neither")
    assert refused.exit_code == 2
    assert "--budget says which components" in refused.stderr


def test_restore_as_adapter_and_as_checkpoint_measure_the_same(folders, pair_args, text, tmp_path):
    options = [*pair_args, "--steps", 5, "--start", "alpha", "--loss", "ce", "--batch", 4]
    adapter = answer("restore", *options, "--out", tmp_path / "adapter")
    checkpoint = answer("restore", *options, "--out", tmp_path / "checkpoint", "--format", "checkpoint")
    assert adapter["restored"] == checkpoint["restored"]
    assert adapter["trained_parameters"] == 3 * 4 * 8 * 2
    measure = ["--text", text, "--length", "16"]
    with_adapter = answer("evaluate", folders[1], "--adapter", tmp_path / "adapter", *measure)
    merged = answer("evaluate", tmp_path / "checkpoint", *measure)
    plain = answer("evaluate", folders[1], *measure)
    assert with_adapter["perplexity"] == pytest.approx(merged["perplexity"], rel=1e-4)
    assert with_adapter["perplexity"] != pytest.approx(plain["perplexity"], rel=1e-4)
    kept = answer("runs")["runs"]
    assert [run["name"] for run in kept] == ["checkpoint", "adapter"]
    assert "adapter" in call("runs").stdout


def test_restore_of_some_heads_and_components(pair_args, tmp_path):
    some = [*pair_args, "--steps", 2, "--heads", 0.25, "--components", 2, "--no-learned"]
    assert answer("restore", *some, "--out", tmp_path / "a")["trained_parameters"] == 3 * 2
    assert answer("restore", *some, "--score", "random", "--out", tmp_path / "b")["trained_parameters"] == 3 * 2


def test_epochs_are_passes_over_the_training_text(pair_args, tmp_path):
    answer("restore", *pair_args, "--epochs", 2, "--batch", 4, "--out", tmp_path / "a")
    (run,) = answer("runs")["runs"]
    assert run["calibration"]["windows"] == 11
    assert run["settings"]["steps"] == round(2 * 11 / 4)


def test_progress_is_shown_to_people(pair_args, tmp_path):
    shown = call("restore", *pair_args, "--steps", 2, "--out", tmp_path / "a").stdout
    assert "held-out" in shown
    assert "the run is kept in" in shown


def test_families_are_listed():
    listed = answer("families")["families"]
    assert {"mixtral": "adapter", "mistral": "llama", "gpt2": "bias"}.items() <= {
        one["model_type"]: one["export"] for one in listed
    }.items()
    assert next((one["vllm"], one["llama_cpp"]) for one in listed if one["model_type"] == "qwen3") == (
        "dropped",
        "refused",
    )
    assert "OLMo 2" in call("families").stdout


def test_a_checkpoint_that_cannot_be_merged_is_refused_before_the_training(text, tokenizer, tmp_path, monkeypatch):
    make_family("mixtral").save_pretrained(tmp_path / "mixtral")
    tokenizer.save_pretrained(tmp_path / "mixtral")
    options = ["--calibration", text, "--length", 16, "--format", "checkpoint", "--out", tmp_path / "out"]
    monkeypatch.setattr("restorelcc.cli.commands.restoring.opened.Training", None)
    result = call("restore", "--dense", tmp_path / "mixtral", "--pruned", tmp_path / "mixtral", *options)
    assert result.exit_code == 2
    assert "Export an adapter instead" in result.stderr
    assert not (tmp_path / "out").exists()


def spoiled_weights(folder, change):
    path = folder / "model.safetensors"
    if change == "truncated":
        path.write_bytes(path.read_bytes()[:-500])
        return
    state = load_file(path)
    state["model.norm.weight"][0] = torch.nan
    save_file(state, path, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("tokenizer", "different tokenizers"),
        ("shape", "differ in shape"),
        ("missing model", "There is no folder"),
        ("missing text", "no text file"),
        ("empty text", "holds no text"),
        ("truncated", "damaged"),
        ("nan", "NaN or infinite"),
        ("heads", "share of 1.5 heads"),
        ("both", "not both"),
        ("rate", "learning rate"),
        ("hub text", "cannot be reached"),
        ("no window", "shorter windows"),
    ],
)
def test_bad_input_to_restore_is_one_message_and_leaves_nothing(folders, pair_args, text, tmp_path, case, says):
    options = list(pair_args)
    if case == "tokenizer":
        make_tokenizer(WORDS[::-1]).save_pretrained(folders[1])
    elif case == "shape":
        make_model(num_hidden_layers=2).save_pretrained(folders[1])
    elif case == "missing model":
        options[3] = str(tmp_path / "nowhere")
    elif case == "missing text":
        options[5] = str(tmp_path / "nothing.txt")
    elif case == "empty text":
        text.write_text("\n")
    elif case in ("truncated", "nan"):
        spoiled_weights(folders[1], case)
    elif case == "hub text":
        options[5] = "wikitext2"
    elif case == "no window":
        text.write_text("the dog ran")
    extra = {"heads": ["--heads", "1.5"], "both": ["--steps", "3", "--epochs", "2"], "rate": ["--lr", "-1"]}
    before = sorted(tmp_path.rglob("*"))
    result = call("restore", *options, *extra.get(case, []), "--out", tmp_path / "out", "--json")
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert sorted(tmp_path.rglob("*")) == before
    assert answer("runs") == {"runs": []}


def test_a_place_in_use_is_refused_before_the_work(pair_args, folders, tmp_path):
    result = call("restore", *pair_args, "--out", folders[0])
    assert result.exit_code == 2
    assert "not empty" in result.stderr
    result = call("inspect", *pair_args, "--csv", tmp_path / "no" / "heads.csv")
    assert result.exit_code == 2
    assert "Make it first" in result.stderr


def test_the_module_runs_and_teaches():
    """As a user would, in a process of its own: help is quick because nothing heavy is imported for it."""
    shown = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "restorelcc", "restore", "--help"],
        capture_output=True, text=True, cwd=ROOT, check=True, timeout=60, env=os.environ | {"COLUMNS": "200"},
    )  # fmt: skip
    for word in ("--components", "distil the dense model", "--format"):
        assert word in shown.stdout
    assert "| torch" not in shown.stderr


def test_ctrl_c_while_training_keeps_the_best_so_far(pair_args, tmp_path):
    """In a process of its own, with the signal that a terminal sends."""
    options = ["--steps", "1000000", "--loss", "ce", "--out", str(tmp_path / "out")]
    command = [sys.executable, "-m", "restorelcc", "restore", *pair_args, *options]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    lines = []
    heeding = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # Where tests run in the background it is ignored.
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment, preexec_fn=heeding
    ) as running:
        for line in running.stdout:
            lines.append(line)
            if line.startswith("step   20 "):
                running.send_signal(signal.SIGINT)
    assert running.wait(timeout=60) == 0, lines
    assert any("the run is kept in" in line for line in lines)
    assert len(load_adapter(tmp_path / "out").compensation.vectors) == 3


def test_surviving_weights_as_adapter_and_as_checkpoint_measure_the_same(folders, pair_args, text, tmp_path):
    options = [*pair_args, "--what", "weights", "--where", "all", "--steps", 3, "--format"]
    adapter = answer("restore", *options, "adapter", "--out", tmp_path / "adapter")
    checkpoint = answer("restore", *options, "checkpoint", "--out", tmp_path / "checkpoint")
    assert adapter["restored"] == checkpoint["restored"]
    measure = ["--text", text, "--length", "16"]
    with_adapter = answer("evaluate", folders[1], "--adapter", tmp_path / "adapter", *measure)
    merged = answer("evaluate", tmp_path / "checkpoint", *measure)
    plain = answer("evaluate", folders[1], *measure)
    assert with_adapter["perplexity"] == pytest.approx(merged["perplexity"], rel=1e-4)
    assert with_adapter["perplexity"] != pytest.approx(plain["perplexity"], rel=1e-4)
    assert (adapter["what"], adapter["where"], adapter["way"]) == ("weights", "all", "whole")
    assert adapter["zeros"] > 0 == adapter["zeros_in_dense"]
    assert "MLPs of layers with a picked head" in (tmp_path / "adapter" / "README.md").read_text()


@pytest.mark.parametrize(
    "options",
    [["evaluate"], ["evaluate", "--windows", "x", "demo"], ["nothing"], ["runs", "--what"], ["prune", "demo", "--out"],
     ["evaluate", "demo", "--windows", "9" * 400], ["restore", "--dense", "a", "--loss", "b\n" * 300]],
    ids=lambda options: " ".join(options)[:30],
)  # fmt: skip
def test_a_misuse_is_one_line_too(options):
    result = call(*options)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
    assert result.stderr.endswith("See --help.\n")
    assert result.stderr.count("\n") == 1
    assert len(result.stderr) <= 510
    assert result.stdout == ""
