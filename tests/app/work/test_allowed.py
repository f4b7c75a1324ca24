"""A server that others reach reads, writes and trains what its rules say, by whatever path it is asked for."""

import os
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.session import state
from app.values import rules
from app.values.rules import CLOSED, OPEN
from app.views.compare import one_run, trash
from app.views.restore import interrupted
from app.work import allowed, open_pairs, sweeps, training
from app.work.jobs import Jobs, State
from app.work.sweeps import Plan
from restorelcc.artifacts.findings import Recipe
from restorelcc.artifacts.runs import Run, discarded_runs, list_runs, runs_folder, save_run
from restorelcc.artifacts.unfinished import Unfinished
from restorelcc.errors import RestoreLCCError, SettingError
from restorelcc.models.loading import Loading
from restorelcc.pruning.layerwise import Pruning
from restorelcc.restoration.settings import Settings
from restorelcc.restoration.sweep import Grid
from restorelcc.restoration.training import Training
from restorelcc.selection.picks import of_heads

MAIN = str(Path(__file__).resolve().parents[3] / "app" / "shell" / "rerun.py")
SOON = 60


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Folders as an administrator has them, and what lies beside them; the rules that name them are this server's."""
    real = tmp_path / "srv"
    for folder in ("models/llama", "texts/old", "exports", "secret/model"):
        (real / folder).mkdir(parents=True)
    (real / "texts" / "a.txt").write_text("once upon a time")
    (real / "secret" / "b.txt").write_text("hf_secret")
    (real / "texts" / "link.txt").symlink_to(real / "secret" / "b.txt")
    (real / "models" / "link").symlink_to(real / "secret" / "model")
    (real / "exports" / "link").symlink_to(real / "secret")
    (real / "texts" / "circle.txt").symlink_to(real / "texts" / "circle.txt")
    named = replace(CLOSED, models=(real / "models",), texts=(real / "texts",), exports=(real / "exports",), named=True)
    monkeypatch.setattr(rules, "_given", named)
    monkeypatch.chdir(real)
    return real


def given(monkeypatch, **changes):
    monkeypatch.setattr(rules, "_given", replace(rules.given(), **changes))


INSIDE = ["{}/models/llama", "models/llama", "secret/../models/llama", "{}/models", "demo"]
OUTSIDE = [
    "{}/secret/model", "secret/model", "models/../secret/model", "models/link", "{}/models/link", "models/link/x", "/",
    "..", "../srv/secret/model", "~", "~root/model", ".", "{}/nowhere", "models/../nowhere", "{}/models-2", "a/b/c",
    "\0", "x" * 5_000, "https://hub/x", "owner/na me", "owner/name@../../x",
]  # fmt: skip


@pytest.mark.parametrize("name", INSIDE)
def test_models_in_the_folders_named_are_read(place, name):
    allowed.check_recipe(Recipe(name.format(place), pruned="models/llama"))
    allowed.check_recipe(Recipe("demo", name.format(place)))


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("hub", [True, False])
def test_no_model_elsewhere_is_read_whatever_the_way_to_it(place, monkeypatch, name, hub):
    given(monkeypatch, hub=hub)
    name = name.format(place)
    for recipe in (Recipe(name, "models/llama"), Recipe("models/llama", name), Recipe(name)):
        with pytest.raises(SettingError, match="This server reads models in") as refused:
            allowed.check_recipe(recipe)
        assert len(str(refused.value)) < 500


@pytest.mark.parametrize("name", ["owner/name", "gpt2", "owner/name@main", "owner/name.v2@v1.0"])
def test_the_hub_is_asked_where_the_rules_say_so(place, monkeypatch, name):
    with pytest.raises(SettingError, match="nothing from the Hugging Face hub"):
        allowed.check_recipe(Recipe(name))
    given(monkeypatch, hub=True)
    allowed.check_recipe(Recipe(name))
    (place / "owner" / "name").mkdir(parents=True)  # now it is a folder, and not one of those named
    with pytest.raises(SettingError):
        allowed.check_recipe(Recipe("owner/name"))
    with pytest.raises(SettingError, match="no revision"):
        allowed.check_recipe(Recipe("other/name", loading=Loading(revision="../../x")))


TEXTS = ("calibration", "evaluation", "elsewhere")


@pytest.mark.parametrize("purpose", TEXTS)
@pytest.mark.parametrize(
    "source", ["{}/texts/a.txt", "texts/a.txt", "texts/old/../a.txt:field", "everyday", "texts/none.txt"]
)
def test_texts_in_the_folders_named_are_read(place, purpose, source):
    allowed.check_recipe(Recipe(**{purpose: source.format(place)}))


