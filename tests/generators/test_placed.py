"""Views put in a larger or smaller picture: at their place, smooth, with an edge that stays an edge."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from dance.generators._placed import placed
from dance.types import Array


def matrix(zoom: float, x: float = 0.0, y: float = 0.0) -> Array:
    """From pixels of a picture in which the view is `zoom` times as large and begins at (x, y)."""
    scale = 1 / zoom
    return np.array([[scale, 0, -scale * x], [0, scale, -scale * y]])


def view(height: int = 12, width: int = 10) -> Tensor:
    """Columns in red and rows in green, from -0.5 to 0.5, and a matte that is whole."""
    y, x = torch.meshgrid(torch.linspace(-0.5, 0.5, height), torch.linspace(-0.5, 0.5, width), indexing="ij")  # fmt: skip
    return torch.stack([x, y, torch.zeros_like(x), torch.ones_like(x)])[None]


def test_a_view_of_the_pictures_size_is_given_back() -> None:
    torch.testing.assert_close(placed(view(), matrix(1.0), (12, 10)), view())


@pytest.mark.parametrize("zoom", [0.5, 1.7, 6.0])
def test_slopes_stay_slopes_at_their_place(zoom: float) -> None:
    out = placed(view(40, 30), matrix(zoom, 11.0, 5.0), (260, 200))
    y, x = np.mgrid[:260, :200]
    column, row = (x - 11) / zoom, (y - 5) / zoom
    inside = (column > 3) & (column < 26) & (row > 3) & (row < 36)
    assert inside.sum() > 50
    np.testing.assert_allclose(out[0, 0].numpy()[inside], column[inside] / 29 - 0.5, atol=1e-4)
    np.testing.assert_allclose(out[0, 1].numpy()[inside], row[inside] / 39 - 0.5, atol=1e-4)


def test_around_the_view_the_picture_is_clear_and_its_colours_go_on() -> None:
    out = placed(view(), matrix(2.0, 20.0, 30.0), (90, 80))[0]
    assert out[3, :26].abs().max() == 0 and out[3, :, 44:].abs().max() == 0
    assert out[3, 34:50, 24:36].min() == 1
    assert out[0, 35, 0] == pytest.approx(-0.5) and out[0, 35, 79] == pytest.approx(0.5)


@pytest.mark.parametrize(("zoom", "most"), [(2.0, 3.0), (9.0, 6.0)])
def test_the_edge_of_a_matte_that_is_much_enlarged_is_drawn_in(zoom: float, most: float) -> None:
    step = view(20, 20)
    step[0, 3, :, 10:] = 0
    row = placed(step, matrix(zoom), (int(20 * zoom), int(20 * zoom)))[0, 3, int(10 * zoom)]
    edge = ((row > 0.05) & (row < 0.95)).nonzero()[:, 0]
    edge = edge[edge > 3 * zoom]  # not the view's own border
    assert 1 <= len(edge) <= most
    assert edge.float().mean() == pytest.approx(9.5 * zoom, abs=1)


def test_a_view_made_smaller_is_averaged() -> None:
    chequers = view(60, 60)
    chequers[0, 0] = (torch.arange(60)[:, None] + torch.arange(60)) % 2 * 2.0 - 1
    small = placed(chequers, matrix(0.25), (15, 15))[0, 0, 2:-2, 2:-2]
    assert small.abs().max() < 0.05


def test_gradients_reach_the_view() -> None:
    given = view().requires_grad_()
    placed(given, matrix(3.0), (30, 30)).sum().backward()
    assert given.grad is not None and given.grad[:, :3].abs().min() > 0
