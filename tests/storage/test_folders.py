"""Writing folders and tables: asked before the work, whole or not at all, and nothing that is there is ever lost."""

import copy
import errno
import os
import re
import shutil
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
from commands import answer, call

from restorelcc.artifacts.export import save_checkpoint
from restorelcc.errors import WriteError
from restorelcc.hf.weights import parameter_bytes
from restorelcc.models.loading import load_tokenizer
from restorelcc.storage.folders import check_csv, check_free, check_room, check_writable, whole, write_csv

FRAME = pd.DataFrame({"a": [1, 2]})


def make(kind, path):
    """Something that is neither free nor a plain file or folder; what it leads to, if anywhere, is beside it."""
    beside = path.with_name("beside")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(path))
    elif kind == "link to an empty folder":
        beside.mkdir()
        path.symlink_to(beside)
    elif kind == "link to a file":
        beside.write_text("mine")
        path.symlink_to(beside)
    elif kind == "link to nothing":
        path.symlink_to(beside)
    elif kind == "device":
        path.symlink_to(os.devnull)
    return path


STRANGE = pytest.mark.parametrize(
    "kind", ["pipe", "socket", "link to an empty folder", "link to a file", "link to nothing", "device"]
)


def state(folder):
    return sorted((str(path), path.lstat().st_mode, path.lstat().st_ino) for path in folder.rglob("*"))


@STRANGE
def test_what_is_no_folder_is_never_replaced(kind, folders, text, tmp_path):
    (tmp_path / "in").mkdir()
    out = make(kind, tmp_path / "in" / "out")
    before = state(tmp_path)
    for options in (["prune", folders[0]], ["restore", "--dense", folders[0], "--pruned", folders[1]], ["demo"]):
        text_of = ["--calibration", text] if options[0] != "demo" else []
        result = call(*options, *text_of, "--out", out)
        assert result.exit_code == 2
        assert "nothing is overwritten" in result.stderr
        assert state(tmp_path) == before
    with pytest.raises(WriteError), whole(out):
        pass
    assert state(tmp_path) == before


@STRANGE
def test_a_table_goes_to_a_plain_file_alone(kind, pair_args, tmp_path):
    (tmp_path / "in").mkdir()
    csv = make(kind, tmp_path / "in" / "heads.csv")
    before = state(tmp_path)
    for command in ("inspect", "sweep"):
        result = call(command, *pair_args, "--csv", csv)
        assert result.exit_code == 2
        assert "a table is written to a file" in result.stderr
        assert result.stdout == ""
    with pytest.raises(WriteError):
        write_csv(FRAME, csv)
    assert state(tmp_path) == before


def test_a_folder_as_a_table_is_refused_before_the_work(pair_args, tmp_path):
    result = call("inspect", *pair_args, "--csv", tmp_path)
    assert result.exit_code == 2
    assert f"{tmp_path} is a folder" in result.stderr
    assert "Make it first" in call("inspect", *pair_args, "--csv", tmp_path / "no" / "heads.csv").stderr


@pytest.mark.parametrize("name", ["x" * 300, "deep/" * 900 + "out", "a\0b", "file/out", "dangling/out"])
def test_names_that_cannot_be_are_refused_before_the_work(tmp_path, name):
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    before = state(tmp_path)
    with pytest.raises(WriteError, match="cannot be written"):
        check_free(tmp_path / name)
    with pytest.raises(WriteError):
        check_csv(tmp_path / name)
    assert state(tmp_path) == before


