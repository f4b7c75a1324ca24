"""Runs that a disk garbled or others wrote: listed with what is wrong, deletable, and no page or command breaks."""

import json
import random
import shutil
import sys
from collections import OrderedDict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from app.session import state
from app.values import run_facts
from app.work import open_pairs
from restorelcc.artifacts.findings import Recipe, recipe_written
from restorelcc.artifacts.runs import bring_back, discard_run, list_runs, load_run, runs_folder, save_run
from restorelcc.cli.commands import listing
from restorelcc.errors import LoadError
from restorelcc.restoration.settings import Settings
from restorelcc.restoration.training import Training
from restorelcc.selection.picks import top_components
from restorelcc.workspace import Workspace

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fuzz"))
from damage import files, garbled

MAIN = str(Path(__file__).parents[2] / "app" / "shell" / "rerun.py")
CASES = 90
PARTS = ("config.json", "metrics.jsonl", "training.safetensors", "adapter/restorelcc.json",
         "adapter/compensation.safetensors")  # fmt: skip


@pytest.fixture
def run(workspace: Workspace):
    pair = workspace.pair()
    chosen = Settings(steps=3, batch=2, evaluate_every=1)
    picks = top_components(workspace.lost, 6)
    training = Training(pair, workspace.lost, picks, workspace.training, workspace.held_out, chosen)
    list(training.steps())
    side = {"perplexity": 9.0, "stderr": 0.5, "tokens": 60}
    figures = {"dense": side, "pruned": side, "restored": side, "gain": {"nats": 0.1, "stderr": 0.01}}
    about = {
        "dense": "demo",
        "pruned": "wanda 60 %",
        "recipe": recipe_written(workspace.recipe),
        "calibration": {"source": "demo", "windows": 4, "length": 16},
        "held_out": {"dense": side, "pruned": side},
        "names": {"0.0.0": "speech"},
        "parameters": 10_000,
        "figures": figures | {"recovered_share": 0.3, "share_stderr": 0.1},
    }
    return save_run(training.result(), pair.geometry, "good", about)


@st.composite
def damages(draw: st.DrawFn, folder: Path) -> tuple[str, bytes | None]:
    """(a file of the run, what it holds instead; None: it is not there)."""
    name = draw(st.sampled_from([*PARTS, "config.json", "config.json"]))
    content = (folder / name).read_bytes()
    if name.endswith(".json"):
        return name, draw(files(content))
    if name.endswith(".jsonl"):
        first, *rest = content.splitlines()
        damaged = files(first).map(lambda line: b"\n".join([line, *rest]))
        return name, draw(st.one_of(damaged, garbled(content), st.none()))
    return name, draw(st.one_of(garbled(content), st.none()))


def drawn(folder: Path, count: int, number: int) -> list[tuple[str, bytes | None]]:
    """`count` damages, the same for the same number."""
    found: list[tuple[str, bytes | None]] = []

    @seed(number)
    @settings(max_examples=count, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(damages(folder))
    def draw(damage):
        found.append(damage)

    draw()
    return found


def damaged(run, name: str, content: bytes | None, place: str) -> Path:
    """A copy of the run beside it, with one file changed."""
    folder = run.folder.with_name(place)
    shutil.copytree(run.folder, folder)
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    return folder


def page(name: str, seen: str) -> AppTest:
    app = AppTest.from_file(MAIN, default_timeout=60)
    app.session_state["studio"] = state.Session(owner="somebody", run=seen)
    app.session_state["link-read"] = True
    app.run().switch_page(f"../../pages/{name}.py").run()
    assert not app.exception, (seen, [part.value for part in app.exception])
    return app


def test_every_damage_is_listed_or_harmless(run, capsys):
    cases = drawn(run.folder, CASES, 17)
    for number, (name, content) in enumerate(cases):
        damaged(run, name, content, f"case-{number}")
    kept = list_runs()
    assert len(kept) == len(cases) + 1
    assert sum(bool(each.damage) for each in kept) > len(cases) / 2
    for each in kept:
        assert "\n" not in each.damage
        assert len(each.damage) <= 500
        run_facts.table([each], run_facts.differing([each])[1], {})
        run_facts.recipe_of(each)
        for read in (each.metrics, each.trained, each.adapter, lambda each=each: (each.settings, each.selection)):
            try:
                read()
            except LoadError:
                assert each.damage
    assert not next(each for each in kept if each.folder == run.folder).damage
    listing.runs(as_json=True)
    told = json.loads(capsys.readouterr().out)["runs"]
    assert {each["folder"]: each["damage"] for each in told} == {str(each.folder): each.damage or None for each in kept}
    listing.runs(as_json=False)
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("Damaged: case-") == sum(bool(each.damage) for each in kept)


def test_what_is_damaged_can_be_deleted_and_brought_back(run):
    for number, (name, content) in enumerate(drawn(run.folder, 12, 4)):
        if content is None and name == "config.json":
            continue
        folder = damaged(run, name, content, f"case-{number}")
        before = (folder / name).read_bytes() if (folder / name).exists() else None
        gone = discard_run(next(each for each in list_runs() if each.folder == folder))
        assert not folder.exists()
        assert bring_back(gone).folder == folder
        assert ((folder / name).read_bytes() if (folder / name).exists() else None) == before


def test_a_config_that_says_nothing_is_a_damaged_run(run):
    folder = damaged(run, "config.json", b'{"format": 1}', "nothing")
    assert "settings is missing" in load_run(folder).damage


@pytest.mark.parametrize("number", range(4))
def test_pages_show_damaged_runs(run, workspace, monkeypatch, number):
    monkeypatch.setattr(open_pairs, "_open", OrderedDict({Recipe(): workspace}))
    cases = [("config.json", b'{"format": 1}'), *drawn(run.folder, 12, number)]
    for index, (name, content) in enumerate(cases):
        damaged(run, name, content, f"case-{index}")
    bad = [each.folder.name for each in list_runs() if each.damage]
    app = page("compare", "case-0")
    assert {button.key for button in app.button if (button.key or "").startswith("delete-damaged-")} == {
        f"delete-damaged-{name}" for name in bad
    }
    app.button(key=f"delete-damaged-{bad[0]}").click().run()
    assert not app.exception
    assert not (runs_folder() / bad[0]).exists()
    for name in random.Random(number).sample(bad[1:], 3):
        app.session_state["compare-run"] = name
        app.run()
        assert not app.exception
        page("restore", name)