@pytest.mark.parametrize("purpose", TEXTS)
@pytest.mark.parametrize(
    "source",
    [
        "{}/secret/b.txt", "secret/b.txt", "secret/none.txt", "texts/../secret/b.txt", "texts/link.txt",
        "texts/link.txt:x", "texts/circle.txt", "/proc/self/environ", "/etc/passwd", "/etc", "\0.txt", "wikitext2",
        "hf:owner/set", "~/x.txt",
    ],
)  # fmt: skip
def test_no_text_elsewhere_is_read_and_whether_it_is_there_is_not_said(place, purpose, source):
    with pytest.raises(RestoreLCCError) as refused:
        allowed.check_recipe(Recipe(**{purpose: source.format(place)}))
    assert "This server reads" in str(refused.value)


@pytest.mark.parametrize("name", ["{}/secret", "secret", "texts/old", "..", "../srv", "~", "a/../secret", "", "/etc"])
def test_no_folder_is_read_as_a_dataset_of_the_hub(place, monkeypatch, name):
    given(monkeypatch, hub=True)
    allowed.check_recipe(Recipe(calibration="hf:owner/set/config:train:text", evaluation="wikitext2"))
    for source in (f"hf:{name.format(place)}", f"hf:{name.format(place)}:train:text"):
        with pytest.raises(SettingError, match="This server reads datasets of the hub"):
            allowed.check_recipe(Recipe(calibration=source))


def test_a_link_to_a_text_elsewhere_opens_nothing(place, monkeypatch):
    monkeypatch.setattr(open_pairs, "jobs", Jobs())
    job = open_pairs.opening(Recipe(elsewhere=str(place / "secret" / "b.txt")), "me")
    assert job.wait(SOON)
    assert job.state == State.FAILED
    assert "This server reads text files in" in job.error
    assert "hf_secret" not in job.error


@pytest.mark.parametrize("name", ["new", "a/b", "{}/exports/new", "./new", "a/../new"])
def test_checkpoints_go_where_exports_go(place, name):
    folder = allowed.export_to(name.format(place))
    assert folder.resolve().is_relative_to(place / "exports")


@pytest.mark.parametrize(
    "name",
    [
        "../new",
        "{}/new",
        "/tmp/new",
        "link/new",
        "link/../new",
        "link",
        "",
        ".",
        "{}/exports",
        "{}/exports-2",
        "~/new",
        "\0",
    ],
)
def test_no_checkpoint_goes_elsewhere(place, name):
    with pytest.raises(SettingError, match="Checkpoints are written into"):
        allowed.export_to(name.format(place))


def test_without_a_file_of_rules_a_shared_server_shows_the_embedded_pair_alone(place, monkeypatch):
    monkeypatch.setattr(rules, "_given", CLOSED)
    allowed.check_recipe(Recipe())
    allowed.check_recipe(Recipe(pruning=Pruning("wanda", 0.5), calibration="self"))
    for recipe in (Recipe("models/llama"), Recipe(pruned="owner/name"), Recipe(evaluation="texts/a.txt"),
                   Recipe(elsewhere="c4")):  # fmt: skip
        with pytest.raises(SettingError, match="This server reads no"):
            allowed.check_recipe(recipe)
    assert not allowed.may_export()
    with pytest.raises(SettingError, match="writes no checkpoints"):
        allowed.export_to("new")


def test_on_ones_own_machine_all_is_as_it_was(place, monkeypatch):
    monkeypatch.setattr(rules, "_given", OPEN)
    allowed.check_recipe(
        Recipe(str(place / "secret" / "model"), calibration="secret/b.txt", windows=4_096, length=32_768)
    )
    assert allowed.export_to("~/new") == Path("~/new").expanduser()
    allowed.check_training(10**6, 10**9)
    assert allowed.may_change(Run(place, {"owner": "they"}), "me")


# --- how much ----------------------------------------------------------------------------------------------------


def test_texts_longer_than_allowed_are_not_read(place, monkeypatch):
    given(monkeypatch, tokens=10_000)
    allowed.check_recipe(Recipe(windows=10, evaluated=10, captured=2, length=1_000))
    with pytest.raises(SettingError, match=r"11,000 tokens, and this server reads 10,000"):
        allowed.check_recipe(Recipe(windows=11, evaluated=10, captured=2, length=1_000))
    with pytest.raises(SettingError, match="take fewer"):
        allowed.check_recipe(Recipe(windows=10, length=None))


@pytest.fixture
def queue(monkeypatch):
    own = Jobs()
    for module in (training, sweeps):
        monkeypatch.setattr(module, "jobs", own)
    return own


def test_no_training_and_no_sweep_is_longer_than_allowed(place, monkeypatch, workspace, queue):
    given(monkeypatch, steps=10, tokens=100)
    picks = state.Picks(of_heads(workspace.lost.shape, [(0, 1)]))
    grid = Grid((0.5, 1.0), (None,), (0.1,), ("kl",), Settings(steps=6))
    asked = [
        training.start(workspace, picks, Settings(steps=11), "long", "me"),
        training.start(workspace, picks, Settings(steps=5), "much text", "me", sampled=100),
        sweeps.start(workspace, Plan(grid, workspace.lost.energy.sum(-1)), "me"),
    ]
    for job, says in zip(asked, ("trains 10 at once", "reads 100", "That is 12 steps"), strict=True):
        assert job.wait(SOON)
        assert says in job.error
    assert list_runs() == []


