"""Links made for another pair: what this one lacks is named in one message and left out, and no page breaks."""

from collections import OrderedDict
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.values.pages import PAGES
from app.work import open_pairs
from restorelcc.artifacts.findings import Recipe

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
