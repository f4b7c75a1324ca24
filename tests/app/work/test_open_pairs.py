"""Pairs that are open: few at once, also while one more is opened; their models loaded once, and shown on the way."""

import threading
import weakref
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.session import state
from app.session.state import Session
from app.widgets import feedback
from app.work import open_pairs
from app.work.jobs import Jobs, State
from app.work.live import lane
from restorelcc.artifacts.findings import Recipe, is_kept, keep_findings
from restorelcc.errors import LoadError
from restorelcc.hf.twins import copied
from restorelcc.progress import Progress
from restorelcc.workspace import LoadedPair, Workspace

MAIN = str(Path(__file__).resolve().parents[3] / "app" / "shell" / "rerun.py")
SOON = 10  # seconds
RECIPES = [Recipe(windows=number) for number in range(2, 8)]


@pytest.fixture(autouse=True)
def nothing_open(monkeypatch):
    monkeypatch.setattr(open_pairs, "_open", OrderedDict())
    monkeypatch.setattr(open_pairs, "jobs", Jobs())


@pytest.fixture
def opened_beside(workspace, monkeypatch):
    """How many others were open while each was being opened."""
    counts = []

    def opens(recipe):
        counts.append(len(open_pairs._open))
        yield Progress("loading", 0, 1)
        return Workspace(recipe, workspace.findings)

    monkeypatch.setattr(open_pairs, "open_workspace", opens)
    return counts


def open_now(recipe):
    job = open_pairs.opening(recipe, "me")
    assert job.wait(SOON)
    return job


def test_one_more_is_opened_after_another_made_room_for_it(opened_beside):
    for recipe in RECIPES:
        assert open_now(recipe).state == State.DONE
    most = open_pairs.MOST
    assert opened_beside == [0, 1, 2, *[most - 1] * (len(RECIPES) - 3)]
    assert list(open_pairs._open) == RECIPES[-most:]


def test_the_one_longest_unused_makes_room(opened_beside):
    for recipe in RECIPES[:3]:
        open_now(recipe)
    assert open_pairs.workspace(RECIPES[0]) is not None
    open_now(RECIPES[3])
    assert list(open_pairs._open) == [RECIPES[2], RECIPES[0], RECIPES[3]]


def test_who_makes_room_lets_go_of_its_models_though_pages_still_hold_on_to_it(workspace, pair, monkeypatch):
    held, models = [], []

    def opens(recipe):
        yield Progress("loading", 0, 1)
        assert sum(model() is not None for model in models) < open_pairs.MOST
        own = replace(pair, dense=copied(pair.dense), pruned=copied(pair.pruned))
        models.append(weakref.ref(own.pruned))
        held.append(Workspace(recipe, workspace.findings, own))
        return held[-1]

    monkeypatch.setattr(open_pairs, "open_workspace", opens)
    for recipe in RECIPES[:5]:
        assert open_now(recipe).state == State.DONE
        open_pairs._prepare(held[-1])
        assert open_pairs.jobs.find(("prepare", recipe)).wait(SOON)
        assert held[-1]._prefix.value is not None
    assert [opened.loaded for opened in held] == [False, False, True, True, True]
    assert [model() is None for model in models] == [True, True, False, False, False]
    assert held[0].lost.shape == workspace.lost.shape  # what was found is still there


def test_what_is_open_makes_nobody_go(opened_beside):
    for recipe in (*RECIPES[:3], *RECIPES[:3]):
        open_now(recipe)
    assert opened_beside == [0, 1, 2]
    assert len(open_pairs._open) == 3


class Gate:
    """Loads when it is let go; fails as often as it is told to."""

    def __init__(self, pair, failures=0):
        self.pair, self.failures, self.loads = pair, failures, 0
        self.began, self.go = threading.Event(), threading.Event()

    def __call__(self, recipe, tokens):
        self.loads += 1
        yield Progress("loading demo", 0, 1)
        self.began.set()
        assert self.go.wait(SOON)
        if self.loads <= self.failures:
            raise LoadError("There is no folder.")
        yield Progress("checking", 0, 1)
        return LoadedPair(self.pair)


def closed(workspace, monkeypatch, gate):
    monkeypatch.setattr("restorelcc.workspace._loaded", gate)
    return Workspace(workspace.recipe, workspace.findings)


