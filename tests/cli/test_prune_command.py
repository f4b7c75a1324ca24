"""The command `prune` on tiny models."""

import errno
import json

import pytest
from commands import answer, call
from transformers import PreTrainedModel


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


def test_a_full_disk_is_one_message(folders, text, tmp_path, monkeypatch):
    def full(self, folder, **_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(PreTrainedModel, "save_pretrained", full)
    result = call("prune", folders[0], "--calibration", text, "--length", 16, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "No space left on device" in result.stderr
    assert not (tmp_path / "out").exists()
