"""Picks, strategies, and JSON there and back."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from restorelcc.errors import SettingError
from restorelcc.selection.picks import (
    Selection,
    everything,
    of_heads,
    random_heads,
    top_components,
    top_heads,
)

SHAPE = (3, 4, 8)
picks = st.frozensets(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 7)))


@given(picks)
def test_json_and_mask_there_and_back(chosen):
    selection = Selection(SHAPE, chosen)
    assert Selection.from_json(selection.to_json()) == selection
    assert int(selection.mask().sum()) == len(selection) == len(chosen)


def test_whole_heads_are_short_in_json():
    data = json.loads(everything(SHAPE).to_json())
    assert data["picks"]["2.3"] == "all"
    assert len(everything(SHAPE)) == 96


def test_adding_and_removing():
    one = Selection(SHAPE, frozenset()).added([(0, 1, 2), (1, 1, 1)])
    assert one.heads == {(0, 1), (1, 1)}
    assert one.removed([(1, 1, 1), (2, 2, 2)]).picks == {(0, 1, 2)}


def test_top_heads_are_those_with_most():
    score = torch.arange(12.0).view(3, 4)
    assert top_heads(SHAPE, score, 2).heads == {(2, 3), (2, 2)}
    assert top_heads(SHAPE, score, 2, components=3).picks == {(2, h, i) for h in (2, 3) for i in range(3)}


def test_random_heads_are_repeatable_and_differ_by_seed():
    assert random_heads(SHAPE, 4, seed=1) == random_heads(SHAPE, 4, seed=1)
    assert len({random_heads(SHAPE, 4, seed).heads for seed in range(8)}) > 4
    assert len(random_heads(SHAPE, 4, seed=0).heads) == 4


def test_top_components_carry_most_energy(lost):
    chosen = top_components(lost, 10).mask()
    assert int(chosen.sum()) == 10
    assert lost.variance[chosen].min() >= lost.variance[~chosen].max()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1, "shape": [1], "picks": {}}', '{"format": 9}',
                                  '{"format": 1, "shape": [3, 4, 8], "picks": {"9.9": [0]}}',
                                  '{"format": 1, "shape": [3, 4, 8], "picks": {"x": [0]}}'])  # fmt: skip
def test_bad_json_is_one_kind_of_error(text):
    with pytest.raises(SettingError):
        Selection.from_json(text)


def test_impossible_picks_are_refused():
    with pytest.raises(SettingError, match="not within"):
        Selection(SHAPE, frozenset({(0, 0, 8)}))
    with pytest.raises(SettingError, match="there are 12"):
        top_heads(SHAPE, torch.zeros(3, 4), 13)
    with pytest.raises(SettingError, match="1 to 8"):
        of_heads(SHAPE, [(0, 0)], components=9)
