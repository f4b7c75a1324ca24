"""What the server does for whoever names it: pickled weights and code that comes with a model are permitted on its
command line and nowhere else, and of its files only text is read."""

import os
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.values import permits
from app.work import open_pairs
from app.work.jobs import Jobs
from restorelcc.artifacts.findings import Recipe
from restorelcc.models.loading import Loading
from restorelcc.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
SOME = [(), ("--allow-pickle",), ("--trust-remote-code",), ("--trust-remote-code", "--allow-pickle")]


@pytest.fixture(autouse=True)
def nothing_given(monkeypatch):
    monkeypatch.setattr(permits, "_given", permits.Permits())


@pytest.mark.parametrize("flags", SOME)
@pytest.mark.parametrize("asked", [Loading("cpu"), Loading("cpu", allow_pickle=True, trust_remote_code=True)])
def test_a_pair_is_opened_with_what_the_server_permits_whatever_is_asked_for(monkeypatch, workspace, flags, asked):
    opened = []

    def opens(recipe):
        opened.append(recipe.loading)
        yield from ()
        return Workspace(recipe, workspace.findings)

    monkeypatch.setattr(open_pairs, "open_workspace", opens)
    monkeypatch.setattr(open_pairs, "jobs", Jobs())
    monkeypatch.setattr(open_pairs, "_open", OrderedDict())
    permits.give(flags)
    for recipe in (Recipe("a/b", loading=asked), Recipe(pruned="a/b", loading=asked)):
        assert open_pairs.opening(recipe, "me").wait(10)
        assert open_pairs.workspace(recipe) is not None
    for loading in opened:
        assert loading.allow_pickle == ("--allow-pickle" in flags)
        assert loading.trust_remote_code == ("--trust-remote-code" in flags)
    assert len(opened) == 2


@pytest.mark.parametrize("argument", ["--allow-pickles", "--trust-remote-code=1", "allow_pickle", ""])
def test_what_is_not_known_permits_nothing(argument):
    with pytest.raises(ValueError, match="is not known"):
        permits.give(["--allow-pickle", argument])
    assert permits.given() == permits.Permits()


@pytest.mark.parametrize("flags", SOME)
def test_the_page_says_how_it_is_permitted_and_has_no_control_for_it(monkeypatch, workspace, flags):
    monkeypatch.setattr(open_pairs, "_open", OrderedDict({Recipe(): workspace}))
    permits.give(flags)
    app = AppTest.from_file(str(ROOT / "app" / "shell" / "rerun.py"), default_timeout=60).run()
    app.switch_page("../../pages/pair.py").run()
    app.radio(key="pair-way").set_value("two").run()
    assert not app.exception
    assert not [toggle.label for toggle in app.toggle if "pickle" in toggle.label or "code" in toggle.label]
    told = next(caption.value for caption in app.caption if caption.value.startswith("This server"))
    assert ("no pickled weights" in told) == ("--allow-pickle" not in flags)
    assert ("runs no code" in told) == ("--trust-remote-code" not in flags)
    for flag in permits.FLAGS:
        assert (flag in told) == (flag not in flags)  # how to start it, where that is not how it was started


@pytest.mark.parametrize("purpose", ["calibration", "evaluation"])
@pytest.mark.parametrize("name", ["/proc/self/environ", "{}/token"])
def test_a_link_that_names_a_secret_of_the_server_is_told_off_and_shows_none_of_it(
    monkeypatch, tmp_path, purpose, name
):
    monkeypatch.setattr(open_pairs, "_open", OrderedDict())
    (tmp_path / "token").write_text("hf_secret and more words to read\n" * 50)
    app = AppTest.from_file(str(ROOT / "app" / "shell" / "rerun.py"), default_timeout=60)
    app.query_params[purpose] = name.format(tmp_path)
    recipe = Recipe(**{purpose: name.format(tmp_path)})
    app.run()
    job = open_pairs.jobs.find(("open", recipe))
    assert job.wait(30)
    app.run()
    assert not app.exception
    shown = [error.value for error in app.error]
    assert any(part in shown[0] for part in ("what the operating system says of itself", "Name it .txt"))
    assert "hf_secret" not in str(app)


@pytest.mark.parametrize(
    ("said", "answer"),
    [(["--allow-pickles"], "'--allow-pickles' is not known"), (["--studio", "none.toml"], "none.toml cannot be read")],
)
def test_a_server_asked_for_what_it_does_not_know_says_so_and_does_not_start(tmp_path, said, answer):
    places = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "streamlit", "run", "app/main.py", "--server.port", "0", "--", *said]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | places, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert answer in done.stderr
    assert "Traceback" not in done.stderr