def test_two_people_wait_for_one_loading(workspace, pair, monkeypatch):
    gate = Gate(pair)
    opened = closed(workspace, monkeypatch, gate)
    mine, theirs = (open_pairs.awaited_load(opened, owner) for owner in ("me", "they"))
    assert mine is theirs
    assert gate.began.wait(SOON)
    assert mine.progress == Progress("loading demo", 0, 1)
    gate.go.set()
    assert mine.wait(SOON)
    assert (mine.state, gate.loads, opened.pair()) == (State.DONE, 1, pair)


def test_a_page_does_not_wait_behind_a_training(workspace, pair, monkeypatch):
    gate, busy = Gate(pair), threading.Event()

    def training(job):
        yield Progress("step 1", 1, 2)
        assert busy.wait(SOON)

    device = workspace.recipe.loading.resolved_device()
    trained = open_pairs.jobs.submit("Training", "somebody", device, training)
    gate.go.set()
    assert open_pairs.awaited_load(closed(workspace, monkeypatch, gate), "me").wait(SOON)
    assert not trained.finished
    busy.set()
    assert trained.wait(SOON)


def test_a_failed_loading_says_why_and_is_tried_again_when_asked(workspace, pair, monkeypatch):
    gate = Gate(pair, failures=1)
    gate.go.set()
    opened = closed(workspace, monkeypatch, gate)
    job = open_pairs.awaited_load(opened, "me")
    assert job.wait(SOON)
    assert (job.state, job.error) == (State.FAILED, "There is no folder.")
    assert open_pairs.awaited_load(opened, "me") is job  # nothing begins anew by itself
    again = open_pairs.loading(opened, "me")
    assert again.wait(SOON)
    assert (again.state, opened.loaded, gate.loads) == (State.DONE, True, 2)


def test_a_cancelled_loading_loads_nothing(workspace, pair, monkeypatch):
    gate = Gate(pair)
    opened = closed(workspace, monkeypatch, gate)
    job = open_pairs.awaited_load(opened, "me")
    assert gate.began.wait(SOON)
    assert open_pairs.jobs.cancel(job, "me")
    gate.go.set()
    assert job.wait(SOON)
    assert (job.state, opened.loaded) == (State.CANCELLED, False)
    assert open_pairs.awaited_load(opened, "me") is job  # nothing begins anew by itself


def test_what_nobody_asked_for_is_loaded_once_and_belongs_to_the_first_who_waits(workspace, pair, monkeypatch):
    monkeypatch.setattr(open_pairs, "WARM_UP", 0.0)
    gate = Gate(pair)
    opened = closed(workspace, monkeypatch, gate)
    for _ in range(3):
        open_pairs.warm_up(opened)
    assert gate.began.wait(SOON)
    job = open_pairs.awaited_load(opened, "me")
    assert job.owner == "me"
    gate.go.set()
    assert job.wait(SOON)
    assert (job.state, gate.loads) == (State.DONE, 1)
    read = open_pairs.jobs.find(("prepare", opened.recipe))
    assert read.wait(SOON)
    assert opened._prefix.value is not None


# --- pages, before the models are there -----------------------------------------------------------------------------


@pytest.fixture
def gate(pair):
    return Gate(pair)


@pytest.fixture
def app(workspace, monkeypatch, gate):
    """Opened from what is kept of the pair; loading goes no further than the gate."""
    for module in ("widgets.feedback", "shell.frame"):
        monkeypatch.setattr(f"app.{module}.jobs", open_pairs.jobs)
    monkeypatch.setattr("app.widgets.feedback.GLANCE", 0.01)
    monkeypatch.setattr(lane, "_kept", OrderedDict())  # what other tests measured
    monkeypatch.setattr(state, "_owner", lambda: "me")
    monkeypatch.setattr(open_pairs, "_open", OrderedDict({Recipe(): closed(workspace, monkeypatch, gate)}))
    yield AppTest.from_file(MAIN, default_timeout=60)
    gate.go.set()
    job = open_pairs.jobs.find(("load", Recipe()))
    assert job is None or job.wait(SOON)


def headings(app):
    assert not app.exception
    return "\n".join(part.value for part in app.markdown)


def bars(app):
    return [element.proto.text for element in app.get("progress")]


# The page, what of it needs the models, how that shows in a place of its own, and what of the link brings it about.
PLACES = [
    ("heads", "The same head on a passage", "passage", {"head": "1.2"}),
    ("components", "", "detail", {"head": "1.2"}),
    ("components", "", "plane", {"head": "1.2"}),
    ("learn", "Putting it back moves logits", "learn-folding", {}),
    ("heads", "", "header", {"picks": "1.2"}),
]


