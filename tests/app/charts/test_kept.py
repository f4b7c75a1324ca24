"""Figures that are drawn once for the same data."""

from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import pytest
import torch
from streamlit.testing.v1 import AppTest
from torch import Tensor

from app.charts import kept
from app.charts.head_map import head_map
from app.session import state
from app.values.colours import DARK, LIGHT
from app.values.pages import PAGES
from app.work import open_pairs
from restorelcc.artifacts.findings import Recipe
from restorelcc.selection.scores import SCORES
from restorelcc.workspace import Workspace

MAIN = str(Path(__file__).resolve().parents[3] / "app" / "shell" / "rerun.py")
TABLE = torch.arange(12.0).view(3, 4)


@dataclass(frozen=True)
class Held:
    """What a chart may be given: a tensor inside something."""

    table: Tensor


@pytest.fixture
def counted():
    """A chart, and how often it was drawn."""
    drawn: list[object] = []

    @kept.drawn_once
    def chart(*args: object, **kwargs: object) -> go.Figure:
        drawn.append((args, kwargs))
        return go.Figure()

    return chart, drawn


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (TABLE, TABLE + 1),
        (TABLE, TABLE.double()),
        (TABLE, TABLE.view(4, 3)),
        (TABLE, TABLE.view(4, 3).T),
        (Held(TABLE), Held(TABLE.flip(0))),
        (pd.DataFrame({"a": [1.0]}), pd.DataFrame({"a": [2.0]})),
        (["1", "2"], ["12"]),
        (1, 1.5),
        (LIGHT, DARK),
        (SCORES["relative_error"], replace(SCORES["relative_error"], title="Another")),
    ],
    ids=["values", "precision", "shape", "order", "within", "frame", "words", "number", "colours", "measure"],
)
def test_the_same_data_is_one_figure_and_other_data_another(counted, first, second):
    chart, drawn = counted
    figures = [chart(first), chart(first), chart(second), chart(given=first), chart(first)]
    assert len(drawn) == 3
    assert figures[0] is figures[1] is figures[4]
    assert len({id(figure) for figure in figures}) == 3


def test_a_part_of_a_tensor_is_what_is_in_it(counted):
    chart, drawn = counted
    chart(TABLE[1])
    chart(TABLE[1].clone())
    assert len(drawn) == 1


def test_another_chart_of_the_same_data_is_another_figure(counted):
    chart, _ = counted
    assert chart(TABLE) is not kept.drawn_once(lambda table: go.Figure())(TABLE)


def test_only_so_much_is_kept(counted, monkeypatch):
    chart, drawn = counted
    monkeypatch.setattr(kept, "_figures", OrderedDict())
    monkeypatch.setattr(kept, "ROOM", 2.5 * len(go.Figure().to_json()))
    for number in (1, 2, 1, 3, 1, 2):
        chart(number)
    assert [args[0] for args, _ in drawn] == [1, 2, 3, 2]
    assert len(kept._figures) == 2


def test_a_map_of_other_picks_is_drawn_anew():
    measure = SCORES["relative_error"]
    plain, dotted = head_map(TABLE, measure, LIGHT), head_map(TABLE, measure, LIGHT, {(0, 1): 2})
    assert plain is not dotted
    assert plain is head_map(TABLE.clone(), measure, LIGHT)
    assert plain != dotted


def test_no_page_changes_what_everybody_sees(workspace: Workspace, monkeypatch: pytest.MonkeyPatch):
    """A presentation has larger letters, and two maps in step have one scale: of copies."""
    monkeypatch.setattr(open_pairs, "_open", open_pairs.OrderedDict({Recipe(): workspace}))
    monkeypatch.setattr(kept, "_figures", OrderedDict())
    app = AppTest.from_file(MAIN, default_timeout=60).run()
    session: state.Session = app.session_state["studio"]
    before: dict[bytes, str] = {}
    for _ in range(2):
        for page, step in [(page, "") for page in PAGES] + [("learn", str(number)) for number in range(1, 7)]:
            session.lesson = {"step": step} if step else {}
            app.switch_page(f"../../pages/{page}.py").run()
            assert not app.exception
        figures = {key: figure.to_json() for key, (figure, _) in kept._figures.items()}
        assert {key: figures[key] for key in before} == before
        before = figures
    assert before
