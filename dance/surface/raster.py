"""Draws the body's triangles: which of them is seen at every pixel, where in it, how far away, and how much of the pixel.

Compiled loops for the processor that release the interpreter lock; `raster_torch` does the same on any device.
A triangle is tested in homogeneous coordinates (Olano, Greer: Triangle scan conversion using 2D homogeneous
coordinates, 1997): its edges are planes through the camera, so that what lies behind the camera needs no clipping
and the barycentric coordinates come out right in perspective.

Camera axes, metres and pixels are those of `types.Camera`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from dance.types import Array, Camera, Size

if TYPE_CHECKING:
    from dance.surface.charts import Charts

Number = Any  # a number of any width in compiled code

NEAR = 0.05  # metres: what is closer to the camera is not drawn
_SAMPLES = 16  # places at which a pixel at the outline is asked whether it is covered
_STRIDE = 5  # their rows: a lattice in which no two share a row or a column, so that all slopes come out even
_FAR = 1e6  # pixels
FLAT = 1e-15  # cubic metres: a triangle seen this nearly from its edge is nothing


@dataclass(frozen=True, slots=True)
class Fragments:
    """What of a mesh is seen at every pixel.

    face: (H, W) int32, the triangle's number, -1 where there is none.
    bary: (H, W, 3) float32, the weights of its three corners, in [0, 1] with sum 1; 0 where there is none.
    depth: (H, W) float32 metres along the camera's axis; infinite where there is none.
    coverage: (H, W) float32 in [0, 1], how much of the pixel the mesh covers; above 0 just where there is a face.
    """

    face: Array
    bary: Array
    depth: Array
    coverage: Array

    @property
    def size(self) -> Size:
        return self.face.shape[0], self.face.shape[1]


def rasterise(
    vertices: Array,
    faces: Array,
    camera: Camera,
    size: Size,
    *,
    soft: bool = False,
    both_sides: bool = False,
) -> Fragments:
    """The nearest triangle at the middle of every pixel; of equally near ones the first.

    vertices: (V, 3) metres in camera axes.  faces: (F, 3); the normal (b - a) x (c - a) of a triangle points outwards.
    size: (height, width) of the picture.
    soft: also what covers a pixel without covering its middle, down to a sixteenth, and how much of the pixel
    it covers; otherwise the coverage is 0 or 1.  both_sides: triangles are also seen from inside.
    """
    points = np.ascontiguousarray(vertices, np.float64)
    corners = np.ascontiguousarray(faces, np.int32)
    assert points.ndim == 2 and points.shape[1] == 3 and corners.shape[1] == 3
    height, width = size
    view = np.array([camera.focal, *camera.centre], np.float64)
    face = np.full((height, width), -1, np.int32)
    nearness = np.zeros((height, width), np.float32)
    coverage = np.zeros((height, width), np.float32)
    spots = _spots(points, view)
    _draw(points, spots, corners, view, both_sides, face, nearness)
    if soft:
        _soften(points, spots, corners, view, both_sides, face, nearness, coverage)
    bary = np.zeros((height, width, 3), np.float32)
    depth = np.full((height, width), np.inf, np.float32)
    _locate(points, corners, view, face, nearness, bary, depth, coverage)
    return Fragments(face, bary, depth, coverage)


def interpolate(fragments: Fragments, corners: Array) -> Array:
    """What the triangles' corners carry, (F, 3, C), at every pixel: (H, W, C) float32, 0 where there is nothing."""
    values = np.ascontiguousarray(corners, np.float32)
    found = np.zeros((*fragments.size, values.shape[2]), np.float32)
    _mix(fragments.face, fragments.bary, values, found)
    return found


def parts(fragments: Fragments, charts: Charts) -> Array:
    """DensePose's part at every pixel, (H, W) uint8: 1..24, 0 where there is no body."""
    # The triangle -1 takes the last entry.
    return np.asarray(np.append(charts.part, np.uint8(0))[fragments.face])


