"""The command line on tiny models: results, exit codes, and nothing left half-written."""

import errno
import json
import os
import shlex
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
from commands import answer, call
from conftest import WORDS, make_model, make_tokenizer
from families import make_family
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from restorelcc.artifacts.export import load_adapter

ROOT = __file__.rsplit("/", 3)[0]


def test_prune_writes_an_ordinary_checkpoint(folders, text, tmp_path):
    found = answer(
        "prune", folders[0], "--pattern", "2:4", "--calibration", text, "--length", "16", "--out", tmp_path / "p"
    )
    assert found["sparsity"] == 0.5
    loaded = answer("evaluate", tmp_path / "p", "--text", text, "--length", "16")
    dense = answer("evaluate", folders[0], "--text", text, "--length", "16")
    assert loaded["tokens"] == dense["tokens"] == 12 * 15
    assert loaded["perplexity"] != dense["perplexity"]


@pytest.mark.parametrize("options", [["--method", "sparsegpt", "--pattern", "2:4"], ["--method", "sparsegpt"],
                                     ["--sparsity", 0.6, "--allocation", "owl"]])  # fmt: skip
def test_every_way_to_zero_weights_is_as_sparse_as_asked(folders, text, tmp_path, options):
    found = answer("prune", folders[0], *options, "--calibration", text, "--length", "16", "--out", tmp_path / "p")
    assert found["sparsity"] == pytest.approx(0.6 if "owl" in options else 0.5, abs=0.01)
    assert found["parameters"]["dense"] == found["parameters"]["pruned"]


def test_structured_pruning_writes_a_smaller_checkpoint_and_its_heads(folders, text, tmp_path):
    options = ["--method", "structured", "--ratio", "0.5", "--calibration", text, "--length", "16"]
    found = answer("prune", folders[0], *options, "--out", tmp_path / "p")
    assert found["parameters"]["pruned"] < 0.7 * found["parameters"]["dense"]
    assert found["sparsity"] == 0
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (tmp_path / "p", folders[0])]
    assert sizes[0] < sizes[1]
    kept = json.loads((tmp_path / "p" / "kept_heads.json").read_text())
    assert kept["format"] == 1
    assert all(heads in ([0, 1], [2, 3]) for heads in kept["kept"])
    assert len(kept["kept"]) == 3
    assert answer("evaluate", tmp_path / "p", "--text", text, "--length", "16")["tokens"] == 12 * 15
    assert "2 of 4 heads" in call("prune", folders[0], *options, "--out", tmp_path / "q").stdout


def test_inspect_scores_heads_and_orders_by_the_first(pair_args):
    found = answer("inspect", *pair_args, "--scores", "predicted,ceiling", "--in-order")
    predicted = [row["predicted"] for row in found["heads"]]
    assert predicted == sorted(predicted)
    assert all(row["predicted_error"] > 0 and "ceiling" in row for row in found["heads"])
    assert "Heads by predicted" in call("inspect", *pair_args, "--scores", "predicted").stdout
    wrong = call("inspect", *pair_args, "--scores", "beauty")
    assert wrong.exit_code == 2
    assert "not known" in wrong.stderr


def test_inspect_looks_closer(pair_args):
    found = answer("inspect", *pair_args, "--closer", "kinds,depth,windows", "--scores", "induction_change,entropy")
    assert [row["layer"] for row in found["depth"]] == [0, 1, 2]
    assert sorted(row["window"] for row in found["windows"]) == list(range(12))
    assert [row["lost"] for row in found["windows"]] == sorted((row["lost"] for row in found["windows"]), reverse=True)
    assert all(row["token"] for row in found["windows"])
    assert {row["kind"] for row in found["kinds"]} == {"previous_token", "duplicate_token", "induction", "first_token"}
    strongest = max(found["kinds"], key=lambda row: row["dense"] if row["kind"] == "induction" else 0)
    at = next(row for row in found["heads"] if (row["layer"], row["head"]) == (strongest["layer"], strongest["head"]))
    assert at["induction_change"] == pytest.approx(strongest["pruned"] - strongest["dense"])
    changes = [row["induction_change"] for row in found["heads"]]
    assert changes == sorted(changes)
    assert "Kinds of heads" in call("inspect", *pair_args, "--closer", "kinds").stdout
    assert "after layer" in call("inspect", *pair_args, "--closer", "depth").stdout
    assert "lost most at" in call("inspect", *pair_args, "--closer", "windows").stdout
    assert "Look 'beauty' is not known" in call("inspect", *pair_args, "--closer", "beauty").stderr


