"""Disks that are full, read-only, or hold large files no longer: one clear line, nothing half-written, nothing lost."""

import contextlib
import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from commands import answer, call
from streamlit.testing.v1 import AppTest

from app.work import open_pairs
from restorelcc.artifacts.findings import Recipe, keep_findings, kept_findings
from restorelcc.artifacts.runs import list_runs
from restorelcc.artifacts.unfinished import list_unfinished
from restorelcc.errors import WriteError
from restorelcc.storage.folders import check_writable, is_of_disk, whole

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = ["--steps", 3, "--batch", 2]
MAIN = str(ROOT / "app" / "shell" / "rerun.py")
DRAFTS = ".restorelcc-draft-*"


def refusing(number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    return refuse


def limited(size, *arguments):
    """A command of a process whose files may not grow beyond so many bytes."""
    return subprocess.run(
        [sys.executable, "-m", "restorelcc", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def is_one_line(result):
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    last = result.stderr.strip().splitlines()[-1]
    return last.startswith("Error: ") and len(last) <= 700


def left(place):
    """All that is in a folder, but the models that tests made there."""
    return sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())


def test_where_little_can_be_written_nothing_is_begun(pair_args, folders, text, tmp_path):
    before = left(tmp_path)
    for command in (["prune", folders[0], "--calibration", text], ["restore", *pair_args]):
        result = limited(10_000, *command, "--out", tmp_path / "out")
        assert is_one_line(result)
        assert "File too large" in result.stderr
        assert left(tmp_path) == before
    assert list_runs() == []
    assert list_unfinished() == []


@pytest.mark.parametrize("format", ["adapter", "checkpoint"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG, errno.EIO])
def test_an_export_that_fails_leaves_the_run_and_nothing_else(pair_args, tmp_path, monkeypatch, number, format):
    writes = {
        "adapter": "restorelcc.artifacts.export.save_file",
        "checkpoint": "transformers.PreTrainedModel.save_pretrained",
    }
    calls, real = [], __import__("safetensors.torch").torch.save_file

    def failing(*arguments, **named):
        calls.append(arguments)
        if format == "adapter" and len(calls) == 1:  # of the run
            return real(*arguments, **named)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(writes[format], failing)
    before = left(tmp_path)
    result = call("restore", *pair_args, *OPTIONS, "--out", tmp_path / "out", "--format", format)
    assert result.exit_code == 2
    assert os.strerror(number) in result.stderr
    assert "The training is not lost" in result.stderr
    (run,) = list_runs()
    assert run.damage == ""
    assert run.adapter().compensation.vectors.shape
    assert left(tmp_path) == before
    assert list_unfinished() == []


@pytest.mark.parametrize("at", range(8))
def test_a_run_is_kept_whole_or_not_at_all_and_the_training_goes_on_then(pair_args, tmp_path, monkeypatch, at):
    """Whichever of its files the disk refuses."""
    written, text = [], Path.write_text

    def failing(self, *arguments, **named):
        if "runs" in self.parts and ".unfinished" not in self.parts:
            written.append(self.name)
            if len(written) == at + 1:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return text(self, *arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", failing)
        result = call("restore", *pair_args, *OPTIONS, "--out", tmp_path / "out")
    if len(written) <= at:
        assert result.exit_code == 0
        assert len(list_runs()) == 1
        return
    assert result.exit_code == 2
    assert "No space left" in result.stderr
    assert "--continue" in result.stderr
    assert list_runs() == []
    (training,) = list_unfinished()
    assert list(training.folder.parents[1].glob(DRAFTS)) == []
    assert answer("restore", "--continue", training.folder.name)["best_step"] >= 0
    assert [run.damage for run in list_runs()] == [""]


def test_errors_that_libraries_in_rust_raise_are_of_the_disk_too(tmp_path):
    for error in (Exception("No space left on device (os error 28)"), OSError(errno.EIO, "x")):
        assert is_of_disk(error)
        with pytest.raises(WriteError, match="Nothing was kept"), whole(tmp_path / "out"):
            raise error
    for error in (ValueError("x"), KeyboardInterrupt()):
        assert not is_of_disk(error)
        with pytest.raises(type(error)), whole(tmp_path / "out"):
            raise error
    assert list(tmp_path.iterdir()) == []


def test_it_is_tried_whether_something_can_be_written_not_only_made(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", refusing(errno.EDQUOT))
        with pytest.raises(WriteError, match="quota"):
            check_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_findings_that_cannot_be_kept_cost_time_alone(workspace, monkeypatch, number):
    for name in ("restorelcc.artifacts.findings.save_file", "restorelcc.storage.drafts.os.open", "pathlib.Path.mkdir"):
        with monkeypatch.context() as patched:
            patched.setattr(name, refusing(number))
            keep_findings(Recipe(), workspace.findings)
        assert kept_findings(Recipe()) is None
    keep_findings(Recipe(), workspace.findings)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", refusing(number))
        with contextlib.suppress(OSError):  # of the embedded weights, which are no cache
            assert kept_findings(Recipe()) is None
    assert torch.equal(kept_findings(Recipe()).statistics.mean, workspace.findings.statistics.mean)


def test_where_the_list_of_runs_cannot_be_read_it_is_said(pair_args, workspace, tmp_path, monkeypatch):
    answer("restore", *pair_args, *OPTIONS, "--out", tmp_path / "out")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "iterdir", refusing(errno.EACCES))
        result = call("runs")
        assert result.exit_code == 2
        assert "Permission denied" in result.stderr
        assert result.stderr.count("\n") == 1
        monkeypatch.setattr(open_pairs, "_open", open_pairs.OrderedDict({Recipe(): workspace}))
        app = AppTest.from_file(MAIN, default_timeout=60).run()
        for page in ("compare", "restore"):
            app.switch_page(f"../../pages/{page}.py").run()
            assert not app.exception
            assert any("Permission denied" in error.value for error in app.error)
    assert len(json.loads(call("runs", "--json").stdout)["runs"]) == 1