def uv(fragments: Fragments, charts: Charts) -> Array:
    """The place in the chart of the pixel's part, (H, W, 2) float32 in [0, 1]; 0 where there is no body."""
    return interpolate(fragments, charts.uv)


def vertex_normals(vertices: Array, faces: Array) -> Array:
    """The outward normals (V, 3) float32 of length 1, those of the triangles around a vertex weighted by area."""
    found = np.zeros((len(vertices), 3), np.float64)
    _gather_normals(
        np.ascontiguousarray(vertices, np.float64), np.ascontiguousarray(faces, np.int32), found
    )
    return found.astype(np.float32)


def normals(fragments: Fragments, vertices: Array, faces: Array) -> Array:
    """The surface's outward normal at every pixel, (H, W, 3) float32 of length 1 in camera axes; 0 where there is nothing.

    vertices, faces: what was rasterised.
    """
    found = interpolate(fragments, vertex_normals(vertices, faces)[faces])
    _shorten(found)
    return found


@njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator]
def _plane(p: Array, q: Array, view: Array, sense: Number) -> tuple[Number, Number, Number]:
    """Which side of the edge between p and q a pixel is on, as its change along, its change down, and its value at (0, 0)."""
    # The same edge of the triangle beside it gives exactly the same numbers with the other sign: no cracks.
    x = sense * (p[1] * q[2] - p[2] * q[1]) / view[0]
    y = sense * (p[2] * q[0] - p[0] * q[2]) / view[0]
    z = sense * (p[0] * q[1] - p[1] * q[0])
    return x, y, z - x * view[1] - y * view[2]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _spots(points: Array, view: Array) -> Array:
    """Where vertices are in the picture, (V, 2); far off where they are too near to the camera to tell."""
    spots = np.empty((len(points), 2))
    for i in range(len(points)):
        z = points[i, 2]
        if z >= NEAR:
            # Far outside, whole numbers would overflow.
            spots[i, 0] = min(max(view[0] * points[i, 0] / z + view[1], -_FAR), _FAR)
            spots[i, 1] = min(max(view[0] * points[i, 1] / z + view[2], -_FAR), _FAR)
        else:
            spots[i, 0] = spots[i, 1] = _FAR
    return spots


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _reach(
    i: Number, j: Number, k: Number, points: Array, spots: Array, view: Array
) -> tuple[Number, Number, Number, Number]:
    """The box in the picture, left, right, top and bottom, around what of a triangle lies beyond NEAR."""
    if points[i, 2] >= NEAR and points[j, 2] >= NEAR and points[k, 2] >= NEAR:
        left, right = min(spots[i, 0], spots[j, 0]), max(spots[i, 0], spots[j, 0])
        top, bottom = min(spots[i, 1], spots[j, 1]), max(spots[i, 1], spots[j, 1])
        return (
            min(left, spots[k, 0]), max(right, spots[k, 0]),
            min(top, spots[k, 1]), max(bottom, spots[k, 1]),
        )  # fmt: skip
    left, right, top, bottom = _FAR, -_FAR, _FAR, -_FAR
    for edge in range(3):
        m = i if edge == 0 else j if edge == 1 else k
        n = j if edge == 0 else k if edge == 1 else i
        if points[m, 2] >= NEAR:
            left, right = min(left, spots[m, 0]), max(right, spots[m, 0])
            top, bottom = min(top, spots[m, 1]), max(bottom, spots[m, 1])
        if (points[m, 2] >= NEAR) != (points[n, 2] >= NEAR):
            share = (NEAR - points[m, 2]) / (points[n, 2] - points[m, 2])
            x = points[m, 0] + share * (points[n, 0] - points[m, 0])
            y = points[m, 1] + share * (points[n, 1] - points[m, 1])
            x, y = view[0] * x / NEAR + view[1], view[0] * y / NEAR + view[2]
            left, right, top, bottom = min(left, x), max(right, x), min(top, y), max(bottom, y)
    return max(left, -_FAR), min(right, _FAR), max(top, -_FAR), min(bottom, _FAR)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _volume(a: Array, b: Array, c: Array) -> Number:
    """Six times the volume between the camera and a triangle; negative where its outside is seen."""
    return (
        a[0] * (b[1] * c[2] - b[2] * c[1])
        + a[1] * (b[2] * c[0] - b[0] * c[2])
        + a[2] * (b[0] * c[1] - b[1] * c[0])
    )


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _draw(
    points: Array,
    spots: Array,
    corners: Array,
    view: Array,
    both_sides: bool,
    face: Array,
    nearness: Array,
) -> None:
    """Fills in the nearest triangle (else left at -1) and 1 / depth (else left at 0) at the middle of every pixel."""
    height, width = face.shape
    for t in range(len(corners)):
        i, j, k = corners[t, 0], corners[t, 1], corners[t, 2]
        a, b, c = points[i], points[j], points[k]
        volume = _volume(a, b, c)
        if (volume > -FLAT and not both_sides) or abs(volume) < FLAT:
            continue
        low_x, high_x, low_y, high_y = _reach(i, j, k, points, spots, view)
        left, right = max(0, int(np.ceil(low_x))), min(width - 1, int(np.floor(high_x)))
        top, bottom = max(0, int(np.ceil(low_y))), min(height - 1, int(np.floor(high_y)))
        if left > right or top > bottom:
            continue
        sense = -1.0 if volume < 0 else 1.0
        ax, ay, a0 = _plane(b, c, view, sense)
        bx, by, b0 = _plane(c, a, view, sense)
        cx, cy, c0 = _plane(a, b, view, sense)
        scale = 1.0 / abs(volume)
        nx, ny, n0 = (ax + bx + cx) * scale, (ay + by + cy) * scale, (a0 + b0 + c0) * scale
        for y in range(top, bottom + 1):
            row_a, row_b, row_c, row_n = ay * y + a0, by * y + b0, cy * y + c0, ny * y + n0
            for x in range(left, right + 1):
                if ax * x + row_a >= 0 and bx * x + row_b >= 0 and cx * x + row_c >= 0:
                    near = np.float32(nx * x + row_n)
                    if near > nearness[y, x] and near <= 1.0 / NEAR:
                        nearness[y, x] = near
                        face[y, x] = t


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _soften(
    points: Array,
    spots: Array,
    corners: Array,
    view: Array,
    both_sides: bool,
    face: Array,
    nearness: Array,
    coverage: Array,
) -> None:
    """Asks all pixels at the outline at sixteen places, and gives those only covered beside their middle a triangle."""
    height, width = face.shape
    # Every bit says of one place whether it is covered.
    covered = np.zeros((height, width), np.int32)
    open_ = np.zeros((height, width), np.bool_)
    for y in range(height):
        for x in range(width):
            open_[y, x] = face[y, x] < 0
            for k in range(9):
                if open_[y, x]:
                    break
                j, i = y + k // 3 - 1, x + k % 3 - 1
                open_[y, x] = 0 <= j < height and 0 <= i < width and face[j, i] < 0
    outside = face < 0
    for t in range(len(corners)):
        i, j, k = corners[t, 0], corners[t, 1], corners[t, 2]
        a, b, c = points[i], points[j], points[k]
        volume = _volume(a, b, c)
        if (volume > -FLAT and not both_sides) or abs(volume) < FLAT:
            continue
        low_x, high_x, low_y, high_y = _reach(i, j, k, points, spots, view)
        left, right = max(0, int(np.ceil(low_x - 0.5))), min(width - 1, int(np.floor(high_x + 0.5)))
        top, bottom = (
            max(0, int(np.ceil(low_y - 0.5))),
            min(height - 1, int(np.floor(high_y + 0.5))),
        )
        touched = False
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                touched |= open_[y, x]
        if not touched:
            continue
        sense = -1.0 if volume < 0 else 1.0
        ax, ay, a0 = _plane(b, c, view, sense)
        bx, by, b0 = _plane(c, a, view, sense)
        cx, cy, c0 = _plane(a, b, view, sense)
        scale = 1.0 / abs(volume)
        nx, ny, n0 = (ax + bx + cx) * scale, (ay + by + cy) * scale, (a0 + b0 + c0) * scale
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                if not open_[y, x]:
                    continue
                for place in range(_SAMPLES):
                    u = x + (place + 0.5) / _SAMPLES - 0.5
                    v = y + (place * _STRIDE % _SAMPLES + 0.5) / _SAMPLES - 0.5
                    if (
                        ax * u + ay * v + a0 >= 0
                        and bx * u + by * v + b0 >= 0
                        and cx * u + cy * v + c0 >= 0
                    ):
                        near = np.float32(nx * u + ny * v + n0)
                        if near > 1.0 / NEAR:
                            continue
                        covered[y, x] |= 1 << place
                        if outside[y, x] and near > nearness[y, x]:
                            nearness[y, x] = near
                            face[y, x] = t
    for y in range(height):
        for x in range(width):
            if open_[y, x]:
                count = 0
                for k in range(_SAMPLES):
                    count += (covered[y, x] >> k) & 1
                coverage[y, x] = count / _SAMPLES


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _locate(
    points: Array,
    corners: Array,
    view: Array,
    face: Array,
    nearness: Array,
    bary: Array,
    depth: Array,
    coverage: Array,
) -> None:
    """Fills in where in its triangle every pixel's middle is, and how far away; coverage is 1 where it was left at 0."""
    for y in range(face.shape[0]):
        for x in range(face.shape[1]):
            t = face[y, x]
            if t < 0:
                continue
            a, b, c = points[corners[t, 0]], points[corners[t, 1]], points[corners[t, 2]]
            sense = -1.0 if _volume(a, b, c) < 0 else 1.0
            ax, ay, a0 = _plane(b, c, view, sense)
            bx, by, b0 = _plane(c, a, view, sense)
            cx, cy, c0 = _plane(a, b, view, sense)
            # The middle of a pixel that is only covered beside it lies outside of the triangle.
            first = max(ax * x + ay * y + a0, 0.0)
            second = max(bx * x + by * y + b0, 0.0)
            third = max(cx * x + cy * y + c0, 0.0)
            total = first + second + third
            bary[y, x, 0] = first / total if total > 0 else 1.0 / 3
            bary[y, x, 1] = second / total if total > 0 else 1.0 / 3
            bary[y, x, 2] = third / total if total > 0 else 1.0 / 3
            depth[y, x] = 1.0 / nearness[y, x]
            if coverage[y, x] == 0:
                coverage[y, x] = 1.0


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _mix(face: Array, bary: Array, values: Array, found: Array) -> None:
    for y in range(face.shape[0]):
        for x in range(face.shape[1]):
            t = face[y, x]
            if t >= 0:
                for c in range(values.shape[2]):
                    found[y, x, c] = (
                        bary[y, x, 0] * values[t, 0, c]
                        + bary[y, x, 1] * values[t, 1, c]
                        + bary[y, x, 2] * values[t, 2, c]
                    )


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _shorten(found: Array) -> None:
    """Gives vectors (H, W, 3) the length 1, but for those of length 0."""
    for y in range(found.shape[0]):
        for x in range(found.shape[1]):
            a, b, c = found[y, x]
            square = a * a + b * b + c * c
            if square > 0:
                long = np.float32(np.sqrt(square))
                found[y, x, 0], found[y, x, 1], found[y, x, 2] = a / long, b / long, c / long


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _gather_normals(points: Array, corners: Array, found: Array) -> None:
    for t in range(len(corners)):
        a, b, c = points[corners[t, 0]], points[corners[t, 1]], points[corners[t, 2]]
        ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
        vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
        for k in range(3):
            i = corners[t, k]
            found[i, 0] += uy * vz - uz * vy
            found[i, 1] += uz * vx - ux * vz
            found[i, 2] += ux * vy - uy * vx
    for i in range(len(found)):
        length = np.sqrt(found[i, 0] ** 2 + found[i, 1] ** 2 + found[i, 2] ** 2)
        if length > 0:
            for k in range(3):
                found[i, k] /= length
