"""The rasteriser: compiled loops, and the same in torch."""

import math
import os

import numpy as np
import pytest
import torch

from dance.surface import raster, raster_torch
from dance.surface.charts import Charts
from dance.types import Array, Camera

CAMERA = Camera(100.0, (31.5, 23.5))
SIZE = (48, 64)
TRIANGLE = np.array([[-0.4, -0.3, 1.0], [-0.1, 0.5, 2.0], [0.6, -0.2, 4.0]])
ONE = np.array([[0, 1, 2]])


def globe(rings: int, radius: float, z: float) -> tuple[Array, Array]:
    """A closed mesh near a sphere: vertices and triangles seen from outside; many triangles lie across pixels."""
    down = np.linspace(0, np.pi, rings + 1)[1:-1]
    around = np.arange(2 * rings) * np.pi / rings
    ring = np.stack(
        [
            np.sin(down)[:, None] * np.cos(around),
            np.broadcast_to(-np.cos(down)[:, None], (len(down), len(around))),
            np.sin(down)[:, None] * np.sin(around),
        ],
        -1,
    ).reshape(-1, 3)
    vertices = np.concatenate([ring, [[0, -1, 0], [0, 1, 0]]])
    wide, count = len(around), len(ring)
    faces = []
    for i in range(wide):
        j = (i + 1) % wide
        faces.append([count, i, j])
        faces.append([count + 1, count - wide + j, count - wide + i])
        for row in range(len(down) - 1):
            a, b = row * wide + i, row * wide + j
            faces += [[a, a + wide, b], [b, a + wide, b + wide]]
    return (vertices * radius + [0, 0, z]).astype(np.float32), np.array(faces, np.int32)


def ray(x: float, y: float) -> Array:
    return np.array(
        [(x - CAMERA.centre[0]) / CAMERA.focal, (y - CAMERA.centre[1]) / CAMERA.focal, 1]
    )


def test_weights_and_depth_are_where_the_ray_meets_the_triangle_in_perspective() -> None:
    found = raster.rasterise(TRIANGLE, ONE, CAMERA, SIZE, both_sides=True)
    seen = np.argwhere(found.face == 0)
    assert len(seen) > 300
    for y, x in seen[::17]:
        a, b, c = TRIANGLE
        depth, second, third = np.linalg.solve(np.stack([ray(x, y), a - b, a - c], 1), a)
        np.testing.assert_allclose(found.bary[y, x], [1 - second - third, second, third], atol=1e-5)
        assert found.depth[y, x] == pytest.approx(depth, rel=1e-5)


def test_pixels_whose_middle_lies_outside_show_nothing() -> None:
    found = raster.rasterise(TRIANGLE, ONE, CAMERA, SIZE, both_sides=True)
    for y in range(SIZE[0]):
        for x in range(SIZE[1]):
            least = np.linalg.solve(TRIANGLE.T, ray(x, y)).min()
            if abs(least) > 1e-9:
                assert (found.face[y, x] == 0) == (least > 0)
    nothing = found.face < 0
    assert not found.bary[nothing].any() and not found.coverage[nothing].any()
    assert np.isinf(found.depth[nothing]).all()


def test_a_triangle_is_seen_from_outside_only() -> None:
    square = np.array([[-1, -1, 2], [-1, 1, 2], [1, -1, 2]])
    towards = np.cross(square[1] - square[0], square[2] - square[0])[2] < 0
    order = ONE if towards else ONE[:, ::-1]
    assert (raster.rasterise(square, order, CAMERA, SIZE).face == 0).any()
    assert (raster.rasterise(square, order[:, ::-1], CAMERA, SIZE).face < 0).all()
    assert (raster.rasterise(square, order[:, ::-1], CAMERA, SIZE, both_sides=True).face == 0).any()


def test_the_nearer_triangle_wins_and_of_equals_the_first() -> None:
    near, far = TRIANGLE, TRIANGLE * 1.5
    faces = np.arange(9).reshape(3, 3)
    found = raster.rasterise(
        np.concatenate([far, near, near]), faces, CAMERA, SIZE, both_sides=True
    )
    assert set(np.unique(found.face)) == {-1, 1}


def test_a_closed_mesh_has_no_cracks() -> None:
    vertices, faces = globe(40, 0.4, 2.0)
    size, camera = (200, 200), Camera(400.0, (99.3, 100.1))
    found = raster.rasterise(vertices, faces, camera, size)
    y, x = np.mgrid[:200, :200]
    rays = np.stack([(x - 99.3) / 400, (y - 100.1) / 400, np.ones_like(x)], -1)
    from_axis = np.arccos(1 / np.linalg.norm(rays, axis=-1))
    inside = from_axis < math.asin(0.4 / 2) - 0.004
    assert inside.sum() > 15000 and (found.face[inside] >= 0).all()
    assert (found.depth[inside] < 2.0).all(), "the far side shows through"