@pytest.mark.parametrize(("page", "shows", "place", "link"), PLACES)
def test_what_needs_the_models_shows_how_far_they_are(app, gate, page, shows, place, link):
    app.query_params.update(link)
    app.run()
    app.switch_page(f"../../pages/{page}.py").run()  # comes back though nothing is loaded
    job = open_pairs.jobs.find(("load", Recipe()))
    assert not job.finished
    assert gate.began.wait(SOON)
    assert "Loading the models: loading demo" in bars(app)
    assert f"cancel-{job.id}{place}" in [button.key for button in app.button]
    assert not shows or shows not in headings(app)
    gate.go.set()
    assert job.wait(SOON)
    app.run()
    assert shows in headings(app)
    assert not bars(app)
    assert gate.loads == 1


def test_components_put_back_on_the_learn_page_wait_for_the_models(app, gate):
    app.run()
    app.switch_page("../../pages/learn.py").run()
    assert "Nothing is put back yet" in headings(app)
    app.select_slider(key="learn-count").set_value(8).run()
    job = open_pairs.jobs.find(("load", Recipe()))
    assert f"cancel-{job.id}learn-constant" in [button.key for button in app.button]
    gate.go.set()
    assert job.wait(SOON)
    app.run()
    assert "Recovered **" in headings(app)


def test_a_loading_that_fails_is_a_message_and_a_button(app, gate):
    gate.failures = 1
    gate.go.set()
    app.query_params.update({"head": "1.2"})
    app.run()
    assert open_pairs.jobs.find(("load", Recipe())).wait(SOON)
    app.run()
    assert "There is no folder." in [error.value for error in app.error]
    assert gate.loads == 1
    app.button(key="load-passage").click().run()
    assert open_pairs.jobs.find(("load", Recipe())).wait(SOON)
    app.run()
    assert not app.error
    assert "The same head on a passage" in headings(app)


def test_where_the_pruned_model_is_here_alone_pages_show_what_it_can(app, gate, pair, monkeypatch):
    apart = "Both models at once need 9.0 GB, and 5.0 GB are free."
    opened = open_pairs._open[Recipe()]
    opened = Workspace(Recipe(), opened.findings, pair, apart)
    monkeypatch.setattr(open_pairs, "_open", OrderedDict({Recipe(): opened}))
    app.query_params.update({"head": "1.2"})
    app.run()
    assert any(apart in info.value for info in app.info)
    assert "Lost energy over" in headings(app)
    app.switch_page("../../pages/components.py").run()
    assert any(apart in info.value for info in app.info)  # in the tab that compares with the dense model's heads
    assert "seen flat" in headings(app)
    assert not app.error


# --- the queue -----------------------------------------------------------------------------------------------------


@pytest.fixture
def training(opened_beside):
    """What keeps the device busy until it is let go."""
    began, go = threading.Event(), threading.Event()

    def work(job):
        yield Progress("step 1 of 2", 1, 2)
        began.set()
        go.wait(SOON)

    job = open_pairs.jobs.submit("Restoring one", "somebody", "cpu", work)
    assert began.wait(SOON)
    yield job
    go.set()
    assert all(each.wait(SOON) for each in open_pairs.jobs.listed())  # while what opens is still replaced


def test_a_pair_that_is_kept_waits_for_no_training(opened_beside, training, workspace, monkeypatch):
    monkeypatch.setattr(open_pairs, "is_kept", lambda recipe: recipe == RECIPES[0])
    assert open_now(RECIPES[0]).state == State.DONE
    other = open_pairs.opening(RECIPES[1], "me")
    assert other.state == State.QUEUED
    assert open_pairs.jobs.ahead(other) == [training]


def test_what_is_kept_is_known_without_reading_it(workspace):
    assert not is_kept(Recipe())
    keep_findings(Recipe(), workspace.findings)
    assert is_kept(Recipe())
    assert not is_kept(Recipe("a", "b"))


def test_who_waits_is_told_what_for_and_whose_and_which_place(opened_beside, training, monkeypatch):
    monkeypatch.setattr(feedback, "jobs", open_pairs.jobs)
    monkeypatch.setattr(feedback.state, "session", lambda: Session(owner="me"))
    monkeypatch.setattr(type(training), "seconds", 3_600.0)
    first, second = (open_pairs.opening(recipe, "me") for recipe in RECIPES[:2])
    assert "waiting for Restoring one (somebody else's, about 1 h 00 min left of the stage it is in); place 1" in (
        feedback.doing(first)
    )
    assert "and 1 other after it; place 2 in the queue" in feedback.doing(second)
    training.owner = "me"
    assert "(yours, about" in feedback.doing(first)
