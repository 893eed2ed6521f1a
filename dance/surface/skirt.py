"""Cloth between the legs: skirts, dresses and long coats, as a sheet that hangs from one leg's bones to the other's.

A skirt is where the matte is filled between the legs of the naked body although they stand apart there. The sheet is
ruled: each of its rows goes straight from one leg to the other and is stretched with them, so it never opens.

Shapes: V vertices, B bones, R rows of the sheet, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from dance.surface.body import BONES
from dance.surface.halo import Halo, sides_of
from dance.surface.outline import Posed, project
from dance.surface.raster import rasterise
from dance.types import Array, Camera

# Metres of open space between the legs that tell whether there is cloth, and that no pair of trousers fills.
_TELLS, _CLOTH = 0.03, 0.06
# Share of a row that is filled by cloth; how far down the leg (0 = hip, 1 = ankle) a skirt goes at least.
_FILLED, _SHORTEST = 0.7, 0.25
_ROWS, _COLUMNS, _SAMPLES = 41, 9, 65
# How many times as wide as another mesh it may be stretched before it fades.
_STRETCH = 4.0
_LEG = ("thigh", "shin", "foot")


def skirts(
    shown: Sequence[Array],
    posed: Sequence[Posed],
    faces: Array,
    weights: Array,
    camera: Camera,
    bones: Sequence[tuple[Array, Array]],
    nudges: Sequence[Array],
) -> list[tuple[Halo, Array] | None]:
    """The sheet of each view and the pixels it has there, (H, W) bool; None where a view shows none.

    shown: (H, W, 3), the person's colours.  posed: the naked body there.  weights: (V, B) of skinning.
    bones: turns (B, 3, 3) and starts (B, 3) of the fitted stance.  nudges: (V, 2) pixels the body was moved by since.
    """
    hems = [
        _hem(view, faces, camera, starts, _moved(weights, by))
        for view, (_, starts), by in zip(posed, bones, nudges, strict=True)
    ]
    told = [hem > 0 for hem in hems if hem is not None]
    # A single view among many may be fitted badly.
    if not any(told) or sum(told) < len(told) / 2:
        return [None] * len(hems)
    return [
        _sheet(rgb, view.alpha.shape, camera, where, _moved(weights, by), hem) if hem else None
        for rgb, view, where, by, hem in zip(shown, posed, bones, nudges, hems, strict=True)
    ]


def _moved(weights: Array, nudges: Array) -> Array:
    """Pixels each bone was moved by, (B, 2)."""
    return np.asarray((weights.T @ nudges) / np.maximum(weights.sum(0), 1e-6)[:, None])


def _legs() -> Array:
    down = np.linspace(0, 1, _ROWS)
    return np.stack([_share(down, side) for side in ("left", "right")])


def _sheet(
    rgb: Array,
    size: tuple[int, ...],
    camera: Camera,
    bones: tuple[Array, Array],
    by: Array,
    hem: int,
) -> tuple[Halo, Array] | None:
    """The sheet down to the row `hem` and its pixels.  by: (B, 2) pixels the bones were moved by."""
    turns, starts = bones
    share = _legs()
    ends = share @ starts
    across = np.linspace(0, 1, _COLUMNS)[None, :, None]
    skin, points = (
        ((1 - across) * values[0, :, None] + across * values[1, :, None]).reshape(
            -1, values.shape[-1]
        )
        for values in (share, ends)
    )
    uv = project(points, camera) + skin @ by
    grid = uv.reshape(_ROWS, _COLUMNS, 2)
    region = np.zeros(size, np.uint8)
    outline = np.concatenate([grid[: hem + 1, 0], grid[hem, 1:-1], grid[hem::-1, -1]])
    cv2.fillPoly(region, [np.round(outline).astype(np.int32)], 1)
    if not region.any():
        return None
    # The mesh goes on below the hem, which the soft edge of the picture makes.
    used = min(hem + 2, _ROWS)
    opaque = cv2.GaussianBlur(
        cv2.dilate(region, np.ones((3, 9), np.uint8)).astype(np.float32), (0, 0), 1.0
    )
    triangles = _triangles(used)
    count = used * _COLUMNS
    points, skin = points[:count], skin[:count]
    local = np.einsum("bji,pbj->pbi", turns, points[:, None] - starts[None]) * skin[..., None]
    return Halo(
        np.dstack([rgb, np.round(255 * opaque).astype(np.uint8)]), uv[:count].astype(np.float32),
        local.astype(np.float32), skin.astype(np.float32), triangles,
        _STRETCH * sides_of(points.astype(np.float32), triangles),
    ), region > 0  # fmt: skip


def _share(down: Array, side: str) -> Array:
    """How a leg's bones share places along it, (R, B): the point between two bones' beginnings is of both."""
    hip, knee, ankle = (BONES.index(f"{side}_{part}") for part in _LEG)
    found = np.zeros((len(down), len(BONES)))
    lower = np.clip(2 * down - 1, 0, 1)
    upper = np.clip(2 * down, 0, 1)
    found[:, hip], found[:, knee], found[:, ankle] = 1 - upper, upper - lower, lower
    return found


def _hem(posed: Posed, faces: Array, camera: Camera, starts: Array, by: Array) -> int | None:
    """The lowest row with nothing but cloth between the legs, 0 where they are bare, None where it cannot be told.

    starts: (B, 3), where bones begin.  by: (B, 2) pixels they were moved by.
    """
    share = _legs()
    ends, by = share @ starts, share @ by
    height, width = posed.alpha.shape
    covered = rasterise(posed.vertices, faces, camera, (height, width)).face >= 0
    across = np.linspace(0, 1, _SAMPLES)[None, :, None]
    points = (1 - across) * ends[0, :, None] + across * ends[1, :, None]
    moved = (1 - across) * by[0, :, None] + across * by[1, :, None]
    xy = project(points.reshape(-1, 3), camera).reshape(moved.shape) + moved
    x, y = np.round(xy).astype(int).transpose(2, 0, 1)
    within = ((x >= 0) & (y >= 0) & (x < width) & (y < height)).all(1)
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    free = ~covered[y, x]
    gap = free.mean(1) * np.linalg.norm((ends[1] - ends[0])[:, :2], axis=1)
    filled = ((posed.alpha[y, x] > 0.5) & free).sum(1) / np.maximum(free.sum(1), 1)
    tells = within & (gap > _TELLS)
    cloth = np.flatnonzero(tells & (filled >= _FILLED))
    bare = np.flatnonzero(tells & (filled < _FILLED))
    cloth = cloth[cloth < (bare[0] if len(bare) else len(gap))]
    if not len(cloth) or gap[cloth].max() < _CLOTH or cloth[-1] < _SHORTEST * (len(gap) - 1):
        return 0 if len(bare) else None
    # Where the picture ends above a hem, trousers look the same.
    below = min(cloth[-1] + 1, len(gap) - 1)
    # The last row has what is below it, too.
    return int(cloth[-1]) - 1 if within[below] else None


def _triangles(rows: int) -> Array:
    """Triangles (T, 3) int32 of a grid of so many rows."""
    numbers = np.arange(rows * _COLUMNS).reshape(rows, _COLUMNS)
    a, b, c, d = numbers[:-1, :-1], numbers[:-1, 1:], numbers[1:, :-1], numbers[1:, 1:]
    found = np.stack([np.stack([a, b, c], -1), np.stack([b, d, c], -1)], 2)
    return np.ascontiguousarray(found.reshape(-1, 3), np.int32)
