"""The parts' flat maps and the atlas they make, and how patches are flattened."""

import numpy as np
import pytest
import torch

from dance.surface import body as bodies
from dance.surface import charts, parts
from dance.surface._flatten import crosses, flatten, loops
from dance.surface.body import AVERAGE, Body
from dance.surface.charts import Charts
from dance.types import Array

SIDE = 64


@pytest.fixture(scope="module")
def body() -> Body:
    return bodies.load()


@pytest.fixture(scope="module")
def made(body: Body) -> Charts:
    return charts.charts(body)


def areas(corners: Array) -> Array:
    """Signed areas of triangles, (F,).  corners: (F, 3, 2)."""
    p, q = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    found: Array = (p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]) / 2
    return found


def stretches(corners: Array, points: Array) -> Array:
    """How much charts (F, 3, 2) stretch triangles (F, 3, 3): the most and the least, (F, 2)."""
    p, q = points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]
    x = p / np.linalg.norm(p, axis=1, keepdims=True)
    rest = q - (q * x).sum(1, keepdims=True) * x
    high = np.linalg.norm(rest, axis=1)
    frame = np.zeros((len(p), 2, 2))
    frame[:, 0, 0], frame[:, 0, 1], frame[:, 1, 1] = (p * x).sum(1), (q * x).sum(1), high
    flat = np.stack([corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]], -1)
    found: Array = np.linalg.svd(flat @ np.linalg.inv(frame), compute_uv=False)
    return found


def test_no_triangle_is_folded_over_and_all_stay_within_their_charts(made: Charts) -> None:
    assert (made.uv >= 0).all() and (made.uv <= 1).all()
    # Seen from outside, with V down, every triangle turns the same way.
    assert (areas(made.uv.astype(np.float64)) < 0).all()


def test_no_two_triangles_share_a_place(made: Charts) -> None:
    """Of triangles over each other the first is found: from the last to the first, others would be."""
    face, _ = charts.texels(made, 256)
    backwards, _ = charts.texels(Charts(made.part[::-1], made.uv[::-1]), 256)
    again = np.where(backwards >= 0, len(made.part) - 1 - backwards, -1)
    # Only pixels whose middle lies just on an edge belong to two.
    assert (face != again).mean() < 1e-4


def test_charts_barely_distort(body: Body, made: Charts) -> None:
    """Within an island, but for its fit into the chart: the ratio of lengths along and across stays near."""
    points = bodies.rest(body, torch.tensor(AVERAGE))[0].numpy()[body.faces.numpy()]
    real = np.linalg.norm(
        np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]), axis=1
    )
    for part in (2, 4, 5, 10, 15, 22, 24):
        of = made.part == part
        # The shape of the box is undone: of all stretchings of U against V the one that fits best.
        worst = []
        for ratio in np.geomspace(0.4, 2.5, 40):
            stretch = stretches(made.uv[of] * [1, ratio], points[of])
            worst.append(np.average(stretch[:, 0] / stretch[:, 1], weights=real[of]))
        assert min(worst) < 1.3, parts.PARTS[part]


def test_one_side_mirrors_the_other(body: Body, made: Charts) -> None:
    faces, mirror = body.faces.numpy(), body.mirror.numpy()
    twins = parts.twin_faces(faces, mirror)
    part, uv = charts.mirrored(made.part, made.uv)
    np.testing.assert_array_equal(made.part[twins], part)
    for k in range(3):
        corner = (faces[twins] == mirror[faces[:, k]][:, None]).argmax(1)
        np.testing.assert_allclose(made.uv[twins, corner], uv[:, k], atol=1e-5)


def test_charts_show_their_parts_upright_and_as_seen_from_outside(body: Body, made: Charts) -> None:
    points = bodies.rest(body, torch.tensor(AVERAGE))[0].numpy()[body.faces.numpy()].mean(1)
    middle = made.uv.mean(1)

    def together(part: int, uv: int, axis: int) -> float:
        of = made.part == part
        return float(np.corrcoef(middle[of, uv], points[of, axis])[0, 1])

    # Columns: V with down; U with the picture's right, from behind with its left.
    for part, right in ((2, 1), (1, -1), (9, 1), (7, -1), (13, 1), (12, -1)):
        assert together(part, 1, 1) > 0.95 and right * together(part, 0, 0) > 0.9, part
    # The left half of the head is seen from the left: the nose, which is nearest to the camera, on the left.
    assert together(24, 0, 2) > 0.9 and together(23, 0, 2) < -0.9


