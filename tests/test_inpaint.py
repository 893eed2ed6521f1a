"""Holes are filled with what is around them, and nothing outside a hole changes."""

import numpy as np

from dance.inpaint import inpaint, membrane


def hole_in(size: tuple[int, int], rows: slice, columns: slice) -> np.ndarray:
    hole = np.zeros(size, bool)
    hole[rows, columns] = True
    return hole


def test_nothing_outside_the_hole_changes() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (80, 90, 3)).astype(np.uint8)
    hole = hole_in((80, 90), slice(20, 60), slice(30, 60))
    filled = inpaint(picture, hole)
    assert np.array_equal(filled[~hole], picture[~hole])
    assert inpaint(picture, np.zeros_like(hole)) is picture


def test_stripes_go_on_through_the_hole() -> None:
    picture = np.zeros((120, 120, 3), np.uint8)
    picture[:] = (np.arange(120) // 8 % 2 * 120 + 60)[:, None, None]
    hole = hole_in((120, 120), slice(20, 100), slice(45, 75))
    spoilt = picture.copy()
    spoilt[hole] = (255, 0, 0)
    error = np.abs(inpaint(spoilt, hole)[hole].astype(int) - picture[hole])
    assert np.mean(error) < 6


def test_a_wall_with_a_gradient_shows_no_outline_of_the_hole() -> None:
    ramp = np.linspace(120, 200, 160)[None, :] + np.linspace(-20, 20, 140)[:, None]
    noise = np.random.default_rng(1).normal(0, 1.5, (140, 160))
    picture = np.clip(ramp + noise, 0, 255)[..., None].repeat(3, 2).astype(np.uint8)
    hole = hole_in((140, 160), slice(20, 120), slice(60, 100))
    spoilt = picture.copy()
    spoilt[hole] = 0
    filled = inpaint(spoilt, hole).astype(int)
    assert np.abs(filled[hole] - picture[hole]).mean() < 5
    for inside, outside in ((60, 59), (99, 100)):
        assert abs(filled[20:120, inside].mean() - filled[20:120, outside].mean()) < 4


def test_a_thing_that_the_hole_cuts_is_not_drawn_out() -> None:
    picture = np.full((120, 160, 3), 180, np.uint8)
    picture[90:] = (120, 80, 50)
    picture[40:60, 90:120] = (30, 30, 60)
    hole = hole_in((120, 160), slice(10, 110), slice(50, 100))
    spoilt = picture.copy()
    spoilt[hole] = (255, 0, 0)
    filled = inpaint(spoilt, hole).astype(int)
    assert np.abs(filled[40:60, 52:84] - 180).mean() < 12
    assert np.abs(filled[96:108, 52:98] - picture[100, 0]).mean() < 12


def test_patches_come_only_from_where_they_may() -> None:
    picture = np.full((80, 120, 3), 90, np.uint8)
    picture[:, 60:] = (250, 20, 20)
    hole = hole_in((80, 120), slice(20, 60), slice(30, 56))
    sources = np.zeros((80, 120), bool)
    sources[:, :60] = True
    assert inpaint(picture, hole, sources=sources)[hole][:, 1].min() > 80


def test_a_hole_without_any_source_is_filled_smoothly() -> None:
    picture = np.full((30, 30, 3), 100, np.uint8)
    hole = np.ones((30, 30), bool)
    hole[0] = False
    picture[hole] = 255
    assert np.abs(inpaint(picture, hole)[hole].astype(int) - 100).max() < 4


def test_the_membrane_keeps_what_is_known_and_stays_between_its_values() -> None:
    values = np.zeros((40, 40), np.float32)
    values[:, 20:] = 1
    hole = hole_in((40, 40), slice(10, 30), slice(10, 30))
    filled = membrane(values, hole)
    assert np.array_equal(filled[~hole], values[~hole])
    assert filled.min() >= 0 and filled.max() <= 1
    assert filled[20, 12] < 0.4 < 0.6 < filled[20, 27]