def test_inspect_says_what_could_come_back_at_all(pair_args):
    found = answer("inspect", *pair_args, "--bounds")["bounds"]
    assert [row["what"] for row in found] == [
        "pruned",
        "constants",
        "heads",
        "heads",
        "heads",
        "heads",
        "mlps",
        "dense",
    ]
    assert [row["layer"] for row in found] == [None, None, 0, 1, 2, None, None, None]
    shown = call("inspect", *pair_args, "--bounds").stdout
    assert "What could come back at all" in shown
    assert "heads of layer 2 dense" in shown


def test_inspect_lists_every_head_and_writes_the_table(pair_args, tmp_path):
    found = answer("inspect", *pair_args, "--csv", tmp_path / "heads.csv", "--top", 5)
    assert len(found["heads"]) == 12
    assert len(found["components"]) == 5
    assert found["tokens"] == 12 * 16
    table = pd.read_csv(tmp_path / "heads.csv")
    assert len(table) == 12
    ranked = [head["output_weighted"] for head in found["heads"]]
    assert ranked == sorted(ranked, reverse=True) == sorted(table["output_weighted"], reverse=True)
    shown = call("inspect", *pair_args)
    assert "Strongest lost components" in shown.stdout


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


def test_what_is_no_family_is_said_beside_the_results(folders, text, tokenizer, tmp_path):
    make_family("bloom", num_key_value_heads=4, hidden_size=32).save_pretrained(tmp_path / "bloom")
    tokenizer.save_pretrained(tmp_path / "bloom")
    place = str(tmp_path / "bloom")
    options = ["--dense", place, "--pruned", place, "--calibration", str(text), "--length", "16", "--json"]
    result = call("inspect", *options)
    assert len(json.loads(result.stdout)["heads"]) == 2 * 4
    assert result.stderr.startswith("'bloom' is none of the families that are tested")
    assert call("inspect", *(str(folders[0]) if o == place else o for o in options)).stderr == ""


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
    monkeypatch.setattr("restorelcc.cli.commands.restore.Training", None)
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


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--sparsity", "1.2"], "share of weights"),
        (["--pattern", "3:2"], "0 < n < m"),
        (["--pattern", "2:4", "--sparsity", "0.7"], "Give one of them"),
        (["--pattern", "3:7"], "that 7 divides"),
        (["--device", "abacus"], "not known"),
        (["--dtype", "int8"], "not known"),
        (["--method", "chance"], "chance"),
        (["--method", "structured", "--sparsity", "0.5"], "Give --ratio"),
        (["--method", "structured", "--pattern", "2:4"], "whole heads and channels"),
        (["--method", "structured", "--ratio", "0.01"], "no whole head"),
        (["--ratio", "0.5"], "wanda removes none"),
        (["--allocation", "owl", "--pattern", "2:4"], "same in every layer"),
        (["--length", "999"], "context of 64"),
    ],
)
def test_bad_settings_of_prune_are_refused_before_anything_is_written(folders, text, tmp_path, options, says):
    before = sorted(tmp_path.rglob("*"))
    result = call("prune", folders[0], "--calibration", text, *options, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert says in result.stderr
    assert "Traceback" not in result.output
    assert sorted(tmp_path.rglob("*")) == before


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


def test_ctrl_c_while_writing_leaves_nothing(folders, text, tmp_path, monkeypatch):
    def half(self, folder, **_):
        (folder / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(PreTrainedModel, "save_pretrained", half)
    before = sorted(tmp_path.rglob("*"))
    result = call("prune", folders[0], "--calibration", text, "--length", 16, "--out", tmp_path / "out")
    assert result.exit_code == 130
    assert "Stopped" in result.stderr
    assert sorted(tmp_path.rglob("*")) == before


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


def test_a_full_disk_is_one_message(folders, text, tmp_path, monkeypatch):
    def full(self, folder, **_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(PreTrainedModel, "save_pretrained", full)
    result = call("prune", folders[0], "--calibration", text, "--length", 16, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "No space left on device" in result.stderr
    assert not (tmp_path / "out").exists()


def test_what_probing_does_not_ask_is_said_beside_the_results(pair_args, tmp_path):
    rows = [
        {"prompt": f"the {name}", "right": " ran", "wrong": [" saw"]} for name in ("dog", "cat", "girl", "boy", "mom")
    ]
    source = tmp_path / "rows.jsonl"
    source.write_text("\n".join(json.dumps(row) for row in [*rows, {"prompt": "the ball", "right": None}]))
    result = call("inspect", *pair_args, "--scores", "probing", "--contrast", source, "--json")
    assert result.exit_code == 0, result.output
    assert "probing: 1 of 6 rows are no question with an answer" in result.stderr


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
