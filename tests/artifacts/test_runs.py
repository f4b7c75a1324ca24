"""Runs as they are managed: named anew, thrown away and brought back, damaged, or written by others."""

import json
import os
import time
from datetime import timedelta

import pytest
import torch

from restorelcc.artifacts.runs import (
    LONGEST_NAME,
    LONGEST_NOTE,
    LONGEST_TAG,
    MOST_TAGS,
    Run,
    annotate_run,
    bring_back,
    discard_run,
    discarded_runs,
    empty_trash,
    list_runs,
    load_run,
    rename_run,
    save_run,
)
from restorelcc.compensation.constants import Constants
from restorelcc.errors import LoadError, SettingError, WriteError
from restorelcc.hf.layout import HeadGeometry
from restorelcc.restoration.settings import Settings
from restorelcc.restoration.training import Restoration
from restorelcc.selection.picks import everything


@pytest.fixture
def run(tmp_path) -> Run:
    shape = HeadGeometry(n_layers=2, n_heads=2, n_kv_heads=2, d_head=4, d_model=8)
    vectors = torch.randn(2, 2, 4, generator=torch.Generator().manual_seed(0))
    selection = everything((2, 2, 4))
    trained = {"beta": vectors.clone(), "learned": vectors.clone()}
    restoration = Restoration(Constants(vectors), trained, 32, selection, Settings(), (), 0)
    return save_run(restoration, shape, "first", {"dense": "a", "pruned": "b"}, tmp_path)


def contents(run: Run) -> dict[str, bytes]:
    return {str(path.relative_to(run.folder)): path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}


def test_a_new_name_and_nothing_else(run, tmp_path):
    before = contents(run)
    renamed = rename_run(run, "  a better \n name ")
    assert renamed.folder == run.folder
    assert load_run(run.folder).name == renamed.name == "a better name"
    after = contents(renamed)
    assert {**json.loads(before.pop("config.json")), "name": "a better name"} == json.loads(after.pop("config.json"))
    assert after == before


def test_a_name_keeps_what_was_written_meanwhile(run):
    config = json.loads((run.folder / "config.json").read_text())
    (run.folder / "config.json").write_text(json.dumps(config | {"note": "from elsewhere"}))
    assert rename_run(run, "new").config["note"] == "from elsewhere"


@pytest.mark.parametrize("name", ["", " \n ", "x" * (LONGEST_NAME + 1)])
def test_names_that_do_not_do(run, name):
    with pytest.raises(SettingError, match="characters"):
        rename_run(run, name)
    assert load_run(run.folder).name == "first"


def test_deleted_and_brought_back_is_as_before(run, tmp_path):
    before = contents(run)
    gone = discard_run(run)
    assert not run.folder.exists()
    assert list_runs(tmp_path) == []
    assert [one.folder for one in discarded_runs(tmp_path)] == [gone.folder]
    back = bring_back(gone)
    assert back.folder == run.folder
    assert contents(back) == before
    assert [one.name for one in list_runs(tmp_path)] == ["first"]
    assert discarded_runs(tmp_path) == []


def test_what_is_no_run_is_never_moved(run, tmp_path):
    (run.folder / "config.json").unlink()
    for act in (lambda: discard_run(run), lambda: rename_run(run, "new"), lambda: bring_back(run)):
        with pytest.raises(LoadError):
            act()
    assert run.folder.is_dir()


def test_undo_after_the_trash_was_emptied(run, tmp_path):
    gone = discard_run(run)
    assert empty_trash(timedelta(0), tmp_path) == 1
    with pytest.raises(LoadError):
        bring_back(gone)


def test_the_way_back_does_not_overwrite(run):
    gone = discard_run(run)
    run.folder.mkdir()
    (run.folder / "thesis.txt").write_text("years of work")
    with pytest.raises(WriteError, match="brought back"):
        bring_back(gone)
    assert (run.folder / "thesis.txt").exists()
    assert load_run(gone.folder).name == "first"


def test_only_what_lay_long_in_the_trash_goes(run, tmp_path):
    # A run that was made long ago and deleted today stays: its time in the trash counts.
    os.utime(run.folder, (0, 0))
    gone = discard_run(run)
    assert empty_trash(timedelta(days=1), tmp_path) == 0
    os.utime(gone.folder, (0, 0))
    assert empty_trash(timedelta(days=1), tmp_path) == 1
    assert discarded_runs(tmp_path) == []


