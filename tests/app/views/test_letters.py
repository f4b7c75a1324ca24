"""Whatever others named shows letter by letter on every page: whoever draws a name anew without escaping it fails here.

Names hold QQ, so that they can be found in everything that a page sends to the browser.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import WORDS, make_tokenizer
from google.protobuf.message import Message
from streamlit.testing.v1 import AppTest

from app.session import state
from app.values.verbatim import in_figure, in_html, in_markdown
from app.widgets import feedback
from app.work import open_pairs
from app.work.jobs import Job, State
from restorelcc.artifacts.findings import Recipe, recipe_written
from restorelcc.artifacts.runs import save_run
from restorelcc.models.pair import paired
from restorelcc.progress import Progress
from restorelcc.restoration.settings import Settings
from restorelcc.restoration.training import Training
from restorelcc.selection.picks import everything
from restorelcc.workspace import Workspace

MAIN = str(Path(__file__).resolve().parents[3] / "app" / "shell" / "rerun.py")
NAMES = (
    "QQ<b>x</b> $y$ **z**",
    ":red[QQ] :material/x: :smile: `a` &lt;",
    "QQ [a](b) __c__ -> www.a.example",
)
TOKENS = ("<QQ>", "<br>QQ", "&lt;QQ;", "$QQ$", "**QQ**", ":QQ:", "QQ_a_", "`QQ`", "[QQ](b)", "%{QQ}")
VOCABULARY = tuple(f"{TOKENS[index % len(TOKENS)]}{index}" for index in range(len(WORDS)))
# Fields whose text the browser shows as it is, or does not show.
AS_IT_IS = {
    "options", "raw_values", "placeholder", "value", "default", "raw_value", "alt", "id", "url", "file_name", "key",
    "user_key", "string_value", "query_string", "set_value", "form_id", "code_text",
}  # fmt: skip


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def foreign(workspace: Workspace, name: str, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A pair whose names, text and tokens are all others' affair."""
    models = workspace.pair()
    pair = paired(models.dense, models.pruned, make_tokenizer(list(VOCABULARY)), name, name)
    found = replace(workspace.findings, dense_name=name, pruned_name=name)
    opened = Workspace(Recipe(dense=name, pruned=name, calibration=name, evaluation=name), found, pair)
    monkeypatch.setattr(open_pairs, "_open", open_pairs.OrderedDict({opened.recipe: opened, Recipe(): workspace}))
    return opened


@pytest.fixture
def run(foreign: Workspace, name: str):
    models, selection = foreign.pair(), everything(foreign.lost.shape)
    training = Training(
        models,
        foreign.lost,
        selection,
        foreign.training,
        foreign.held_out,
        Settings(steps=2, batch=2, evaluate_every=1),
    )
    list(training.steps())
    side = {"perplexity": 9.0, "stderr": 0.5, "tokens": 60}
    recipe = recipe_written(foreign.recipe)
    about = {"dense": name, "pruned": name, "recipe": recipe, "calibration": {"source": name}, "names": {"0.0.0": name}}
    figures = {"dense": side, "pruned": side, "restored": side, "recovered_share": 0.3}
    return save_run(training.result(), models.geometry, name, about | {"figures": figures})


def opened(foreign: Workspace, name: str, page: str, **seen: object) -> AppTest:
    app = AppTest.from_file(MAIN, default_timeout=60)
    app.session_state["link-read"] = True
    app.session_state["studio"] = state.Session(
        owner="somebody", recipe=foreign.recipe, head=(1, 2), names={(1, 2, 0): name}, **seen
    )
    app.run().switch_page(f"../../pages/{page}.py").run()
    assert not app.exception
    return app


def strings(message: Message, path: str = "") -> Iterator[tuple[str, str]]:
    """(field, text) of everything in a message."""
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            continue
        for item in value if field.is_repeated else [value]:
            if isinstance(item, Message):
                yield from strings(item, field.name)
            elif isinstance(item, str):
                yield field.name, item


def texts_of(figure: object) -> Iterator[str]:
    if isinstance(figure, dict):
        for key, value in figure.items():
            if key != "bdata":
                yield from texts_of(value)
    elif isinstance(figure, list):
        for value in figure:
            yield from texts_of(value)
    elif isinstance(figure, str):
        yield figure


def everywhere(app: AppTest) -> Iterator[tuple[str, str, str]]:
    """(element, field, text) of all that a page sends."""
    for node in app._tree:
        proto = getattr(node, "proto", None)
        if isinstance(proto, Message):
            kind = getattr(node, "type", type(node).__name__)
            for field, text in strings(proto):
                yield kind, field, text


def shown_raw(app: AppTest, *names: str) -> list[tuple[str, str, str]]:
    """Where any of the names is not escaped for the place."""
    raw = []
    for kind, field, text in everywhere(app):
        if "QQ" not in text or field in AS_IT_IS:
            continue
        parts, escape = [text], in_markdown
        if kind == "plotly_chart" and field == "spec":
            parts, escape = list(texts_of(json.loads(text))), in_figure
        elif kind == "html":
            escape = in_html
        for part in parts:
            for name in sorted(names, key=len, reverse=True):
                part = part.replace(escape(name), "")
            if "QQ" in part:
                raw.append((kind, field, part))
    return raw


@pytest.mark.parametrize("page", ["pair", "heads", "components", "restore", "compare"])
def test_every_name_is_shown_letter_by_letter(foreign, run, name, page):
    app = opened(foreign, name, page, run=run.folder.name)
    assert any("QQ" in text for _, _, text in everywhere(app))
    assert shown_raw(app, name, *VOCABULARY) == []


def test_a_run_whose_pair_is_not_open_is_named_letter_by_letter(foreign, run, name, monkeypatch):
    others = open_pairs.OrderedDict({Recipe(): open_pairs.workspace(Recipe())})
    monkeypatch.setattr(open_pairs, "_open", others)
    app = AppTest.from_file(MAIN, default_timeout=60).run().switch_page("../../pages/compare.py").run()
    assert any("its pair must be open" in part.value for part in app.markdown)
    assert shown_raw(app, name) == []


def test_the_walk_finds_what_is_not_escaped(foreign, run, name, monkeypatch):
    monkeypatch.setattr("app.views.restore.result.in_markdown", str)
    assert shown_raw(opened(foreign, name, "restore", run=run.folder.name), name) != []


def test_what_a_job_says_is_shown_letter_by_letter(name):
    job = Job(f"Restoring {name}", "me", "cpu", lambda job: iter(()))
    for state_, stopping in ((State.QUEUED, False), (State.RUNNING, False), (State.RUNNING, True)):
        job.state, job.progress = state_, Progress(f"loading {name}", 0, 1)
        if stopping:
            job._stop.set()
        assert in_markdown(f"Restoring {name}") in feedback.doing(job)