def test_a_floor_that_reaches_behind_the_camera_is_drawn_up_to_it() -> None:
    floor = np.array([[-50.0, 1, -60], [0, 1, 500], [50, 1, -60]])
    found = raster.rasterise(floor, ONE, CAMERA, SIZE, both_sides=True)
    rows = np.arange(27, 48)
    assert (found.face[27:48] == 0).all() and (found.face[:23] < 0).all()
    np.testing.assert_allclose(found.depth[27:48, 30], 100 / (rows - 23.5), rtol=1e-5)
    behind = floor * [1, 1, -1] - [0, 0, 600]
    assert (raster.rasterise(behind, ONE, CAMERA, SIZE, both_sides=True).face < 0).all()


def test_what_is_closer_than_near_is_not_drawn() -> None:
    vertices, faces = globe(8, 0.3, 0.0)
    assert (raster.rasterise(vertices * 0.1, faces, CAMERA, SIZE, both_sides=True).face < 0).all()
    around = raster.rasterise(vertices, faces, CAMERA, SIZE, both_sides=True)
    assert (around.face >= 0).all(), "from within a ball its inside fills the picture"


def test_soft_coverage_adds_up_to_the_area() -> None:
    vertices = np.array([[-0.2, -0.15, 1], [-0.12, 0.16, 1], [0.21, 0.02, 1]])
    found = raster.rasterise(vertices, ONE, CAMERA, SIZE, soft=True, both_sides=True)
    p, q = (100 * (vertices[k, :2] - vertices[0, :2]) for k in (1, 2))
    area = abs(p[0] * q[1] - p[1] * q[0]) / 2
    assert found.coverage.sum() == pytest.approx(area, rel=0.01)
    assert ((found.face >= 0) == (found.coverage > 0)).all()
    assert ((found.coverage > 0) & (found.coverage < 1)).sum() > 40


@pytest.mark.parametrize("angle", [0.0, 0.3, math.pi / 4, 1.1, math.pi / 2, 2.4])
def test_soft_coverage_is_the_share_of_the_pixel_whatever_the_slope(angle: float) -> None:
    along, across = (
        np.array([math.cos(angle), math.sin(angle)]),
        np.array([-math.sin(angle), math.cos(angle)]),
    )
    for shift in (0.1, 0.35, 0.6):
        # One long edge through the picture's middle; the other two far away.
        start = CAMERA.centre + shift * across
        corners = np.stack([start - 500 * along, start + 500 * along, start - 500 * across])
        vertices = np.column_stack([(corners - CAMERA.centre) / CAMERA.focal, np.ones(3)])
        soft = raster.rasterise(vertices, ONE, CAMERA, SIZE, soft=True, both_sides=True).coverage
        fine = (np.arange(16) + 0.5) / 16 - 0.5
        for y, x in ((23, 31), (24, 31), (23, 32), (24, 32)):
            places = np.stack(np.meshgrid(x + fine, y + fine), -1)
            exact = ((places - start) @ across <= 0).mean()
            assert soft[y, x] == pytest.approx(exact, abs=0.13)


def test_soft_and_hard_agree_wherever_the_middle_is_covered() -> None:
    vertices, faces = globe(12, 0.1, 1.0)
    hard = raster.rasterise(vertices, faces, CAMERA, SIZE)
    soft = raster.rasterise(vertices, faces, CAMERA, SIZE, soft=True)
    seen = hard.face >= 0
    assert seen.any() and (hard.face[seen] == soft.face[seen]).all()
    assert (soft.coverage[seen] >= 0.25).all() and (soft.coverage[~seen] <= 0.75).all()
    rim = ~seen & (soft.face >= 0)
    assert rim.sum() > 10
    np.testing.assert_allclose(soft.bary[rim].sum(1), 1, atol=1e-5)
    assert (soft.bary[rim] >= 0).all() and np.isfinite(soft.depth[rim]).all()


def test_a_hair_between_the_middles_of_pixels_is_there_when_soft() -> None:
    hair = np.array([[0.002, -0.2, 1], [0.004, -0.2, 1], [0.003, 0.2, 1]])
    assert (raster.rasterise(hair, ONE, CAMERA, SIZE, both_sides=True).face < 0).all()
    soft = raster.rasterise(hair, ONE, CAMERA, SIZE, both_sides=True, soft=True)
    assert (soft.face >= 0).sum() > 15 and soft.coverage.max() < 0.4


