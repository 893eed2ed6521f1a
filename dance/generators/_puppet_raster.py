"""Draws textured triangle meshes: compiled loops that release the interpreter lock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from dance.types import Array, Size

Number = Any  # a number of any width: float32 stays float32 in compiled code

_SUB = 2  # samples per pixel: one above the other, the upper one left, the lower one right of the middle
_ASIDE = 0.25  # pixels they are beside it
_NOTHING = np.float32(1e30)
_EDGE = np.float32(-0.5)
_CLEAR = np.float32(1e6)  # more than any depth
_FAR_LEFT, _FAR_RIGHT = -1e9, 1e9
_SAME = 6.0  # samples of a pixel further apart in the texture (texels) come from different places


@dataclass(frozen=True, slots=True)
class Canvas:
    """A picture (H, W, 4) being drawn, premultiplied, clear between shots, and the scratch memory drawing takes.

    Nothing is nearest and the sheet is clear between meshes.
    """

    picture: Array
    nearest: Array
    places: Array
    sheet: Array

    @classmethod
    def of(cls, size: Size) -> Canvas:
        height, width = size
        return cls(
            np.zeros((height, width, 4), np.float32),
            np.full((height * _SUB, width), _NOTHING, np.float32),
            np.zeros((height * _SUB, width, 2), np.float32),
            np.zeros((height, width, 4), np.float32),
        )


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def bend(
    points: Array, pivot: Array, relief: Array, bones: Array, mirrored: bool
) -> tuple[Array, Array]:
    """Where the vertices of a mesh go, (n, 2), and how far away they are, (n,), both float32.

    points, pivot: (n, 2) and relief: (n,) of the mesh.  mirrored: seen from behind.
    bones: (n, 17), for each vertex what its bones do, mixed by their weights: the matrix (4) and shift (2) that
    carry it, angle (1), stretch (4), relief (2), away (3) of `Motion`, and (1) what the start takes off away.
    """
    count = len(points)
    xy, depth = np.empty((count, 2), np.float32), np.empty(count, np.float32)
    side = -1.0 if mirrored else 1.0
    for i in range(count):
        b = bones[i]
        # Seen from behind, its back is what bulges towards the camera.
        x, y, high = side * points[i, 0], points[i, 1], side * relief[i]
        pivot_x, pivot_y = side * pivot[i, 0], pivot[i, 1]
        # Bones agree on where their joint goes; about it, angles are blended instead of matrices, so
        # that a bent joint keeps its width.
        cos, sin = np.cos(b[6]), np.sin(b[6])
        along = b[7] * (x - pivot_x) + b[8] * (y - pivot_y)
        down = b[9] * (x - pivot_x) + b[10] * (y - pivot_y)
        moved_x = b[0] * pivot_x + b[1] * pivot_y + b[4]
        moved_y = b[2] * pivot_x + b[3] * pivot_y + b[5]
        xy[i, 0] = moved_x + cos * along - sin * down + b[11] * high
        xy[i, 1] = moved_y + sin * along + cos * down + b[12] * high
        depth[i] = b[13] * x + b[14] * y + b[15] * high - b[16]
    return xy, depth


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def _cubic(texture: Array, u: Number, v: Number) -> tuple[Number, Number, Number, Number]:
    """The texture (h, w, 4) at (u, v) by Catmull-Rom interpolation, transparent outside."""
    height, width = texture.shape[0], texture.shape[1]
    zero = np.float32(0.0)
    left, top = int(np.floor(u)), int(np.floor(v))
    if left < 1 or top < 1 or left > width - 3 or top > height - 3:
        return zero, zero, zero, zero
    x0, x1, x2, x3 = _taps(np.float32(u - left))
    y0, y1, y2, y3 = _taps(np.float32(v - top))
    # Numbers, not an array: these stay in registers.
    red, green, blue, alpha = zero, zero, zero, zero
    for j in range(4):
        y = top - 1 + j
        wy = y0 if j == 0 else y1 if j == 1 else y2 if j == 2 else y3
        red += wy * _row(texture, y, left, 0, x0, x1, x2, x3)
        green += wy * _row(texture, y, left, 1, x0, x1, x2, x3)
        blue += wy * _row(texture, y, left, 2, x0, x1, x2, x3)
        alpha += wy * _row(texture, y, left, 3, x0, x1, x2, x3)
    alpha = min(np.float32(1.0), max(zero, alpha))
    red = min(alpha, max(zero, red))
    return red, min(alpha, max(zero, green)), min(alpha, max(zero, blue)), alpha


@njit(cache=True, nogil=True, fastmath=True, inline="always")  # type: ignore[untyped-decorator]
def _row(
    texture: Array, y: int, x: int, c: int, x0: Number, x1: Number, x2: Number, x3: Number
) -> Number:
    return (
        x0 * texture[y, x - 1, c]
        + x1 * texture[y, x, c]
        + x2 * texture[y, x + 1, c]
        + x3 * texture[y, x + 2, c]
    )


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def _taps(f: Number) -> tuple[Number, Number, Number, Number]:
    """The four Catmull-Rom weights for a place f in [0, 1) after the second tap."""
    half, one = np.float32(0.5), np.float32(1.0)
    two, three = np.float32(2.0), np.float32(3.0)
    return (
        half * f * (f * (two - f) - one),
        half * (f * f * (three * f - two - three) + two),
        half * f * (f * (two + two - three * f) + one),
        half * f * f * (f - one),
    )


@njit(cache=True, nogil=True, fastmath=True, inline="always")  # type: ignore[untyped-decorator]
def _crossing(
    x: Number, y: Number, to_x: Number, to_y: Number, sense: Number
) -> tuple[Number, Number, Number, Number]:
    """Where an edge bounds the rows of its triangle: least x at row 0 and its change a row, then the same of the most.

    sense: 1 or -1, the turning sense of the triangle.  A level edge bounds nothing: its row is the first or the last.
    """
    rise = sense * (to_y - y)
    if rise == 0.0:
        return _FAR_LEFT, 0.0, _FAR_RIGHT, 0.0
    slope = (to_x - x) / (to_y - y)
    if rise < 0.0:
        return x - slope * y, slope, _FAR_RIGHT, 0.0
    return _FAR_LEFT, 0.0, x - slope * y, slope


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def paint(
    picture: Array,
    nearest: Array,
    places: Array,
    sheet: Array,
    texture: Array,
    xy: Array,
    depth: Array,
    uv: Array,
    triangles: Array,
    facing: int,
    opacity: float,
    close: bool,
) -> tuple[int, int, int, int]:
    """Draws one mesh underneath what the picture already shows (so: nearest mesh first).

    Gives where it may have drawn: rows from the first to before the second, columns from the third to before the fourth.

    picture: (H, W, 4) float32, premultiplied colour and alpha in [0, 1], changed in place.
    nearest: (2 H, W), places: (2 H, W, 2) and sheet: (H, W, 4) float32, the scratch memory of a `Canvas`.
    texture: (h, w, 4) float32, premultiplied.  xy (n, 2), depth (n,), uv (n, 2) float32: where each
    vertex is in the picture, how far away, and where in the texture (pixels).  triangles: (m, 3).
    facing: only triangles whose turning sense has this sign are drawn; 0 draws all, the nearest wins.
    close: whether thin gaps (where the soft rims of a front and a back meet) are filled.
    """
    height, width = picture.shape[0], picture.shape[1]
    x_low, x_high, y_low, y_high = 1e9, -1e9, 1e9, -1e9
    for i in range(xy.shape[0]):
        x_low, x_high = min(x_low, xy[i, 0]), max(x_high, xy[i, 0])
        y_low, y_high = min(y_low, xy[i, 1]), max(y_high, xy[i, 1])
    left, top = max(0, int(np.floor(x_low))), max(0, int(np.floor(y_low)))
    right, bottom = min(width, int(np.ceil(x_high)) + 1), min(height, int(np.ceil(y_high)) + 1)
    if right <= left or bottom <= top:
        return 0, 0, 0, 0
    rows, columns = (bottom - top) * _SUB, right - left
    # How near the nearest so far is, and where in the texture.
    nearest, places = nearest[:rows, :columns], places[:rows, :columns]
    # Which columns of every row of pixels have been touched: from the first to before the second.
    touched = np.empty((bottom - top, 2), np.int64)
    touched[:, 0], touched[:, 1] = columns, 0
    solidity = _solidity(texture)
    wide, high = np.float32(texture.shape[1] - 0.5), np.float32(texture.shape[0] - 0.5)

    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        # Row i of samples lies at pixel top + (i + .5) / _SUB - .5.
        ax, ay = xy[a, 0] - left, (xy[a, 1] - top + 0.5) * _SUB - 0.5
        bx, by = xy[b, 0] - left, (xy[b, 1] - top + 0.5) * _SUB - 0.5
        cx, cy = xy[c, 0] - left, (xy[c, 1] - top + 0.5) * _SUB - 0.5
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-4 or area * facing < 0:
            continue
        y0 = max(0, int(np.ceil(min(ay, min(by, cy)))))
        y1 = min(rows - 1, int(np.floor(max(ay, max(by, cy)))))
        sense = 1.0 if area > 0 else -1.0
        low_0, low_step_0, high_0, high_step_0 = _crossing(ax, ay, bx, by, sense)
        low_1, low_step_1, high_1, high_step_1 = _crossing(bx, by, cx, cy, sense)
        low_2, low_step_2, high_2, high_step_2 = _crossing(cx, cy, ax, ay, sense)
        # Depth and place in the texture are linear over the triangle: their changes along and down,
        inverse = 1.0 / area
        b_along, b_down = (cy - ay) * inverse, -(cx - ax) * inverse
        c_along, c_down = -(by - ay) * inverse, (bx - ax) * inverse
        z_b, z_c = depth[b] - depth[a], depth[c] - depth[a]
        u_b, u_c = uv[b, 0] - uv[a, 0], uv[c, 0] - uv[a, 0]
        v_b, v_c = uv[b, 1] - uv[a, 1], uv[c, 1] - uv[a, 1]
        z_along, z_down = b_along * z_b + c_along * z_c, b_down * z_b + c_down * z_c
        u_along, u_down = b_along * u_b + c_along * u_c, b_down * u_b + c_down * u_c
        v_along, v_down = b_along * v_b + c_along * v_c, b_down * v_b + c_down * v_c
        # and themselves at the first sample of all.
        z_0 = depth[a] - ax * z_along - ay * z_down
        u_0 = uv[a, 0] - ax * u_along - ay * u_down
        v_0 = uv[a, 1] - ax * v_along - ay * v_down
        z_step, u_step, v_step = np.float32(z_along), np.float32(u_along), np.float32(v_along)
        for y in range(y0, y1 + 1):
            low = max(low_0 + y * low_step_0, max(low_1 + y * low_step_1, low_2 + y * low_step_2))
            most = min(
                high_0 + y * high_step_0, min(high_1 + y * high_step_1, high_2 + y * high_step_2)
            )
            aside = _ASIDE if y % _SUB else -_ASIDE
            first = max(0, int(np.ceil(low - aside - 1e-4)))
            last = min(columns - 1, int(np.floor(most - aside + 1e-4)))
            if last < first:
                continue
            line = touched[y // _SUB]
            line[0], line[1] = min(line[0], first), max(line[1], last + 1)
            z_row = np.float32(z_0 + (first + aside) * z_along + y * z_down)
            u_row = np.float32(u_0 + (first + aside) * u_along + y * u_down)
            v_row = np.float32(v_0 + (first + aside) * v_along + y * v_down)
            for x in range(first, last + 1):
                along = np.float32(x - first)
                z = z_row + along * z_step
                if z - _CLEAR >= nearest[y, x]:
                    continue
                u, v = u_row + along * u_step, v_row + along * v_step
                if u < _EDGE or v < _EDGE or u >= wide or v >= high:
                    continue
                # What is mostly clear lies behind everything solid, however near it is.
                solid = solidity[int(v + np.float32(0.5)), int(u + np.float32(0.5))]
                if solid == 0:
                    continue
                if solid == 2:
                    z -= _CLEAR
                if z < nearest[y, x]:
                    nearest[y, x] = z
                    places[y, x, 0], places[y, x, 1] = u, v

    sheet = sheet[: bottom - top, : right - left]
    _shade(sheet, picture[top:bottom, left:right], texture, nearest, places, touched)
    if close:
        _close_gaps(sheet, touched)
    for y in range(bottom - top):
        for x in range(touched[y, 0], touched[y, 1]):
            room = (1.0 - picture[top + y, left + x, 3]) * opacity
            if room > 0.0 and sheet[y, x, 3] > 0.0:
                for c in range(4):
                    picture[top + y, left + x, c] += room * sheet[y, x, c]
            for c in range(4):
                sheet[y, x, c] = 0.0
    return top, bottom, left, right


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def _solidity(texture: Array) -> Array:
    """(h, w) uint8 of a texture (h, w, 4): 0 clear, 1 mostly clear, 2 solid."""
    found = np.empty(texture.shape[:2], np.uint8)
    for y in range(texture.shape[0]):
        for x in range(texture.shape[1]):
            alpha = texture[y, x, 3]
            found[y, x] = 2 if alpha > np.float32(0.5) else 1 if alpha > np.float32(0.0) else 0
    return found


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def _shade(
    sheet: Array, before: Array, texture: Array, nearest: Array, places: Array, touched: Array
) -> None:
    """Fills the sheet (h, w, 4) with what the places (2h, w, 2) in the texture show, averaged per pixel; forgets them.

    touched: (h, 2) the columns to look at, from the first to before the second.
    """
    for y in range(sheet.shape[0]):
        for x in range(touched[y, 0], touched[y, 1]):
            if before[y, x, 3] > 0.998:
                nearest[y * _SUB : (y + 1) * _SUB, x] = _NOTHING
                continue
            count = 0
            u_sum: Number = 0.0
            v_sum: Number = 0.0
            u_low, u_high, v_low, v_high = 1e9, -1e9, 1e9, -1e9
            for row in range(y * _SUB, (y + 1) * _SUB):
                if nearest[row, x] < _NOTHING:
                    u, v = places[row, x, 0], places[row, x, 1]
                    count += 1
                    u_sum, v_sum = u_sum + u, v_sum + v
                    u_low, u_high = min(u_low, u), max(u_high, u)
                    v_low, v_high = min(v_low, v), max(v_high, v)
            if count == 0:
                continue
            if u_high - u_low < _SAME and v_high - v_low < _SAME:
                red, green, blue, alpha = _cubic(texture, u_sum / count, v_sum / count)
                share: Number = np.float32(count / _SUB)
            else:
                red, green, blue, alpha = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
                for row in range(y * _SUB, (y + 1) * _SUB):
                    if nearest[row, x] < _NOTHING:
                        r, g, b, a = _cubic(texture, places[row, x, 0], places[row, x, 1])
                        red, green, blue, alpha = red + r, green + g, blue + b, alpha + a
                share = np.float32(1 / _SUB)
            nearest[y * _SUB : (y + 1) * _SUB, x] = _NOTHING
            sheet[y, x, 0], sheet[y, x, 1] = share * red, share * green
            sheet[y, x, 2], sheet[y, x, 3] = share * blue, share * alpha


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def _close_gaps(sheet: Array, touched: Array) -> None:
    """Fills what is clearer than both its surroundings, up to four pixels wide, in place.

    touched: (h, 2) the columns to look at, from the first to before the second.
    """
    height, width = sheet.shape[0], sheet.shape[1]
    reach = 2
    for y in range(reach, height - reach):
        for x in range(max(reach, touched[y, 0]), min(width - reach, touched[y, 1])):
            best, y_step, x_step = sheet[y, x, 3], 0, 0
            if best > 0.98:
                continue
            for dy, dx in ((0, reach), (reach, 0), (reach, reach), (reach, -reach)):
                lower = min(sheet[y - dy, x - dx, 3], sheet[y + dy, x + dx, 3])
                if lower > best + 0.02:
                    best, y_step, x_step = lower, dy, dx
            if y_step == 0 and x_step == 0:
                continue
            a, b = sheet[y - y_step, x - x_step], sheet[y + y_step, x + x_step]
            for c in range(3):
                sheet[y, x, c] = 0.5 * (a[c] / a[3] + b[c] / b[3]) * best
            sheet[y, x, 3] = best


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def release(picture: Array, box: tuple[int, int, int, int], rgb: Array, alpha: Array) -> None:
    """The premultiplied picture (H, W, 4) as rgb (H, W, 3) uint8 and alpha (H, W) float32.

    Only the box (see `paint`) is looked at, and cleared on the way. What is clear is left as rgb and alpha come in.
    """
    one, most, half = np.float32(1.0), np.float32(255.0), np.float32(0.5)
    top, bottom, left, right = box
    for y in range(top, bottom):
        for x in range(left, right):
            a = picture[y, x, 3]
            if a > np.float32(1e-3):
                alpha[y, x] = min(a, one)
                share = most / a
                for c in range(3):
                    rgb[y, x, c] = np.uint8(min(most, share * picture[y, x, c]) + half)
            for c in range(4):
                picture[y, x, c] = np.float32(0.0)