MONTH = 30 * 86_400


@pytest.fixture
def clock(monkeypatch):
    """One that can be set wrong: seconds that it is ahead."""
    ahead, real = [0.0], time.time
    monkeypatch.setattr("restorelcc.artifacts.runs.time.time", lambda: real() + ahead[0])
    return ahead


def test_a_clock_that_jumps_ahead_takes_nothing_from_the_trash(run, tmp_path, clock):
    discard_run(run)
    assert empty_trash(root=tmp_path) == 0
    for days in (4_000, 4_001, 4_029, 0, 1, 29):  # wrong for a month, then right again
        clock[0] = days * 86_400
        assert empty_trash(root=tmp_path) == 0
    clock[0] = 31 * 86_400
    assert empty_trash(root=tmp_path) == 1


def test_what_was_deleted_while_the_clock_was_wrong_stays_for_a_month_of_the_right_one(run, tmp_path, clock):
    for wrong in (0, time.time() + 9 * MONTH):
        gone = discard_run(run)
        os.utime(gone.folder, (wrong, wrong))
        os.utime(gone.folder.parent, (wrong, wrong))
        (gone.folder.parent / ".looked").unlink(missing_ok=True)
        assert [empty_trash(root=tmp_path) for clock[0] in (0.0, 0.5 * MONTH, 0.99 * MONTH)] == [0, 0, 0]
        clock[0] = 0.0
        run = bring_back(gone)
    discard_run(run)
    assert [empty_trash(root=tmp_path) for clock[0] in (0.0, 0.5 * MONTH, 1.1 * MONTH)] == [0, 0, 1]


@pytest.mark.parametrize("said", ["", "soon", "1 2 3", "nan nan", "inf 0"])
def test_a_damaged_note_in_the_trash_takes_nothing_away(run, tmp_path, said):
    gone = discard_run(run)
    (gone.folder.parent / ".looked").write_text(said)
    assert empty_trash(root=tmp_path) == 0
    assert [each.name for each in discarded_runs(tmp_path)] == ["first"]


def test_a_run_that_says_little_is_listed_last(run, tmp_path):
    (tmp_path / "sparse").mkdir()
    (tmp_path / "sparse" / "config.json").write_text('{"format": 1}')
    found = list_runs(tmp_path)
    assert [one.name for one in found] == ["first", "sparse"]
    assert found[1].created is None


def test_damaged_parts_are_named(run):
    broken = Run(run.folder, {"settings": {"speed": 3}, "selection": {"format": 1}})
    (run.folder / "metrics.jsonl").write_text("{]")
    (run.folder / "training.safetensors").write_bytes(b"12345")
    for read in (lambda: broken.settings, lambda: broken.selection, broken.metrics, broken.trained):
        with pytest.raises(LoadError, match="damaged"):
            read()
    assert broken.adapter().compensation.vectors.shape == (2, 2, 4)


def test_a_star_tags_and_a_note_are_kept_and_nothing_else_changes(run):
    before = contents(run)
    noted = annotate_run(run, True, [" good \n one", "", "good one", "b"], "seen\non Friday")
    assert noted.config == load_run(run.folder).config
    assert (noted.config["star"], noted.config["tags"]) == (True, ["good one", "b"])
    assert noted.config["note"] == "seen\non Friday"
    again = annotate_run(noted, False, [], "")
    after = contents(again)
    plain = {"star": False, "tags": [], "note": ""}
    assert json.loads(before.pop("config.json")) | plain == json.loads(after.pop("config.json"))
    assert after == before


@pytest.mark.parametrize(
    ("tags", "note"),
    [([f"{i}" for i in range(MOST_TAGS + 1)], ""), (["x" * (LONGEST_TAG + 1)], ""), ([], "x" * (LONGEST_NOTE + 1))],
)
def test_too_much_of_a_note_is_refused_and_nothing_changes(run, tags, note):
    before = contents(run)
    with pytest.raises(SettingError):
        annotate_run(run, True, tags, note)
    assert contents(run) == before


def test_a_run_that_is_gone_takes_no_note(run):
    discard_run(run)
    with pytest.raises(LoadError):
        annotate_run(run, True, [], "")
