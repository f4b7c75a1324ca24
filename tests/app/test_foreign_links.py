"""Links made for another pair: what this one lacks is named in one message and left out, and no page breaks."""

import re
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from streamlit.testing.v1 import AppTest

from app.values.pages import PAGES
from app.work import open_pairs
from restorelcc.artifacts.findings import Recipe
from restorelcc.workspace import Workspace

MAIN = str(Path(__file__).parents[2] / "app" / "shell" / "rerun.py")
LINKS = [
    {"head": "90.2"},
    {"head": "0.31", "component": "127"},
    {"component": "999999"},
    {"picks": "17.3-5:2"},
    {"head": "90.2", "picks": "80.1", "names": "80.1.0=speech"},
]


@pytest.mark.parametrize("link", LINKS, ids=str)
def test_no_page_breaks(workspace, monkeypatch, link):
    monkeypatch.setattr(open_pairs, "_open", OrderedDict({Recipe(): workspace}))
    app = AppTest.from_file(MAIN, default_timeout=60)
    for name, value in link.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    assert len(app.error) == 1
    for page in PAGES:
        app.switch_page(f"../../pages/{page}.py").run()
        assert not app.exception
        assert not app.error


def opened(workspace, monkeypatch, **link):
    """The app at a link, whose pair is open."""
    monkeypatch.setattr(open_pairs, "_open", OrderedDict({Recipe(): workspace}))
    app = AppTest.from_file(MAIN, default_timeout=60)
    for name, value in link.items():
        app.query_params[name] = value
    return app.run()


def test_what_cannot_be_read_stays_in_view_until_it_is_dismissed(workspace, monkeypatch):
    app = opened(workspace, monkeypatch, head="nine", metric="shininess", picks="9.9")
    said = r"measure 'shininess', head 'nine' cannot be read and are left out\. .*9, 9"
    for _ in range(2):  # reruns come by themselves
        assert re.search(said, app.error[0].value.replace("\\", ""))
        app.run()
    app.button(key="dismiss-said").click().run()
    assert not app.error
    assert not app.exception


@pytest.mark.parametrize("page", ["compare", "restore"])
def test_a_run_that_is_gone_is_said_and_no_other_taken_for_it(workspace, monkeypatch, page):
    monkeypatch.setattr(open_pairs, "_open", OrderedDict({Recipe(): workspace}))
    app = AppTest.from_file(MAIN, default_timeout=60)
    app.query_params["run"] = "2020-lost_one"
    app.run()
    app.switch_page(f"../../pages/{page}.py").run()
    told = [each.value.replace("\\", "") for each in (*app.warning, *app.info)]
    assert any("that the link names" in text and "kept here" in text for text in told)
    assert not app.exception


def test_one_model_twice_is_said_on_every_page(workspace, monkeypatch):
    same = Workspace(Recipe(), replace(workspace.findings, live_pruned=workspace.findings.live_dense), workspace.pair())
    app = opened(same, monkeypatch)
    assert any("one model given twice" in each.value for each in app.warning)
    assert not app.exception


def test_models_that_look_swapped_are_swapped_by_one_button(workspace, monkeypatch):
    found, recipe = workspace.findings, Recipe("sparse", "full")
    better = replace(found.live_dense, nll=found.live_dense.nll + 1 + 0.1 * torch.rand_like(found.live_dense.nll))
    names = {"dense_name": "sparse", "pruned_name": "full"}
    swapped = Workspace(recipe, replace(found, live_dense=better, live_pruned=found.live_dense,
                                        pruned_size=found.dense_size, **names), workspace.pair())  # fmt: skip
    asked = []
    monkeypatch.setattr(open_pairs, "opening", lambda recipe, owner: asked.append(recipe) or SimpleNamespace(id=""))
    monkeypatch.setattr(open_pairs, "_open", OrderedDict({recipe: swapped}))
    app = AppTest.from_file(MAIN, default_timeout=60)
    app.query_params["dense"], app.query_params["pruned"] = "sparse", "full"
    app.run()
    assert any("they look swapped" in each.value for each in app.warning)
    app.button(key="swap").click().run()
    assert asked == [Recipe("full", "sparse")]
