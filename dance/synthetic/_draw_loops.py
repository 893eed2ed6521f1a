"""Compiled loops of `draw`: the nearest triangle at every sample, textured ones with holes included, and its colour."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from dance.types import Array

Number = Any  # a number of any width in compiled code


@njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator]
def _sample(texels: Array, offset: int, height: int, width: int, u: Number, v: Number) -> Any:
    """The texture's colour and coverage at (u, v) in [0, 1], bilinear, going on beyond as a mirror would not: repeated."""
    x = (u - np.floor(u)) * width - 0.5
    y = (v - np.floor(v)) * height - 0.5
    left, top = int(np.floor(x)), int(np.floor(y))
    fx, fy = x - left, y - top
    r, g, b, a = 0.0, 0.0, 0.0, 0.0
    for j in range(2):
        row = (top + j) % height
        wy = fy if j else 1 - fy
        for i in range(2):
            column = (left + i) % width
            w = wy * (fx if i else 1 - fx)
            texel = texels[offset + row * width + column]
            r += w * texel[0]
            g += w * texel[1]
            b += w * texel[2]
            a += w * texel[3]
    return r, g, b, a


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def level_of(screen: Array, uv: Array, height: int, width: int, count: int) -> int:
    """Which of a texture's `count` halvings a triangle is drawn with: that of about a texel for a sample."""
    ux, uy = screen[1, 0] - screen[0, 0], screen[1, 1] - screen[0, 1]
    vx, vy = screen[2, 0] - screen[0, 0], screen[2, 1] - screen[0, 1]
    on_screen = abs(ux * vy - uy * vx)
    ux, uy = (uv[1, 0] - uv[0, 0]) * width, (uv[1, 1] - uv[0, 1]) * height
    vx, vy = (uv[2, 0] - uv[0, 0]) * width, (uv[2, 1] - uv[0, 1]) * height
    in_texture = abs(ux * vy - uy * vx)
    if on_screen < 1e-9 or in_texture <= on_screen:
        return 0
    return min(count - 1, int(0.5 * np.log2(in_texture / on_screen) + 0.5))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def cover(
    screen: Array,
    nearness: Array,
    faces: Array,
    material: Array,
    lift: Array,
    cut: Array,
    uv: Array,
    texels: Array,
    levels: Array,
    counts: Array,
    face: Array,
    best: Array,
) -> None:
    """Fills in the nearest triangle (else left at -1) and its nearness (else left at 0) at every sample.

    screen (N, 2), nearness (N,): linear on the screen, larger is nearer, not above 0 is behind the camera.
    lift (K,): a material is drawn as if its nearness were so much of its square larger.
    cut (K,): where a texture's coverage is below it there is a hole; 0 for none.
    texels (P, 4), levels (K, L, 3): where in them each halving begins, its height and width; counts (K,).
    """
    height, width = face.shape
    corners = np.empty((3, 2))
    for t in range(len(faces)):
        m = material[t]
        near = np.empty(3)
        for k in range(3):
            i = faces[t, k]
            corners[k] = screen[i]
            near[k] = nearness[i] + lift[m] * nearness[i] ** 2
        if near.min() <= 0:
            continue
        left = max(0, int(np.ceil(corners[:, 0].min())))
        right = min(width - 1, int(np.floor(corners[:, 0].max())))
        top = max(0, int(np.ceil(corners[:, 1].min())))
        bottom = min(height - 1, int(np.floor(corners[:, 1].max())))
        if left > right or top > bottom:
            continue
        ax, ay = corners[0, 0], corners[0, 1]
        bx, by = corners[1, 0] - ax, corners[1, 1] - ay
        cx, cy = corners[2, 0] - ax, corners[2, 1] - ay
        area = bx * cy - by * cx
        if abs(area) < 1e-9:
            continue
        holes = cut[m] > 0
        level = (
            level_of(corners, uv[t], levels[m, 0, 1], levels[m, 0, 2], counts[m]) if holes else 0
        )
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                px, py = x - ax, y - ay
                second = (px * cy - py * cx) / area
                third = (bx * py - by * px) / area
                first = 1 - second - third
                if first < 0 or second < 0 or third < 0:
                    continue
                depth = first * near[0] + second * near[1] + third * near[2]
                if depth <= best[y, x]:
                    continue
                if holes:
                    # Weights in the triangle itself, not on the screen.
                    wa, wb, wc = (
                        first * near[0] / depth,
                        second * near[1] / depth,
                        third * near[2] / depth,
                    )
                    u = wa * uv[t, 0, 0] + wb * uv[t, 1, 0] + wc * uv[t, 2, 0]
                    v = wa * uv[t, 0, 1] + wb * uv[t, 1, 1] + wc * uv[t, 2, 1]
                    offset, h, w = levels[m, level]
                    if _sample(texels, offset, h, w, u, v)[3] < 255 * cut[m]:
                        continue
                best[y, x] = depth
                face[y, x] = t


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def locate(screen: Array, nearness: Array, faces: Array, face: Array, share: Array) -> None:
    """Fills in the weights (H, W, 3) of the seen triangles' corners, right in perspective."""
    for y in range(face.shape[0]):
        for x in range(face.shape[1]):
            t = face[y, x]
            if t < 0:
                continue
            a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
            bx, by = screen[b, 0] - screen[a, 0], screen[b, 1] - screen[a, 1]
            cx, cy = screen[c, 0] - screen[a, 0], screen[c, 1] - screen[a, 1]
            px, py = x - screen[a, 0], y - screen[a, 1]
            area = bx * cy - by * cx
            second = (px * cy - py * cx) / area * nearness[b]
            third = (bx * py - by * px) / area * nearness[c]
            first = (1 - (px * cy - py * cx) / area - (bx * py - by * px) / area) * nearness[a]
            total = first + second + third
            share[y, x, 0] = first / total
            share[y, x, 1] = second / total
            share[y, x, 2] = third / total


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def lit_at(
    x: Number, y: Number, z: Number, view: Array, shadow: Array, bias: Number, reach: int
) -> Number:
    """How much light a point in camera axes gets, in [0, 1]: the share of the shadow map around it that is not nearer.

    view: (3, 4), from camera axes to the map's pixels (x, y) and nearness.
    """
    u = view[0, 0] * x + view[0, 1] * y + view[0, 2] * z + view[0, 3]
    v = view[1, 0] * x + view[1, 1] * y + view[1, 2] * z + view[1, 3]
    near = view[2, 0] * x + view[2, 1] * y + view[2, 2] * z + view[2, 3]
    column, row = int(np.floor(u + 0.5)), int(np.floor(v + 0.5))
    height, width = shadow.shape
    if not (reach <= column < width - reach and reach <= row < height - reach):
        return 1.0
    open_ = 0
    for j in range(-reach, reach + 1):
        for i in range(-reach, reach + 1):
            if shadow[row + j, column + i] <= near + bias:
                open_ += 1
    return open_ / (2 * reach + 1) ** 2


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def shade(
    screen: Array,
    points: Array,
    normals: Array,
    canon: Array,
    faces: Array,
    material: Array,
    uv: Array,
    face: Array,
    share: Array,
    texels: Array,
    levels: Array,
    counts: Array,
    patterns: Array,
    gloss: Array,
    light: Array,
    view: Array,
    shadow: Array,
    bias: Number,
    colour: Array,
) -> None:
    """Fills in the linear colour (H, W, 3) of every sample on a triangle.

    patterns (K, 5): kind (0 none, 1 rings, 2 stripes, 3 checks), a metre's number of them, and r, g, b of every other.
    gloss (K, 2): how strong highlights are, and how narrow.
    light (5, 3): the way to the light; its colour; the sky's; the ground's; the way up.
    """
    corners = np.empty((3, 2))
    for y in range(face.shape[0]):
        for x in range(face.shape[1]):
            t = face[y, x]
            if t < 0:
                continue
            m = material[t]
            w = share[y, x]
            for k in range(3):
                corners[k] = screen[faces[t, k]]
            level = level_of(corners, uv[t], levels[m, 0, 1], levels[m, 0, 2], counts[m])
            u = w[0] * uv[t, 0, 0] + w[1] * uv[t, 1, 0] + w[2] * uv[t, 2, 0]
            v = w[0] * uv[t, 0, 1] + w[1] * uv[t, 1, 1] + w[2] * uv[t, 2, 1]
            offset, h, wide = levels[m, level]
            r, g, b, a = _sample(texels, offset, h, wide, u, v)
            scale = 1.0 / max(a, 1.0)
            # Colours are kept times their coverage.
            r, g, b = (r * scale) ** 2.2, (g * scale) ** 2.2, (b * scale) ** 2.2
            kind = int(patterns[m, 0])
            if kind:
                across, down = 0.0, 0.0
                for k in range(3):
                    across += w[k] * canon[faces[t, k], 0]
                    down += w[k] * canon[faces[t, k], 1]
                rows = int(np.floor(down * patterns[m, 1])) if kind != 2 else 0
                columns = int(np.floor(across * patterns[m, 1])) if kind != 1 else 0
                if (rows + columns) % 2:
                    r, g, b = r * patterns[m, 2], g * patterns[m, 3], b * patterns[m, 4]
            nx, ny, nz, px, py, pz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            for k in range(3):
                i = faces[t, k]
                nx += w[k] * normals[i, 0]
                ny += w[k] * normals[i, 1]
                nz += w[k] * normals[i, 2]
                px += w[k] * points[i, 0]
                py += w[k] * points[i, 1]
                pz += w[k] * points[i, 2]
            size = 1.0 / max(np.sqrt(nx * nx + ny * ny + nz * nz), 1e-9)
            far = 1.0 / np.sqrt(px * px + py * py + pz * pz)
            ex, ey, ez = -px * far, -py * far, -pz * far
            facing = (nx * ex + ny * ey + nz * ez) * size
            if facing < 0:  # cloth seen from inside
                size, facing = -size, -facing
            nx, ny, nz = nx * size, ny * size, nz * size
            falling = nx * light[0, 0] + ny * light[0, 1] + nz * light[0, 2]
            up = 0.5 + 0.5 * (nx * light[4, 0] + ny * light[4, 1] + nz * light[4, 2])
            open_ = lit_at(px, py, pz, view, shadow, bias, 1) if falling > 0 else 0.0
            hx, hy, hz = light[0, 0] + ex, light[0, 1] + ey, light[0, 2] + ez
            half = (nx * hx + ny * hy + nz * hz) / max(np.sqrt(hx * hx + hy * hy + hz * hz), 1e-9)
            shine = gloss[m, 0] * max(half, 0.0) ** gloss[m, 1] * open_
            rim = 0.06 * (1 - facing) ** 3
            direct = max(falling, 0.0) * open_
            for c, albedo in enumerate((r, g, b)):
                ambient = light[3, c] + (light[2, c] - light[3, c]) * up
                colour[y, x, c] = (
                    albedo * (ambient + rim + light[1, c] * direct) + light[1, c] * shine
                )
