"""Draws textured triangle meshes: compiled loops that release the interpreter lock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from dance.types import Array, Size

Number = Any  # a number of any width: float32 stays float32 in compiled code

_SUB = 2  # samples per pixel along each axis
_NOTHING = np.float32(1e30)
_CLEAR = np.float32(1e6)  # more than any depth
_SAME = 6.0  # samples of a pixel further apart in the texture (texels) come from different places


@dataclass(frozen=True, slots=True)
class Canvas:
    """A picture (H, W, 4) being drawn, premultiplied, clear between shots, and the scratch memory drawing takes."""

    picture: Array
    samples: Array
    sheet: Array

    @classmethod
    def of(cls, size: Size) -> Canvas:
        height, width = size
        return cls(
            np.zeros((height, width, 4), np.float32),
            np.zeros((height * _SUB, width * _SUB, 3), np.float32),
            np.zeros((height, width, 4), np.float32),
        )


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


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def _span(start: float, step: float, low: float, high: float) -> tuple[float, float]:
    """The part of [low, high] where start + x * step is not negative."""
    if step > 1e-12:
        return max(low, -start / step - 1e-4), high
    if step < -1e-12:
        return low, min(high, -start / step + 1e-4)
    return (low, high) if start >= -1e-6 else (1.0, 0.0)


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def paint(
    picture: Array,
    samples: Array,
    sheet: Array,
    texture: Array,
    xy: Array,
    depth: Array,
    uv: Array,
    triangles: Array,
    facing: int,
    opacity: float,
    close: bool,
) -> tuple[int, int]:
    """Draws one mesh underneath what the picture already shows (so: nearest mesh first).

    Gives the rows it may have touched: from the first to before the second.

    picture: (H, W, 4) float32, premultiplied colour and alpha in [0, 1], changed in place.
    samples: (2 H, 2 W, 3) float32 and sheet: (H, W, 4) float32, scratch memory.
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
        return 0, 0
    rows, columns = (bottom - top) * _SUB, (right - left) * _SUB
    # How near the nearest so far is, and where in the texture.
    samples = samples[:rows, :columns]
    samples[:, :, 0] = _NOTHING

    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        # Sample i of a row lies at pixel left + (i + .5) / _SUB - .5.
        ax, ay = (xy[a, 0] - left + 0.5) * _SUB - 0.5, (xy[a, 1] - top + 0.5) * _SUB - 0.5
        bx, by = (xy[b, 0] - left + 0.5) * _SUB - 0.5, (xy[b, 1] - top + 0.5) * _SUB - 0.5
        cx, cy = (xy[c, 0] - left + 0.5) * _SUB - 0.5, (xy[c, 1] - top + 0.5) * _SUB - 0.5
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-4 or area * facing < 0:
            continue
        x0 = max(0, int(np.ceil(min(ax, min(bx, cx)))))
        x1 = min(columns - 1, int(np.floor(max(ax, max(bx, cx)))))
        y0 = max(0, int(np.ceil(min(ay, min(by, cy)))))
        y1 = min(rows - 1, int(np.floor(max(ay, max(by, cy)))))
        inverse = 1.0 / area
        # Shares of b and c in a sample, as they change from one sample of a row to the next,
        step_b, step_c = (cy - ay) * inverse, -(by - ay) * inverse
        # and with them depth and place in the texture.
        z_b, z_c = depth[b] - depth[a], depth[c] - depth[a]
        u_b, u_c = uv[b, 0] - uv[a, 0], uv[c, 0] - uv[a, 0]
        v_b, v_c = uv[b, 1] - uv[a, 1], uv[c, 1] - uv[a, 1]
        z_step = np.float32(step_b * z_b + step_c * z_c)
        u_step = np.float32(step_b * u_b + step_c * u_c)
        v_step = np.float32(step_b * v_b + step_c * v_c)
        for y in range(y0, y1 + 1):
            start_b = (-ax * (cy - ay) - (y - ay) * (cx - ax)) * inverse
            start_c = ((bx - ax) * (y - ay) + ax * (by - ay)) * inverse
            low, high = _span(start_b, step_b, float(x0), float(x1))
            low, high = _span(start_c, step_c, low, high)
            low, high = _span(1.0 - start_b - start_c, -step_b - step_c, low, high)
            first, last = int(np.ceil(low)), int(np.floor(high))
            wb, wc = start_b + first * step_b, start_c + first * step_c
            z_row = np.float32(depth[a] + wb * z_b + wc * z_c)
            u_row = np.float32(uv[a, 0] + wb * u_b + wc * u_c)
            v_row = np.float32(uv[a, 1] + wb * v_b + wc * v_c)
            for x in range(first, last + 1):
                along = np.float32(x - first)
                z = z_row + along * z_step
                if z - _CLEAR >= samples[y, x, 0]:
                    continue
                u, v = u_row + along * u_step, v_row + along * v_step
                # What is mostly clear lies behind everything solid, however near it is.
                row, column = int(v + np.float32(0.5)), int(u + np.float32(0.5))
                if row < 0 or column < 0 or row >= texture.shape[0] or column >= texture.shape[1]:
                    continue
                if texture[row, column, 3] > np.float32(0.5):
                    z -= _CLEAR
                elif texture[row, column, 3] == np.float32(0.0):
                    continue
                if z < samples[y, x, 0]:
                    samples[y, x, 0], samples[y, x, 1], samples[y, x, 2] = z, u, v

    sheet = sheet[: bottom - top, : right - left]
    sheet[:] = 0.0
    _shade(sheet, picture[top:bottom, left:right], texture, samples)
    if close:
        _close_gaps(sheet)
    for y in range(bottom - top):
        for x in range(right - left):
            room = (1.0 - picture[top + y, left + x, 3]) * opacity
            if room > 0.0 and sheet[y, x, 3] > 0.0:
                for c in range(4):
                    picture[top + y, left + x, c] += room * sheet[y, x, c]
    return top, bottom


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def _shade(sheet: Array, before: Array, texture: Array, samples: Array) -> None:
    """Fills the sheet (h, w, 4) with what the samples (2h, 2w, 3) of the texture show, averaged per pixel."""
    for y in range(sheet.shape[0]):
        for x in range(sheet.shape[1]):
            if before[y, x, 3] > 0.998:
                continue
            count = 0
            u_sum: Number = 0.0
            v_sum: Number = 0.0
            u_low, u_high, v_low, v_high = 1e9, -1e9, 1e9, -1e9
            for j in range(_SUB):
                for i in range(_SUB):
                    row, column = y * _SUB + j, x * _SUB + i
                    if samples[row, column, 0] < _NOTHING:
                        u, v = samples[row, column, 1], samples[row, column, 2]
                        count += 1
                        u_sum, v_sum = u_sum + u, v_sum + v
                        u_low, u_high = min(u_low, u), max(u_high, u)
                        v_low, v_high = min(v_low, v), max(v_high, v)
            if count == 0:
                continue
            if u_high - u_low < _SAME and v_high - v_low < _SAME:
                red, green, blue, alpha = _cubic(texture, u_sum / count, v_sum / count)
                share: Number = np.float32(count / (_SUB * _SUB))
            else:
                red, green, blue, alpha = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
                for j in range(_SUB):
                    for i in range(_SUB):
                        row, column = y * _SUB + j, x * _SUB + i
                        if samples[row, column, 0] < _NOTHING:
                            u, v = samples[row, column, 1], samples[row, column, 2]
                            r, g, b, a = _cubic(texture, u, v)
                            red, green, blue, alpha = red + r, green + g, blue + b, alpha + a
                share = np.float32(1 / (_SUB * _SUB))
            sheet[y, x, 0], sheet[y, x, 1] = share * red, share * green
            sheet[y, x, 2], sheet[y, x, 3] = share * blue, share * alpha


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def _close_gaps(sheet: Array) -> None:
    """Fills what is clearer than both its surroundings, up to four pixels wide, in place."""
    height, width = sheet.shape[0], sheet.shape[1]
    reach = 2
    for y in range(reach, height - reach):
        for x in range(reach, width - reach):
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
def release(picture: Array, top: int, bottom: int, rgb: Array, alpha: Array) -> None:
    """The premultiplied picture (H, W, 4) as rgb (H, W, 3) in [-1, 1] and alpha (H, W), both float32.

    Only the rows from top to before bottom are looked at, and cleared on the way. rgb and alpha must
    come in as zeros; what is clear is left alone.
    """
    two, one = np.float32(2.0), np.float32(1.0)
    for y in range(top, bottom):
        for x in range(picture.shape[1]):
            a = picture[y, x, 3]
            if a > np.float32(1e-3):
                alpha[y, x] = min(a, one)
                share = two / a
                for c in range(3):
                    rgb[y, x, c] = min(one, share * picture[y, x, c] - one)
            for c in range(4):
                picture[y, x, c] = np.float32(0.0)