def test_the_atlas_and_the_charts_name_the_same_places(made: Charts) -> None:
    xy = charts.to_atlas(made.part[:, None].repeat(3, 1), made.uv, SIDE)
    part, uv = charts.from_atlas(xy, SIDE)
    np.testing.assert_array_equal(part, made.part[:, None].repeat(3, 1))
    np.testing.assert_allclose(uv, made.uv, atol=1e-4)
    outside = np.array([[-1.0, 5], [5, -1], [SIDE * 6 + 1, 5], [5, SIDE * 4 + 1]])
    assert not charts.from_atlas(outside, SIDE)[0].any()


def test_tiles_follow_the_numbers_of_the_parts() -> None:
    assert charts.tile(1, 10) == (0, 0) and charts.tile(6, 10) == (0, 50)
    assert charts.tile(7, 10) == (10, 0) and charts.tile(24, 10) == (30, 50)
    corner = charts.to_atlas(np.array(24), np.array([0.0, 1.0]), 10)
    np.testing.assert_allclose(corner, [49.5, 39.5])


def test_every_pixel_of_the_atlas_knows_its_place_on_the_body(made: Charts) -> None:
    face, bary = charts.texels(made, SIDE)
    y, x = np.nonzero(face >= 0)
    assert face.shape == (4 * SIDE, 6 * SIDE) and len(y) > 0.5 * face.size
    seen = face[y, x]
    uv = (bary[y, x][..., None] * made.uv[seen]).sum(1)
    np.testing.assert_allclose(
        charts.to_atlas(made.part[seen], uv, SIDE), np.stack([x, y], 1), atol=1e-2
    )


def sheet(columns: int, rows: int) -> tuple[Array, Array]:
    """A flat grid of points (n, 3) and its triangles, anticlockwise in x right, y up."""
    x, y = np.meshgrid(np.arange(columns), np.arange(rows))
    points = np.stack([x, y, 0 * x], -1).reshape(-1, 3).astype(float)
    at = np.arange(columns * rows).reshape(rows, columns)
    a, b, c, d = (q.ravel() for q in (at[:-1, :-1], at[:-1, 1:], at[1:, 1:], at[1:, :-1]))
    return points, np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])


def test_what_can_be_unrolled_is_unrolled_without_any_distortion() -> None:
    points, triangles = sheet(9, 5)
    bent = np.stack([4 * np.sin(points[:, 0] / 4), points[:, 1], 4 * np.cos(points[:, 0] / 4)], 1)
    corners = flatten(bent, triangles)[triangles]
    np.testing.assert_allclose(stretches(corners, bent[triangles]), 1, atol=0.01)
    assert (areas(corners) > 0).all()


def test_a_dome_with_a_hole_is_flattened_without_folds() -> None:
    points, triangles = sheet(13, 13)
    points -= points.mean(0)
    points[:, 2] = 6 * np.exp(-(points**2).sum(1) / 20)
    hole = (np.abs(points[triangles].mean(1)[:, :2] - [2, 1]) < 1.2).all(1)
    used, local = np.unique(triangles[~hole], return_inverse=True)
    local = local.reshape(-1, 3)
    assert [len(loop) for loop in loops(local)] == [48, 8]
    assert (areas(flatten(points[used], local)[local]) > 0).all()


def test_an_outline_that_crosses_itself_is_told() -> None:
    comb = np.array([[0, 0], [6, 0], [6, 3], [4, 3], [4, 1], [2, 1], [2, 3], [0, 3]], float)
    count = np.arange(len(comb))
    assert not crosses(comb, count)
    leaning = comb.copy()
    leaning[3, 0] = 1.5  # the right tooth leans over the left one
    assert crosses(leaning, count)
