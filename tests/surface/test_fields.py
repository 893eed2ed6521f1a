"""Fields over a mesh."""

import numpy as np
import pytest

from dance.surface import fields
from dance.types import Array


def strip(length: int) -> Array:
    """A strip of triangles over vertices 0, 1, 2 ... in two rows."""
    first = np.arange(0, 2 * length - 2, 2)
    return np.concatenate(
        [np.stack([first, first + 1, first + 2], 1), np.stack([first + 1, first + 3, first + 2], 1)]
    )


def test_neighbours_means_are_of_those_a_triangle_joins() -> None:
    mean = fields.neighbours(np.array([[0, 1, 2], [1, 3, 2]]), 5).toarray()
    assert np.allclose(mean.sum(1), 1)
    assert mean[0, 1] == mean[0, 2] == 0.5 and mean[0, 3] == 0
    assert mean[4, 4] == 1  # of no triangle


def test_between_known_places_a_field_goes_evenly_and_never_beyond_them() -> None:
    mean = fields.neighbours(strip(20), 40)
    values, weight = np.zeros(40, np.float32), np.zeros(40, np.float32)
    values[:2], values[20:22] = 10, 30
    weight[[0, 1, 20, 21]] = 100
    found = fields.spread(mean, values, weight, 1.0)
    assert found[:2] == pytest.approx(10, abs=0.3) and found[20:22] == pytest.approx(30, abs=0.3)
    assert 18 < found[10] < 22
    assert found.min() >= 9.9 and found.max() <= 30.1
    assert found[36] == pytest.approx(30, abs=0.5)  # nothing is known beyond: it goes on


def test_colours_are_spread_channel_by_channel() -> None:
    mean = fields.neighbours(strip(6), 12)
    values = np.zeros((12, 3), np.float32)
    values[0] = 10, 20, 30
    weight = np.zeros(12, np.float32)
    weight[0] = 5
    assert np.allclose(fields.spread(mean, values, weight, 1.0), [10, 20, 30], atol=0.01)


def test_the_rims_of_holes_are_found() -> None:
    """A box that is open at its top."""
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4)]  # no z = 1
    faces = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])
    (rim,) = fields.rims(faces, len(corners))
    assert sorted(rim) == [1, 3, 5, 7]
    assert fields.rims(np.concatenate([faces, [[1, 5, 7], [1, 7, 3]]]), len(corners)) == []
