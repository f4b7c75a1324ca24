"""Two pairs beside each other: values, their difference, the correlation of ranks, and shapes that do not fit."""

import math

import pandas as pd
import pytest
import torch

from restorelcc.errors import PairMismatch
from restorelcc.inspection.beside import beside, rank_correlation


def test_the_difference_is_the_second_less_the_first():
    first, second = torch.rand(3, 4), torch.rand(3, 4)
    both = beside(first, second, ("one", "other"))
    torch.testing.assert_close(both.first + both.difference, second.double())
    assert both.agreement == rank_correlation(first, second)


def test_pairs_of_another_shape_are_refused_in_a_line_that_names_both():
    with pytest.raises(PairMismatch, match="one has 3 layers of 4 heads, other has 4 layers of 3 heads"):
        beside(torch.zeros(3, 4), torch.zeros(4, 3), ("one", "other"))


@pytest.mark.parametrize("seed", range(5))
def test_the_rank_correlation_is_that_of_pandas_with_ties_and_what_is_not_known(seed):
    drawn = torch.Generator().manual_seed(seed)
    first, second = (torch.randint(0, 9, (5, 8), generator=drawn).double() for _ in range(2))
    first[0, :3] = torch.nan
    second[1, 2] = torch.inf
    frame = pd.DataFrame({"a": first.flatten(), "b": second.flatten()}).replace([math.inf], math.nan).dropna()
    assert rank_correlation(first, second) == pytest.approx(frame["a"].rank().corr(frame["b"].rank()))
    assert rank_correlation(first, first.exp()) == pytest.approx(1)


def test_nothing_agrees_with_what_is_constant_or_of_two_heads():
    assert math.isnan(rank_correlation(torch.ones(2, 2), torch.rand(2, 2)))
    assert math.isnan(rank_correlation(torch.tensor([0.1, 0.2, torch.nan]), torch.rand(3)))
