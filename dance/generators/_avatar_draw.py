"""Drawing of the avatar in compiled code: from what is seen at each sample to colours and coverage.

Shapes: N looks, V vertices, F triangles, H height, W width; pictures have two by two samples a pixel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from dance.types import Array

Number = Any
_SUB = 2
# Samples of a pixel whose places in a texture are this near, in its pixels, share one look-up.
_SAME = 1.6


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def shade(
    out: Array,
    face: Array,
    bary: Array,
    faces: Array,
    pictures: Array,
    places: Array,
    weights: Array,
    atlas: Array,
    corners: Array,
    paint: bool,
    gains: Array,
) -> None:
    """Fills `out` (h, w, 4) float32 with premultiplied colour (0..255) and coverage in [0, 1].

    face: (2h, 2w) int32, -1 for none.  bary: (2h, 2w, 3) float32.  faces: (F, 3).
    pictures: (N, H, W, 3) uint8.  places: (V, N, 2) float32, where vertices are in them.  weights: (V, N).
    atlas: (A, B, 4) uint8, its fourth channel says how far it replaces the looks.  corners: (F, 3, 2) pixels of it.
    paint: whether any of the atlas replaces looks. It also fills up what weights lack to 1.
    gains: (V,) float32, how much brighter each vertex is than in what it is drawn from.
    """
    height, width = out.shape[0], out.shape[1]
    count = pictures.shape[0]
    own = np.empty((_SUB * _SUB, count), np.float32)
    us = np.empty((_SUB * _SUB, count + 1), np.float32)
    vs = np.empty((_SUB * _SUB, count + 1), np.float32)
    total = np.empty(count, np.float32)
    for y in range(height):
        for x in range(width):
            hits = 0
            gain = np.float32(0)
            for s in range(_SUB * _SUB):
                i, j = y * _SUB + s // _SUB, x * _SUB + s % _SUB
                f = face[i, j]
                if f < 0:
                    continue
                b0, b1, b2 = bary[i, j, 0], bary[i, j, 1], bary[i, j, 2]
                k0, k1, k2 = faces[f, 0], faces[f, 1], faces[f, 2]
                gain += b0 * gains[k0] + b1 * gains[k1] + b2 * gains[k2]
                for n in range(count):
                    own[hits, n] = b0 * weights[k0, n] + b1 * weights[k1, n] + b2 * weights[k2, n]
                    us[hits, n] = (
                        b0 * places[k0, n, 0] + b1 * places[k1, n, 0] + b2 * places[k2, n, 0]
                    )
                    vs[hits, n] = (
                        b0 * places[k0, n, 1] + b1 * places[k1, n, 1] + b2 * places[k2, n, 1]
                    )
                us[hits, count] = (
                    b0 * corners[f, 0, 0] + b1 * corners[f, 1, 0] + b2 * corners[f, 2, 0]
                )
                vs[hits, count] = (
                    b0 * corners[f, 0, 1] + b1 * corners[f, 1, 1] + b2 * corners[f, 2, 1]
                )
                hits += 1
            if hits == 0:
                for c in range(4):
                    out[y, x, c] = 0
                continue
            red, green, blue, mass = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            whole = np.float32(0)
            for n in range(count):
                total[n] = 0
                for s in range(hits):
                    total[n] += own[s, n]
                total[n] /= hits
                whole += total[n]
            for n in range(count):
                # Traces of a look are left out: each costs as much as the main one.
                if total[n] < 0.04 * whole or total[n] <= 0:
                    continue
                r, g, b, _ = _mean(pictures[n], us, vs, n, hits)
                red, green, blue = red + total[n] * r, green + total[n] * g, blue + total[n] * b
                mass += total[n]
            rest = max(np.float32(0), np.float32(1) - whole)
            if rest > np.float32(0.02) or mass <= 0 or paint:
                r, g, b, painted = _mean(atlas, us, vs, count, hits)
                if mass > 0:
                    painted = max(rest, painted / np.float32(255))
                    red, green, blue = red / mass, green / mass, blue / mass
                    red, green, blue = (
                        red + painted * (r - red),
                        green + painted * (g - green),
                        blue + painted * (b - blue),
                    )
                else:
                    red, green, blue = r, g, b
            else:
                red, green, blue = red / mass, green / mass, blue / mass
            cover = np.float32(hits) / np.float32(_SUB * _SUB)
            most, bright = np.float32(255), gain / np.float32(hits)
            red, green, blue = bright * red, bright * green, bright * blue
            out[y, x, 0] = cover * min(most, red)
            out[y, x, 1] = cover * min(most, green)
            out[y, x, 2] = cover * min(most, blue)
            out[y, x, 3] = cover


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def _mean(
    texture: Array, us: Array, vs: Array, n: int, hits: int
) -> tuple[Number, Number, Number, Number]:
    """The texture at a pixel's samples, averaged; near samples share one look-up."""
    u_low, u_high, v_low, v_high = us[0, n], us[0, n], vs[0, n], vs[0, n]
    u_sum, v_sum = np.float32(0), np.float32(0)
    for s in range(hits):
        u_low, u_high = min(u_low, us[s, n]), max(u_high, us[s, n])
        v_low, v_high = min(v_low, vs[s, n]), max(v_high, vs[s, n])
        u_sum, v_sum = u_sum + us[s, n], v_sum + vs[s, n]
    if u_high - u_low < _SAME and v_high - v_low < _SAME:
        return _cubic(texture, u_sum / np.float32(hits), v_sum / np.float32(hits))
    red, green, blue, fourth = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
    for s in range(hits):
        r, g, b, a = _cubic(texture, us[s, n], vs[s, n])
        red, green, blue, fourth = red + r, green + g, blue + b, fourth + a
    inverse = np.float32(1) / np.float32(hits)
    return red * inverse, green * inverse, blue * inverse, fourth * inverse


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def _cubic(texture: Array, u: Number, v: Number) -> tuple[Number, Number, Number, Number]:
    """The texture (h, w, 3 or 4) at (u, v) by Catmull-Rom interpolation, its edges carried on."""
    height, width, channels = texture.shape
    u = min(max(u, np.float32(1)), np.float32(width - 3))
    v = min(max(v, np.float32(1)), np.float32(height - 3))
    left, top = int(u), int(v)
    x0, x1, x2, x3 = _taps(np.float32(u - left))
    y0, y1, y2, y3 = _taps(np.float32(v - top))
    zero, most = np.float32(0), np.float32(255)
    red, green, blue = zero, zero, zero
    for j in range(4):
        y = top - 1 + j
        wy = y0 if j == 0 else y1 if j == 1 else y2 if j == 2 else y3
        red += wy * _row(texture, y, left, 0, x0, x1, x2, x3)
        green += wy * _row(texture, y, left, 1, x0, x1, x2, x3)
        blue += wy * _row(texture, y, left, 2, x0, x1, x2, x3)
    fourth = np.float32(texture[int(v + 0.5), int(u + 0.5), 3]) if channels > 3 else zero
    return (
        min(most, max(zero, red)),
        min(most, max(zero, green)),
        min(most, max(zero, blue)),
        fourth,
    )


@njit(cache=True, nogil=True, fastmath=True, inline="always")  # type: ignore[untyped-decorator]
def _row(
    texture: Array, y: int, x: int, c: int, x0: Number, x1: Number, x2: Number, x3: Number
) -> Number:
    return (
        x0 * np.float32(texture[y, x - 1, c])
        + x1 * np.float32(texture[y, x, c])
        + x2 * np.float32(texture[y, x + 1, c])
        + x3 * np.float32(texture[y, x + 2, c])
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
def release(picture: Array, rgb: Array, alpha: Array) -> None:
    """The premultiplied picture (h, w, 4) as rgb (h, w, 3) uint8 and alpha (h, w) float32, in place.

    What is clear is left as rgb and alpha come in.
    """
    one, most, half = np.float32(1.0), np.float32(255.0), np.float32(0.5)
    for y in range(picture.shape[0]):
        for x in range(picture.shape[1]):
            a = picture[y, x, 3]
            if a > np.float32(1e-3):
                alpha[y, x] = min(a, one)
                for c in range(3):
                    rgb[y, x, c] = np.uint8(min(most, picture[y, x, c] / a) + half)
