"""The map of heads is whole on one screen, with a point to click in every cell, whatever the shape of the model."""

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

from app.charts.head_map import head_map, head_maps
from app.values.colours import LIGHT
from restorelcc.selection.scores import SCORES

MEASURE = SCORES["relative_error"]
SHAPES = [(8, 8), (30, 9), (80, 64), (3, 4), (32, 32), (4, 40)]


def cells(figure: go.Figure) -> np.ndarray:
    """Values as drawn, from the top left."""
    return np.array(figure.data[0].z, dtype=float)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("narrow", [False, True])
def test_every_head_has_its_cell_and_its_point_above_it(shape: tuple[int, int], narrow: bool):
    table = torch.rand(shape, dtype=torch.float64)
    table[1, 2] = torch.nan
    figure = head_map(table, MEASURE, LIGHT, {(1, 3): 2}, (2, 1), narrow=narrow)
    drawn, points, dots = cells(figure), figure.data[1], figure.data[2]
    layers = [int(layer) for layer, _ in points.customdata]
    heads = [int(head) for _, head in points.customdata]
    assert sorted(zip(layers, heads, strict=True)) == [(i, j) for i in range(shape[0]) for j in range(shape[1])]
    at = drawn[np.array(points.y), np.array(points.x)]
    np.testing.assert_array_equal(at, table[layers, heads].numpy())
    place = dict(zip(zip(layers, heads, strict=True), zip(points.x, points.y, strict=True), strict=True))
    assert (dots.x[0], dots.y[0]) == place[1, 3]
    frame = figure.layout.shapes[0]
    assert ((frame.x0 + frame.x1) / 2, (frame.y0 + frame.y1) / 2) == pytest.approx(place[2, 1])


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_no_higher_than_a_screen_and_points_do_not_overlap(shape: tuple[int, int]):
    desk, phone = head_maps(torch.rand(shape), MEASURE, LIGHT)
    for figure, most in ((desk, 520), (phone or desk, 620)):
        assert figure.layout.height <= most
        rows, size = cells(figure).shape[0], figure.data[1].marker.size
        assert size <= max(3, (figure.layout.height - 70) / rows)
    assert desk.data[1].type == ("scattergl" if shape == (80, 64) else "scatter")


def test_layers_lie_across_at_a_desk_and_down_on_a_phone():
    desk, phone = head_maps(torch.rand(30, 9), MEASURE, LIGHT)
    assert cells(desk).shape == (9, 30)
    assert phone is not None
    assert cells(phone).shape == (30, 9)
    assert (desk.layout.xaxis.title.text, phone.layout.xaxis.title.text) == ("layer", "head")
    assert head_maps(torch.rand(8, 8), MEASURE, LIGHT)[1] is None