def refusing(number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    return refuse


def test_a_place_that_may_not_be_written_is_refused_before_the_work(pair_args, folders, text, tmp_path, monkeypatch):
    monkeypatch.setattr("restorelcc.storage.drafts.os.open", refusing(errno.EROFS))
    monkeypatch.setattr("restorelcc.cli.commands.restoring.opened.open_pair", None)
    monkeypatch.setattr("restorelcc.cli.commands.prune.load_model", None)
    for options in (["prune", folders[0], "--calibration", text], ["restore", *pair_args], ["demo"]):
        result = call(*options, "--out", tmp_path / "out")
        assert result.exit_code == 2
        assert "Read-only file system" in result.stderr
    for command in ("inspect", "sweep"):
        assert "Read-only file system" in call(command, *pair_args, "--csv", tmp_path / "heads.csv").stderr


def test_the_folder_one_is_in_keeps_its_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (".", str(tmp_path), "../" + tmp_path.name):
        with pytest.raises(WriteError, match="restored"):
            check_free(Path(name))
    check_free(Path("new"))
    check_free(Path("new/deeper"))
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_fit_is_refused_before_the_work(pair, folders, pair_args, text, tmp_path, monkeypatch):
    size, free = parameter_bytes(pair.dense), shutil.disk_usage(tmp_path).free
    assert size <= (folders[0] / "model.safetensors").stat().st_size < size + 10_000
    for name in ("prune.prune_model", "restore.Training"):
        monkeypatch.setattr(f"restorelcc.cli.commands.{name}", None)
    for name in ("cli.commands.prune", "artifacts.export"):
        monkeypatch.setattr(f"restorelcc.{name}.parameter_bytes", lambda model: 10**15)
    for command in (["prune", folders[0], "--calibration", text, "--length", 16],
                    ["prune", folders[0], "--calibration", text, "--method", "structured"],
                    ["restore", *pair_args, "--format", "checkpoint"]):  # fmt: skip
        result = call(*command, "--out", tmp_path / "out")
        assert result.exit_code == 2
        share = 0.75 if "structured" in command else 1
        assert f"would take about {share * 1e6:.1f} GB" in result.stderr
    check_writable(tmp_path / "new", free // 2)
    with pytest.raises(WriteError, match="Make room"):
        check_writable(tmp_path / "new", free * 2)


def test_what_goes_to_one_disk_has_to_fit_together(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    check_room((tmp_path / "export" / "of", free // 2), (tmp_path / "runs", free // 4))
    with pytest.raises(WriteError, match="would take about"):
        check_room((tmp_path / "export", free * 3 // 4), (tmp_path / "runs", free * 3 // 4))


def written(folder, name="part", replace=False):
    with whole(folder, replace) as draft:
        (draft / name).write_text("ours")


@pytest.mark.parametrize("appears", ["folder", "file", "link"])
def test_what_appears_meanwhile_is_left_alone_and_what_was_written_kept(appears, tmp_path):
    out, theirs = tmp_path / "out", {"folder": "out/thesis.txt", "file": "out", "link": "elsewhere"}[appears]
    with pytest.raises(WriteError, match="What was written is whole, in") as caught, whole(out) as draft:
        (draft / "part").write_text("ours")
        if appears == "folder":
            out.mkdir()
        if appears == "link":
            out.symlink_to(tmp_path / theirs)
        (tmp_path / theirs).write_text("years of work")
    assert (tmp_path / theirs).read_text() == "years of work"
    (kept,) = set(tmp_path.iterdir()) - {out, tmp_path / theirs}
    assert str(kept) in str(caught.value)
    assert not kept.name.startswith(".")
    assert (kept / "part").read_text() == "ours"


@pytest.mark.parametrize("empty", [True, False])
def test_of_several_who_write_one_folder_at_once_one_wins_and_the_others_are_told(empty, tmp_path):
    out, people = tmp_path / "out", 6
    if empty:
        out.mkdir()
    barrier = threading.Barrier(people)

    def export(number):
        try:
            with whole(out) as draft:
                (draft / "model").write_text(str(number))
                (draft / "card").write_text(str(number))
                barrier.wait(20)
        except WriteError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(people) as pool:
        told = list(pool.map(export, range(people)))
    assert told.count("") == 1
    for number, message in enumerate(told):
        place = re.search(r"What was written is whole, in (\S+?)\.$", message)
        folder = Path(place[1]) if message else out
        assert {(folder / file).read_text() for file in ("model", "card")} == {str(number)}
    assert len(list(tmp_path.iterdir())) == people


def test_an_empty_folder_is_filled_and_what_may_be_replaced_is(tmp_path):
    (tmp_path / "out").mkdir()
    written(tmp_path / "out")
    with whole(tmp_path / "out", replace=True) as draft:
        (draft / "other").write_text("ours")
        (tmp_path / "out" / "late").write_text("of another process that makes the same")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "other"]


@pytest.mark.parametrize("fails", [1, 2])
def test_a_failed_replacement_loses_neither_old_nor_new(tmp_path, monkeypatch, fails):
    """Of the two steps, moving the old aside and the new into its place, either may fail."""
    out, rename, calls = tmp_path / "out", Path.rename, []
    written(out, "old")

    def failing(self, target):
        calls.append(target)
        if len(calls) % 2 == fails % 2 and out.name in (self.name, Path(target).name) and "old" not in str(self):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(WriteError, match="Input/output error"):
        written(out, "new", replace=True)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["new", "old"]
    assert (out / "old").read_text() == "ours"


def test_a_table_is_whole_or_as_it_was(tmp_path, monkeypatch):
    file = tmp_path / "heads.csv"
    write_csv(FRAME, file)
    assert pd.read_csv(file).equals(FRAME)
    before = state(tmp_path)
    monkeypatch.setattr(pd.DataFrame, "to_csv", refusing(errno.ENOSPC))
    with pytest.raises(WriteError, match="No space left"):
        write_csv(FRAME, file)
    assert state(tmp_path) == before
    file.chmod(0o444)
    monkeypatch.setattr(os, "access", lambda *_: False)  # as for anyone but root
    with pytest.raises(WriteError, match="may not be written"):
        check_csv(file)


def test_a_table_that_cannot_be_written_after_all_does_not_hide_what_was_found(pair_args, tmp_path, monkeypatch):
    monkeypatch.setattr(pd.DataFrame, "to_csv", refusing(errno.ENOSPC))
    for command, says in (("inspect", "Heads that lost most"), ("sweep", "To restore with the best settings")):
        options = [] if command == "inspect" else ["--lr", 0.1, "--steps", 2]
        result = call(command, *pair_args, *options, "--csv", tmp_path / "table.csv")
        assert result.exit_code == 2
        assert "No space left" in result.stderr
        assert says in result.stdout


def test_a_training_is_kept_before_it_is_exported(pair_args, tmp_path, monkeypatch):
    def full(*_, **__):
        raise WriteError("the disk is full.")

    for format in ("adapter", "checkpoint"):
        monkeypatch.setattr(f"restorelcc.artifacts.export.save_{format}", full)
        result = call("restore", *pair_args, "--steps", 2, "--out", tmp_path / "out", "--format", format)
        assert result.exit_code == 2
        run = answer("runs")["runs"][0]
        assert f"the disk is full. The training is not lost: its adapter is in {run['folder']}" in result.stderr
        assert (Path(run["folder"]) / "adapter" / "compensation.safetensors").exists()
    assert len(answer("runs")["runs"]) == 2


def test_where_runs_cannot_be_kept_nothing_is_trained(pair_args, tmp_path, monkeypatch):
    (tmp_path / "data").touch()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr("restorelcc.cli.commands.restoring.opened.open_pair", None)
    result = call("restore", *pair_args, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "Not a directory" in result.stderr


def test_what_is_written_is_open_to_all_folders_in_it_too(pair, tmp_path):
    """Several chat templates are written into a folder of their own, which must be one that can be entered."""
    tokenizer = copy.deepcopy(pair.tokenizer)
    tokenizer.chat_template = {"default": "{{ messages }}", "tool_use": "{{ tools }}"}
    save_checkpoint(tmp_path / "out", pair.pruned, tokenizer)
    inside = [path for path in (tmp_path / "out").rglob("*") if path.is_dir()]
    assert inside
    for path in (tmp_path / "out", *(tmp_path / "out").rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path
    again = load_tokenizer(str(tmp_path / "out"))
    assert again.chat_template == tokenizer.chat_template
