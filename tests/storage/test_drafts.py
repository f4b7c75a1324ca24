"""Drafts of the living are left alone, those of the dead are cleared, and what they took the place of comes back."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from restorelcc.errors import WriteError
from restorelcc.storage.drafts import aside, clear, draft, held, is_held
from restorelcc.storage.folders import check_free, whole

ROOT = Path(__file__).resolve().parents[2]
WRITING = """
import sys, time
from pathlib import Path
from restorelcc.storage.drafts import aside
from restorelcc.storage.folders import whole

folder, how = Path(sys.argv[1]), sys.argv[2]
with whole(folder, replace=True) as path:
    (path / "half").write_text("half")
    if how == "moved":  # killed after the old one was moved aside, before the new one took its place
        aside(path).mkdir()
        folder.rename(aside(path) / folder.name)
    print("now", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def writing(tmp_path):
    """A process that writes a folder and stops half-way."""
    processes = []

    def start(how="writing"):
        command = [sys.executable, "-c", WRITING, str(tmp_path / "out"), how]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
        processes.append(process)
        assert process.stdout.readline() == b"now\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def there(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_the_draft_of_a_living_process_is_left_alone_and_that_of_a_killed_one_cleared(writing, tmp_path):
    process = writing()
    check_free(tmp_path / "other")
    clear(tmp_path)
    assert [name for name in there(tmp_path) if name.endswith("half")]
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [name for name in there(tmp_path) if name.endswith("half")]
    check_free(tmp_path / "other")  # as the next command does
    assert there(tmp_path) == []


@pytest.mark.parametrize("then", ["clear", "write"])
def test_what_was_moved_aside_comes_back_where_nothing_took_its_place(writing, tmp_path, then):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    process = writing("moved")
    assert not (tmp_path / "out").exists()
    process.send_signal(signal.SIGKILL)
    process.wait()
    if then == "clear":
        clear(tmp_path)
        assert there(tmp_path) == ["out", "out/old"]
    else:
        with whole(tmp_path / "out", replace=True) as path:
            (path / "new").touch()
        assert there(tmp_path) == ["out", "out/new"]


def test_what_somebody_else_put_there_meanwhile_stays(tmp_path):
    with draft(tmp_path) as path:
        aside(path).mkdir()
        (aside(path) / "out").mkdir()
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "theirs").touch()
    (tmp_path / f"{path.name}.lock").touch()
    clear(tmp_path)
    assert there(tmp_path) == ["out", "out/theirs"]


def test_folders_of_others_are_never_taken_for_drafts(tmp_path):
    names = [".out-abcdefgh", ".restorelcc-draft-12345678", "restorelcc-draft-1.lock", ".restorelcc", ".x.lock"]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "years of work").touch()
    before = there(tmp_path)
    clear(tmp_path)
    with whole(tmp_path / "out"):
        pass
    assert there(tmp_path) == sorted([*before, "out"])


def test_a_lock_is_held_by_one_at_a_time_in_this_process_too(tmp_path):
    file = tmp_path / "lock"
    assert not is_held(file)
    with held(file) as mine, held(file) as other:
        assert (mine, other) == (True, False)
        assert is_held(file)
    assert not is_held(file)
    with held(file) as mine:
        assert mine


def test_a_lock_that_was_cleared_away_is_none(tmp_path):
    with held(tmp_path / "lock") as mine:
        assert mine
        (tmp_path / "lock").unlink()
        with held(tmp_path / "lock") as anew:
            assert anew


def test_where_locks_are_unknown_nothing_is_cleared_and_all_can_be_written(tmp_path, monkeypatch):
    import fcntl

    def unknown(*_):
        raise OSError(38, os.strerror(38))

    (tmp_path / ".restorelcc-draft-1").mkdir()
    (tmp_path / ".restorelcc-draft-1.lock").touch()
    monkeypatch.setattr(fcntl, "flock", unknown)
    with whole(tmp_path / "out") as path:
        (path / "part").touch()
    assert there(tmp_path) == [".restorelcc-draft-1", ".restorelcc-draft-1.lock", "out", "out/part"]
    assert is_held(tmp_path / ".restorelcc-draft-1.lock")


def test_many_at_once_in_one_place_do_not_take_each_others_drafts(tmp_path):
    errors = []

    def write(number):
        try:
            for turn in range(20):
                with whole(tmp_path / f"{number}-{turn}") as path:
                    (path / "part").write_text(str(number))
        except WriteError as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len([name for name in there(tmp_path) if name.endswith("part")]) == 160
    assert all((path / "part").read_text() == path.name.partition("-")[0] for path in tmp_path.iterdir())


def test_what_could_not_be_put_in_place_is_no_draft_any_more(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(WriteError, match="What was written is whole"), whole(out) as path:
        (path / "part").touch()
        out.touch()
    clear(tmp_path)
    (kept,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert there(kept) == ["part"]
