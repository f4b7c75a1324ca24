"""The order of heads that are restored together, against every set computed plainly."""

from itertools import combinations

import pytest
import torch
from torch import Tensor

from restorelcc.selection.greedy import DAMPING, in_turn

LAYERS, HEADS, WIDTH, FACTORS = 2, 3, 4, 5


@pytest.fixture
def drawn() -> tuple[Tensor, Tensor, Tensor]:
    """(gradient, factors, floor)."""
    generator = torch.Generator().manual_seed(0)
    gradient = torch.randn(LAYERS, HEADS, WIDTH, generator=generator)
    factors = torch.randn(FACTORS, LAYERS, HEADS, WIDTH, generator=generator)
    return gradient, factors, 0.1 + torch.rand(LAYERS, HEADS, generator=generator)


def lowest(drawn: tuple[Tensor, Tensor, Tensor], heads: tuple[int, ...]) -> float:
    """The least that a set of heads makes of g·c + ½ c·(F + λ)c, by solving for c in full."""
    gradient, factors, floor = (part.double() for part in drawn)
    if not heads:
        return 0.0
    g = gradient.flatten(0, 1)[list(heads)].flatten()
    x = factors.flatten(1, 2)[:, list(heads)].flatten(1)
    damped = DAMPING * floor.flatten()[list(heads)].repeat_interleave(gradient.shape[-1])
    return float(-g @ torch.linalg.solve(x.T @ x + torch.diag(damped), g) / 2)


def test_each_head_is_the_best_beside_those_before_it(drawn: tuple[Tensor, Tensor, Tensor]):
    found = in_turn(*drawn).flatten()
    order = found.argsort().tolist()
    for count in range(1, LAYERS * HEADS):
        before = tuple(order[: count - 1])
        left = [head for head in range(LAYERS * HEADS) if head not in before]
        assert order[count - 1] == min(left, key=lambda head: lowest(drawn, (*before, head)))


def test_values_are_what_is_still_to_be_won(drawn: tuple[Tensor, Tensor, Tensor]):
    found = in_turn(*drawn).flatten()
    order, most = found.argsort().tolist(), lowest(drawn, tuple(range(LAYERS * HEADS)))
    for turn, head in enumerate(order):
        assert float(found[head]) == pytest.approx(most - lowest(drawn, tuple(order[:turn])), abs=1e-9)
    assert (found < 0).all()


def test_of_two_heads_that_do_the_same_one_comes_late():
    """Heads 0 and 1 are one and the same and the best alone; head 2 is worse alone, but adds something."""
    gradient = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 0.8]]])
    factors = torch.tensor([[[[9.0, 0.0], [9.0, 0.0], [0.0, 0.0]]], [[[0.0, 0.0], [0.0, 0.0], [0.0, 9.0]]]])
    found = in_turn(gradient, factors, torch.full((1, 3), 0.01))
    assert found.flatten().argsort().tolist() == [0, 2, 1]
    alone = [lowest((gradient, factors, torch.full((1, 3), 0.01)), (head,)) for head in range(3)]
    assert alone[1] < alone[2]


def test_it_is_nearly_the_best_of_all_sets(drawn: tuple[Tensor, Tensor, Tensor]):
    order = in_turn(*drawn).flatten().argsort().tolist()
    best = min(lowest(drawn, heads) for heads in combinations(range(LAYERS * HEADS), 3))
    assert lowest(drawn, tuple(order[:3])) <= 0.9 * best


def test_a_head_that_moves_nothing_is_last(drawn: tuple[Tensor, Tensor, Tensor]):
    gradient, factors, floor = (part.clone() for part in drawn)
    gradient[0, 1], factors[:, 0, 1], floor[0, 1] = 0.0, 0.0, 1.0
    found = in_turn(gradient, factors, floor)
    assert found.argmax() == 1
    assert found[0, 1] == pytest.approx(0.0, abs=1e-9)
