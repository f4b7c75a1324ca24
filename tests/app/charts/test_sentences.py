"""What one sees on a map of heads, in words, is what its numbers say."""

import torch

from app.charts.sentences import of_map, of_two
from restorelcc.inspection.beside import Beside
from restorelcc.selection.scores import SCORES


def test_a_loss_is_told_by_its_range_its_first_heads_and_its_depth():
    table = torch.tensor([[0.1, 0.2], [0.3, 0.2], [0.5, 0.9]])
    told = of_map(table, SCORES["relative_error"])
    assert told.startswith("From 0.10 to 0.90; half of the heads lie above 0.25. Highest: L2 H1, L2 H0, L1 H0.")
    assert told.endswith("It grows with depth: 0.15 on average in layer 0, 0.70 in layer 2.")
    assert "falls with depth: 0.70 on average in layer 0" in of_map(table.flip(0), SCORES["relative_error"])


def test_a_change_is_told_by_how_many_heads_help():
    table = torch.tensor([[-0.02, 0.01], [0.03, -0.01], [0.01, 0.04]])
    told = of_map(table, SCORES["predicted"])
    assert told.startswith("Of 6 heads 2 are below 0, where the model gets better: L0 H0, L1 H1, ")
    assert "(−0.0200)" in told
    assert "none would help" in of_map(table.abs(), SCORES["predicted"])


def test_what_is_not_known_is_not_told():
    nothing = torch.full((3, 2), torch.nan)
    assert of_map(nothing, SCORES["relative_error"]) == ""
    nothing[1, 0] = 0.25
    assert of_map(nothing, SCORES["relative_error"]) == (
        "From 0.25 to 0.25; half of the heads lie above 0.25. Highest: L1 H0."
    )


def test_two_maps_are_told_by_who_loses_more_where_and_whether_it_is_the_same_heads():
    first = torch.tensor([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]).double()
    second = first + torch.tensor([[0.1, -0.01], [0.05, 0.05], [0.4, 0.0]]).double()
    told = of_two(Beside(first, second), SCORES["relative_error"], ("A", "B"))
    assert told.startswith("B loses more than A in 4 of 6 heads, and less in 1. Furthest apart: L2 H0 (+0.400), L0 H0")
    assert told.endswith("Rank correlation +0.89: much the same heads come first in both.")
    opposite = of_two(Beside(first, -first), SCORES["predicted"], ("A", "B"))
    assert opposite.startswith("B has less than A in all 6 heads. Furthest")
    assert opposite.endswith("Rank correlation −1.00: heads that come first in one come last in the other.")
    assert of_two(Beside(first, first * torch.nan), SCORES["predicted"], ("A", "B")) == ""
