"""A restoration of the app whose server ends: listed as interrupted, gone on with to the last digit."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.values.picks import Picks
from app.work import open_pairs, training
from app.work.jobs import State, jobs
from restorelcc.artifacts.findings import Recipe
from restorelcc.artifacts.runs import list_runs
from restorelcc.artifacts.unfinished import Keeper, list_unfinished
from restorelcc.restoration.settings import Settings
from restorelcc.restoration.training import Step
from restorelcc.selection.picks import everything

MAIN = str(Path(__file__).resolve().parents[3] / "app" / "shell" / "rerun.py")
SETTINGS = Settings(steps=9, batch=2, evaluate_every=3, start="noise")

pytestmark = pytest.mark.usefixtures("on_one_thread")


class Ended(BaseException):
    """Of a server, as far as a test can say."""


@pytest.fixture(autouse=True)
def opened(workspace, monkeypatch):
    monkeypatch.setattr(open_pairs, "_open", open_pairs.OrderedDict({Recipe(): workspace}))


@pytest.fixture
def interrupted(workspace, monkeypatch):
    keep = Keeper.keep

    def ending(self, trainer, now=False):
        if trainer.history[-1].step == 7:
            raise Ended
        keep(self, trainer, now)

    monkeypatch.setattr(Keeper, "keep", ending)
    started(workspace)
    monkeypatch.setattr(Keeper, "keep", keep)
    (left,) = list_unfinished()
    return left


def started(workspace):
    picks = Picks(everything(workspace.lost.shape))
    job = training.start(workspace, picks, SETTINGS, "mine", "me", names={"0.0.0": "a name"})
    assert job.wait(120)
    return job


def curve(run):
    frame = run.metrics()
    return frame.drop(columns=["seconds", "tokens_per_second"]).to_json(double_precision=15)


def test_it_goes_on_to_the_same_run(workspace, interrupted):
    whole = started(workspace).result
    job = training.go_on(workspace, interrupted, "me")
    assert job.wait(120)
    assert job.state == State.DONE, job.error
    run = job.result
    assert run.folder.name == interrupted.folder.name
    assert curve(run) == curve(whole)
    for file in ("training.safetensors", "adapter/compensation.safetensors"):
        assert (run.folder / file).read_bytes() == (whole.folder / file).read_bytes()
    ours, theirs = (dict(each.config) for each in (run, whole))
    assert ours.pop("created") > theirs.pop("created")
    assert ours == theirs
    assert [note.step for note in job.notes if isinstance(note, Step)] == list(range(10))
    assert list_unfinished() == []
    assert len(list_runs()) == 2


def test_two_who_press_at_once_share_one_job(workspace, interrupted):
    first, second = (training.go_on(workspace, interrupted, who) for who in ("me", "you"))
    assert first is second
    assert first.wait(120)
    assert first.state == State.DONE


@pytest.mark.parametrize("page", ["restore", "compare"])
def test_pages_list_it_with_the_way_on(interrupted, page):
    app = AppTest.from_file(MAIN, default_timeout=60).run()
    app.switch_page(f"../../pages/{page}.py").run()
    assert not app.exception
    name = interrupted.folder.name
    assert any("mine" in each.value and "step 6 of 9" in each.value for each in app.markdown)
    assert app.button(key=f"continue-{name}").label == "Continue"
    app.button(key=f"continue-{name}").click().run()
    assert not app.exception
    job = jobs.find(("go on", name))
    assert job.wait(120)
    assert job.state == State.DONE
    app.run()
    assert not any("interrupted" in each.value for each in app.markdown)
    assert [run.folder.name for run in list_runs()] == [name]


def test_it_can_be_deleted(interrupted):
    app = AppTest.from_file(MAIN, default_timeout=60).run()
    app.switch_page("../../pages/restore.py").run()
    app.button(key=f"delete-interrupted-{interrupted.folder.name}").click().run()
    assert not app.exception
    assert list_unfinished() == []


def test_one_of_another_pair_opens_that_first_and_one_of_the_command_line_says_how(interrupted, workspace):
    other = open_pairs.OrderedDict({Recipe(windows=90): workspace})
    open_pairs._open = other  # put back by the fixture
    app = AppTest.from_file(MAIN, default_timeout=60)
    app.query_params["windows"] = "90"
    app.run()
    app.switch_page("../../pages/restore.py").run()
    assert not app.exception
    assert app.button(key=f"open-interrupted-{interrupted.folder.name}").label == "Open its pair"


def test_damaged_ones_break_no_page(interrupted):
    (interrupted.folder / "state.safetensors").write_bytes(b"{")
    other = interrupted.folder.with_name("20200101-000000-x-0000")
    other.mkdir()
    (other / "training.json").write_text('{"format": 1, "settings": {"steps": "many"}}')
    app = AppTest.from_file(MAIN, default_timeout=60).run()
    for page in ("restore", "compare"):
        app.switch_page(f"../../pages/{page}.py").run()
        assert not app.exception
        assert any("2 interrupted" in each.value for each in app.markdown)


def test_what_cannot_be_kept_on_its_way_says_so_and_is_trained(workspace, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("restorelcc.artifacts.unfinished.save_file", full)
    job = started(workspace)
    assert job.state == State.DONE, job.error
    (note,) = [note for note in job.notes if isinstance(note, training.Unkept)]
    assert "No space left" in note.reason
    assert job.result.settings.steps == 9