def test_what_is_kept_takes_no_more_than_allowed(place, monkeypatch):
    given(monkeypatch, disk=0.001)
    allowed.check_training(1)
    folder = runs_folder() / "one"
    folder.mkdir(parents=True)
    (folder / "big").write_bytes(b"0" * 1_000_000)
    os.symlink(folder, folder / "itself")  # is not followed
    for ask in (lambda: allowed.check_training(1), lambda: allowed.export_to("new"),
                lambda: allowed.check_recipe(Recipe(windows=9))):  # fmt: skip
        with pytest.raises(SettingError, match="Delete runs"):
            ask()
    allowed.check_recipe(Recipe())  # the embedded pair is there all the same
    allowed.check_training(1, kept=False)


def test_a_server_for_looking_keeps_nothing(place, monkeypatch, workspace, queue):
    given(monkeypatch, read_only=True, exports=(place / "exports",))
    job = training.start(workspace, state.Picks(of_heads(workspace.lost.shape, [(0, 1)])), Settings(steps=1), "x", "me")
    assert job.wait(SOON)
    assert "keeps no runs" in job.error
    assert list_runs() == []
    with pytest.raises(SettingError, match="writes no checkpoints"):
        allowed.export_to("new")
    assert not allowed.may_change(Run(place, {"owner": "me"}), "me")
    allowed.check_recipe(Recipe())
    with pytest.raises(SettingError, match="for looking"):
        allowed.check_recipe(Recipe(windows=95))


# --- whose -------------------------------------------------------------------------------------------------------


@pytest.fixture
def runs(pair, lost, tokens):
    """One of mine, one of theirs, one of nobody's."""
    trainer = Training(pair, lost, of_heads(lost.shape, [(0, 1)]), tokens, tokens, Settings(steps=1, batch=2))
    for _ in trainer.steps():
        pass
    kept = {}
    for owner in ("me", "they", ""):
        kept[owner] = save_run(trainer.result(), pair.geometry, owner or "nobody", {"owner": owner} if owner else {})
    return kept


@pytest.fixture
def me(monkeypatch):
    """A session of a browser's."""
    monkeypatch.setattr(state, "session", lambda: state.Session("me"))
    shown = []
    monkeypatch.setattr("app.widgets.feedback.refused", lambda error, *_: shown.append(str(error)))
    return shown


def test_ones_own_runs_alone_are_renamed_and_deleted(place, runs, me):
    for run in runs.values():
        trash.delete(run)
        one_run.st.session_state["new-name"] = "changed"
        one_run._renamed(run, "new-name")
    assert [run.name for run in discarded_runs()] == ["me"]
    assert {run.name for run in list_runs()} == {"they", "nobody"}
    assert sum("made by somebody else" in message for message in me) == 4


def test_the_page_offers_no_change_of_what_others_made(place, runs, workspace, monkeypatch):
    monkeypatch.setattr(open_pairs, "_open", OrderedDict({Recipe(): workspace}))
    app = AppTest.from_file(MAIN, default_timeout=60).run()
    app.switch_page("../../pages/compare.py").run()
    assert not app.exception
    assert app.button(key="delete-run").disabled
    monkeypatch.setattr(rules, "_given", OPEN)
    assert not app.run().button(key="delete-run").disabled


def test_a_run_is_of_the_browser_that_started_it(workspace, queue, place, monkeypatch):
    monkeypatch.setattr("app.work.training._figures", lambda *_: (yield from ()) or {})
    picks = state.Picks(of_heads(workspace.lost.shape, [(0, 1)]))
    job = training.start(workspace, picks, Settings(steps=1, batch=2), "mine", "me")
    assert job.wait(SOON)
    assert job.error == ""
    assert allowed.may_change(job.result, "me")
    assert not allowed.may_change(job.result, "they")


@pytest.mark.parametrize("said", [CLOSED, replace(CLOSED, read_only=True), OPEN])
def test_the_pair_page_says_what_the_server_is_for(monkeypatch, workspace, said):
    monkeypatch.setattr(rules, "_given", said)
    monkeypatch.setattr(open_pairs, "_open", OrderedDict({Recipe(): workspace}))
    app = AppTest.from_file(MAIN, default_timeout=60).run()
    app.switch_page("../../pages/pair.py").run()
    assert not app.exception
    assert [caption.value for caption in app.caption].count(said.said) == (said != OPEN)


def test_an_interrupted_training_is_of_who_began_it(place, me):
    facts = {"name": "begun", "about": {"owner": "they"}, "settings": {"steps": 3}}
    theirs = Unfinished(place / "run", facts, [])
    assert not allowed.may_change(theirs, "me")
    assert allowed.may_change(theirs, "they")
    interrupted._delete(theirs)
    interrupted._go_on(theirs, Recipe())
    assert sum("begun was made by somebody else" in message for message in me) == 2
    assert not allowed.may_change(Unfinished(place / "run", {}, []), "me")  # damaged, so nobody knows whose
