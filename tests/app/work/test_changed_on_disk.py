"""A checkpoint that is overwritten while it is open: said, opened anew, and nothing of that before is shown for it."""

import os
import shutil
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from conftest import rewritten
from streamlit.testing.v1 import AppTest

from app.views.restore import exports
from app.work import open_pairs, scores
from app.work.jobs import Jobs, State
from restorelcc.artifacts.findings import Recipe, recipe_read, recipe_written
from restorelcc.artifacts.runs import Run
from restorelcc.errors import LoadError
from restorelcc.models.loading import Loading
from restorelcc.workspace import stamp_of

MAIN = str(Path(__file__).resolve().parents[3] / "app" / "shell" / "rerun.py")


@pytest.fixture
def recipe(folders, text, monkeypatch):
    monkeypatch.setattr(open_pairs, "_open", OrderedDict())
    monkeypatch.setattr(open_pairs, "jobs", Jobs())
    dense, pruned = map(str, folders)
    texts = {"calibration": str(text), "evaluation": str(text), "elsewhere": str(text)}
    return Recipe(dense=dense, pruned=pruned, length=16, captured=4, windows=8, evaluated=4, **texts)


def opened(recipe):
    job = open_pairs.opening(recipe, "me")
    assert job.wait(120)
    assert job.state == State.DONE, job.error
    return open_pairs.workspace(recipe)


def overwrite(recipe):
    def halve(state):
        state["model.layers.1.self_attn.o_proj.weight"] /= 2

    rewritten(Path(recipe.pruned), halve)


def test_it_is_opened_anew_and_results_of_the_one_before_are_not_taken_for_its_own(recipe):
    before = opened(recipe)
    assert opened(recipe) is before
    assert not open_pairs.changed(recipe)
    scores.keep(before.recipe, "predicted", "found")
    overwrite(recipe)
    assert open_pairs.changed(recipe)
    after = opened(recipe)
    assert after is not before
    assert not open_pairs.changed(recipe)
    assert not torch.equal(after.findings.live_pruned.nll, before.findings.live_pruned.nll)
    assert scores.known(before.recipe, "predicted") == "found"
    assert scores.known(after.recipe, "predicted") is None
    assert recipe_written(after.recipe) == recipe_written(recipe)


def test_models_that_changed_are_not_loaded_for_what_was_found_before(recipe):
    workspace = opened(recipe)
    workspace.forget_models()
    workspace.pair()
    workspace.forget_models()
    overwrite(recipe)
    with pytest.raises(LoadError, match="changed on disk since the pair was opened"):
        workspace.pair()


def test_the_pair_page_says_so_and_offers_to_open_it_again(recipe):
    opened(recipe)
    app = AppTest.from_file(MAIN, default_timeout=60)
    for name, value in recipe_written(recipe).items():
        app.query_params[name] = value
    app.run()
    app.switch_page("../../pages/pair.py").run()
    assert not app.exception
    assert not any("changed on disk" in warning.value for warning in app.warning)
    overwrite(recipe)
    app.run()
    assert not app.exception
    assert any("changed on disk since it was opened" in warning.value for warning in app.warning)


def test_the_stamp_names_models_and_texts_as_they_are_now(recipe, text):
    before = stamp_of(recipe)
    assert before == stamp_of(recipe)
    assert stamp_of(Recipe()) == ""
    os.utime(text, ns=(1, 1))
    texts = stamp_of(recipe)
    overwrite(recipe)
    assert len({before, texts, stamp_of(recipe)}) == 3
    shutil.rmtree(recipe.pruned)
    assert stamp_of(recipe) not in (before, texts)


def test_one_device_has_one_name(monkeypatch):
    assert Recipe(loading=Loading("auto")) == Recipe(loading=Loading(Loading().resolved_device())) == Recipe()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    names = ("auto", "cuda", "cuda:0")
    recipes = {Recipe(loading=Loading(name)) for name in names}
    assert len(recipes) == 1
    assert recipe_written(recipes.pop()) == {}
    other = Recipe(loading=Loading("cuda:1"))
    assert recipe_written(other) == {"device": "cuda:1"}
    assert recipe_read(recipe_written(other)) == other
    assert recipe_written(Recipe(loading=Loading("map"))) == {"device": "map"}


def test_an_adapter_that_is_gone_fails_no_download(tmp_path):
    run = Run(tmp_path / "gone", {"name": "mine"})
    content = exports.zipped(run.folder / "adapter")
    assert content.startswith(b"PK")
    assert b"NOT WHOLE" in content

    def page():
        from pathlib import Path

        from app.views.restore import exports
        from restorelcc.artifacts.runs import Run

        exports.adapter_button(Run(Path("/nowhere/gone"), {"name": "mine"}), "result")

    app = AppTest.from_function(page, default_timeout=60).run()
    assert not app.exception
    (button,) = app.get("download_button")
    assert button.proto.disabled
    assert "gone" in button.proto.help
