import numpy as np
import pytest

from dance import geometry as g
from dance.types import Box, Region


@pytest.mark.parametrize(
    ("size", "longest", "expected"),
    [
        ((1920, 1080), 1280, (1280, 720)),
        ((720, 1280), 1280, (720, 1280)),
        ((333, 591), 1280, (334, 592)),
        ((4, 4000), 1000, (2, 1000)),
        ((1, 1), 64, (2, 2)),
    ],
)
def test_pictures_are_made_smaller_but_never_larger(
    size: tuple[int, int], longest: int, expected: tuple[int, int]
) -> None:
    assert g.fit_inside(size, longest) == expected


@pytest.mark.parametrize("longest", [65, 100, 101, 333])
@pytest.mark.parametrize("size", [(101, 51), (1000, 500), (333, 101), (65, 64)])
def test_a_fitted_size_is_even_and_within_its_limit(size: tuple[int, int], longest: int) -> None:
    fitted = g.fit_inside(size, longest)
    assert max(fitted) <= longest and fitted[0] % 2 == fitted[1] % 2 == 0


def test_the_box_of_joints_leaves_out_those_not_seen() -> None:
    xy = np.array([[1, 2], [5, 9], [100, 100]], np.float32)
    score = np.array([0.5, 0.9, 0.0], np.float32)
    assert g.joints_box(xy, score) == Box(1, 2, 5, 9)
    assert g.joints_box(xy, score, threshold=0.6) == Box(5, 9, 5, 9)
    assert g.joints_box(xy, score, threshold=0.95) is None


def test_a_box_grows_by_a_share_of_its_sides() -> None:
    assert g.grow(Box(10, 20, 20, 40), 0.1) == Box(9, 18, 21, 42)


def test_the_upright_region_is_cut_out_and_scaled() -> None:
    region = Region(49.5, 29.5, 20)
    matrix = g.region_to_crop(region, 40)
    centre = g.transform(np.array([[49.5, 29.5]]), matrix)
    # Pixel centres are at whole numbers, so the region's left edge is half a pixel left of pixel 0.
    corner = g.transform(np.array([[39.5, 19.5]]), matrix)
    assert np.allclose(centre, 19.5) and np.allclose(corner, -0.5)


@pytest.mark.parametrize("angle", [0.0, 0.3, np.pi / 2, -2.0])
def test_a_turned_region_is_shown_upright(angle: float) -> None:
    region = Region(50, 60, 30, angle)
    # "Up" of a person who leans clockwise points to the right as seen.
    head = np.array([50 + 15 * np.sin(angle), 60 - 15 * np.cos(angle)])
    right = np.array([50 + 15 * np.cos(angle), 60 + 15 * np.sin(angle)])
    matrix = g.region_to_crop(region, 61)
    assert np.allclose(g.transform(head, matrix), [30, -0.5])
    assert np.allclose(g.transform(right, matrix), [60.5, 30])


def test_a_map_and_its_inverse_cancel() -> None:
    matrix = g.region_to_crop(Region(12, 34, 56, 0.7), 128)
    points = np.random.default_rng(0).uniform(-50, 200, (5, 7, 2))
    assert np.allclose(g.transform(g.transform(points, matrix), g.invert(matrix)), points)