def test_parts_and_places_in_charts_come_from_the_triangle_seen() -> None:
    uv = np.array([[[0, 0], [1, 0], [0, 1]], [[0.5, 0.5]] * 3], np.float32)
    charts = Charts(np.array([24, 7], np.uint8), uv)
    vertices = np.concatenate([TRIANGLE, TRIANGLE + np.array([1.5, 0, 5])])
    faces = np.arange(6).reshape(2, 3)
    found = raster.rasterise(vertices, faces, CAMERA, SIZE, both_sides=True)
    parts, places = raster.parts(found, charts), raster.uv(found, charts)
    assert parts.dtype == np.uint8 and set(np.unique(parts)) == {0, 7, 24}
    assert (parts[found.face == 0] == 24).all() and (parts[found.face < 0] == 0).all()
    first = found.face == 0
    np.testing.assert_allclose(places[first], found.bary[first][:, 1:], atol=1e-6)
    np.testing.assert_allclose(places[found.face == 1], 0.5, atol=1e-6)
    assert not places[found.face < 0].any()


def test_normals_of_a_ball_point_away_from_its_middle() -> None:
    vertices, faces = globe(40, 0.2, 1.0)
    found = raster.rasterise(vertices, faces, CAMERA, SIZE)
    normals = raster.normals(found, vertices, faces)
    y, x = np.nonzero(found.face >= 0)
    points = np.stack([ray(*at) for at in zip(x, y, strict=True)]) * found.depth[y, x][:, None]
    outward = (points - [0, 0, 1]) / np.linalg.norm(points - [0, 0, 1], axis=1, keepdims=True)
    assert ((normals[y, x] * outward).sum(1) > 0.995).all()
    np.testing.assert_allclose(np.linalg.norm(normals[y, x], axis=1), 1, atol=1e-5)
    assert not normals[found.face < 0].any()


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("both_sides", [False, True])
def test_torch_finds_the_same(both_sides: bool, device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        assert not os.environ.get("FAIL_WITHOUT_CUDA"), "no CUDA here"
        pytest.skip("needs CUDA")
    ball, faces = globe(15, 0.2, 1.0)
    # In front, beyond the edge, and around the camera.
    places = [[0, 0, 0], [0.1, 0.05, 0.4], [0, 0, -1.05]]
    meshes = ball + np.array(places, np.float32)[:, None]
    found = raster_torch.rasterise(
        torch.from_numpy(meshes).to(device),
        torch.from_numpy(faces).long().to(device),
        CAMERA,
        SIZE,
        both_sides=both_sides,
    )
    for t, mesh in enumerate(meshes):
        ours = raster.rasterise(mesh, faces, CAMERA, SIZE, both_sides=both_sides)
        np.testing.assert_array_equal(found.face[t].cpu().numpy(), ours.face)
        np.testing.assert_allclose(found.bary[t].cpu().numpy(), ours.bary, atol=1e-5)
        np.testing.assert_allclose(found.depth[t].cpu().numpy(), ours.depth, rtol=1e-5)
    corners = np.random.default_rng(0).random((len(faces), 3, 2)).astype(np.float32)
    ours = raster.rasterise(meshes[1], faces, CAMERA, SIZE, both_sides=both_sides)
    np.testing.assert_allclose(
        raster_torch.interpolate(found, torch.from_numpy(corners).to(device))[1].cpu().numpy(),
        raster.interpolate(ours, corners),
        atol=1e-5,
    )


def test_torch_too_draws_a_floor_up_to_near() -> None:
    floor = np.array([[-50.0, 0.01, -60], [0, 0.01, 500], [50, 0.01, -60]])
    ours = raster.rasterise(floor, ONE, CAMERA, SIZE, both_sides=True)
    found = raster_torch.rasterise(
        torch.from_numpy(floor)[None], torch.from_numpy(ONE), CAMERA, SIZE, both_sides=True
    )
    assert (ours.face[30:43] == 0).all() and (ours.face[44:] < 0).all()
    np.testing.assert_array_equal(found.face[0].numpy(), ours.face)


def test_torch_finds_the_same_when_triangles_are_tested_in_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ball, faces = globe(10, 0.2, 1.0)
    monkeypatch.setattr(raster_torch, "_PAIRS", 50)
    found = raster_torch.rasterise(
        torch.from_numpy(ball)[None], torch.from_numpy(faces).long(), CAMERA, SIZE
    )
    ours = raster.rasterise(ball, faces, CAMERA, SIZE)
    np.testing.assert_array_equal(found.face[0].numpy(), ours.face)


def test_torch_tells_how_what_is_seen_changes_with_the_vertices() -> None:
    vertices = torch.tensor(TRIANGLE, dtype=torch.float64)[None].requires_grad_()
    colours = torch.rand(1, 3, 2, dtype=torch.float64)

    def seen(v: torch.Tensor) -> torch.Tensor:
        found = raster_torch.rasterise(v, torch.from_numpy(ONE), CAMERA, SIZE, both_sides=True)
        picture = raster_torch.interpolate(found, colours)
        inner = (slice(0, 1), slice(15, 20), slice(18, 22))
        return picture[inner].sum() + found.depth[inner].sum()

    assert (
        raster.rasterise(TRIANGLE, ONE, CAMERA, SIZE, both_sides=True).face[15:20, 18:22] == 0
    ).all()
    assert torch.autograd.gradcheck(seen, (vertices,), eps=1e-6)
