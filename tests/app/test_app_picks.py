"""Picks and factors, and their text for links."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from app.values.picks import Picks
from restorelcc.errors import SettingError
from restorelcc.selection.picks import Selection, everything, of_heads

SHAPE = (3, 12, 8)
pick = st.tuples(*(st.integers(0, count - 1) for count in SHAPE))
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, -1.0, 1.5, 2.0, 1e-7, 1e20, 1 / 3])


@st.composite
def any_picks(draw):
    """Single components, whole heads, all of them; some with a factor."""
    heads = draw(st.sets(st.tuples(st.integers(0, 2), st.integers(0, 11)), max_size=4))
    selection = draw(st.sampled_from([of_heads(SHAPE, heads), everything(SHAPE)]))
    factors = draw(st.dictionaries(pick, numbers.filter(lambda factor: factor != 1), max_size=5))
    picks = Picks(selection.added(draw(st.sets(pick))))
    for one, factor in factors.items():
        picks = picks.scaled(one, factor)
    return picks


@settings(deadline=None)  # the machine may be busy
@given(any_picks())
def test_text_there_and_back(picks):
    assert Picks.from_text(picks.to_text(), SHAPE) == picks


@settings(deadline=None)
@given(any_picks())
def test_weights_are_one_where_picked_and_the_factor_where_there_is_one(picks):
    weights = picks.weights()
    chosen = {one: picks.factor(one) for one in picks.selection.picks}
    expected = torch.zeros(SHAPE, dtype=torch.float64)
    for one, factor in chosen.items():
        expected[one] = factor
    assert torch.equal(weights, expected)


@pytest.mark.parametrize(
    ("picks", "text"),
    [
        (Picks.none(SHAPE), ""),
        (Picks(everything(SHAPE)), "all"),
        (Picks(of_heads(SHAPE, [(2, 3)])), "2.3"),
        (Picks(of_heads(SHAPE, [(2, 10), (2, 9)], 3)), "2.9_0-2~2.10_0-2"),
        (Picks(Selection(SHAPE, frozenset({(0, 1, 0), (0, 1, 2), (0, 1, 3)}))), "0.1_0_2-3"),
        (Picks.none(SHAPE).scaled((2, 5, 0), 1.5), "2.5_0*1.5"),
        (Picks(of_heads(SHAPE, [(1, 1)])).scaled((1, 1, 7), -2.0), "1.1_0-6_7*-2"),
    ],
)
def test_text_is_short(picks, text):
    assert picks.to_text() == text


@pytest.mark.parametrize(
    "text",
    ["x", "1", "1.", "-1.0", "0.0_", "0.0_x", "0.0_1-", "0.0_5-2", "0.0_1*", "0.0_1*x", "0.0_1*nan", "0.0_1*inf",
     "0.0_8", "0.0_0-8", "3.0", "0.12", "0.0_0*2~9.9", "ALL", "0.0 0.1", "0.0_1*1e999", "²." + "0",
     "0." + "9" * 5000, "0.0_0-" + "9" * 5000, "0.0_1*" + "9" * 5000],
)  # fmt: skip
def test_bad_text_is_one_kind_of_error(text):
    with pytest.raises(SettingError):
        Picks.from_text(text, SHAPE)


@settings(deadline=None)
@given(st.text(alphabet="0123456789._-*~ae+ ", max_size=12))
def test_any_text_is_read_or_refused(text):
    try:
        picks = Picks.from_text(text, SHAPE)
    except SettingError:
        return
    assert Picks.from_text(picks.to_text(), SHAPE) == picks


def test_a_factor_of_one_is_no_factor():
    plain = Picks(Selection(SHAPE, frozenset({(0, 0, 1)})))
    assert Picks.from_text("0.0_1*1", SHAPE) == plain
    assert plain.scaled((0, 0, 1), 2.0).scaled((0, 0, 1), 1.0) == plain


def test_factors_stay_where_the_component_stays():
    picks = Picks(of_heads(SHAPE, [(0, 0), (1, 1)], 3)).scaled((0, 0, 1), 2.0).scaled((1, 1, 1), 3.0)
    changed = picks.of_head(0, 0, [1, 5])
    assert changed.components_of(0, 0) == [1, 5]
    assert changed.components_of(1, 1) == [0, 1, 2]
    assert changed.factors == picks.factors
    assert changed.of_head(0, 0, []).factors == (((1, 1, 1), 3.0),)
    assert len(changed) == 5


@settings(deadline=None)
@given(st.permutations([((0, 0, 0), 2.0), ((1, 1, 1), 3.0), ((2, 2, 2), 0.5)]))
def test_the_order_of_picking_does_not_matter(order):
    picks = Picks.none(SHAPE)
    for one, factor in order:
        picks = picks.scaled(one, factor)
    assert picks.factors == tuple(sorted(order))
    assert len({picks, Picks(picks.selection, tuple(sorted(order)))}) == 1


class Counted(frozenset):
    """Counts how often it is gone through."""

    times = 0

    def __iter__(self):
        Counted.times += 1
        return super().__iter__()


def test_the_text_of_many_heads_goes_through_the_picks_once():
    """Every rerun of a page writes the link; of a 7 B model half of whose heads are picked there are 65,536 picks."""
    shape = (32, 32, 16)
    picks = Picks(
        Selection(
            shape, Counted(of_heads(shape, [(layer, 2 * head) for layer in range(32) for head in range(16)]).picks)
        )
    )
    Counted.times = 0
    text = picks.to_text()
    assert Counted.times == 1
    assert Picks.from_text(text, shape) == picks
    assert text.startswith("0.0~0.2~0.4~")


@settings(deadline=None)
@given(any_picks())
def test_picks_by_layer_are_all_that_is_put_back(picks):
    weights = torch.zeros(SHAPE, dtype=torch.float64)
    for layer, put_back in picks.by_layer().items():
        assert put_back == tuple(sorted(put_back)) != ()
        for head, component, factor in put_back:
            weights[layer, head, component] = factor
    assert torch.equal(weights, picks.weights())
