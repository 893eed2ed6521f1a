"""What of a person clothes' offsets do not reach: hair that hangs, skirts, hats, bags. It moves with the bones beside it.

The matte's pixels outside the dressed body's outline become a flat mesh of the view they were seen in, as far away as
the surface beside them and skinned like it.

Shapes: V vertices and F triangles of the body, B bones, P points and T triangles of a halo, H height, W width.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from dance.surface.outline import Posed
from dance.surface.raster import Fragments
from dance.types import Array, Camera

# Metres from the body beyond which the matte holds something else, and how much of a piece may be.
_FAR, _OTHER = 0.4, 0.2
# Pieces nowhere thicker than this are the matte's own unevenness; the side of a cell of the mesh: of the height.
_THIN, _CELL = 1 / 150, 1 / 128
# Metres it lies behind the surface beside it, so that it does not cut through where both bend.
_BEHIND = 0.02


@dataclass(frozen=True, slots=True)
class Halo:
    """A flat mesh of one view.

    rgba: (H, W, 4) uint8, straight colours, opaque where the halo is.  uv: (P, 2) float32, pixels in it.
    local: (P, B, 3) float32, each point in the axes of its bones, from where they begin, times its weights (P, B).
    triangles: (T, 3) int32.  sides: (T, 3) float32 metres, as they were seen.
    """

    rgba: Array
    uv: Array
    local: Array
    weights: Array
    triangles: Array
    sides: Array

    def posed(self, turns: Array, starts: Array) -> Array:
        """The points (P, 3) float32 in camera axes.  turns: (B, 3, 3).  starts: (B, 3), where the bones begin."""
        found = np.einsum("bij,pbj->pi", turns, self.local, optimize=True)
        return np.asarray(found + self.weights @ starts, np.float32)

    def whole(self, points: Array) -> Array:
        """How whole the mesh is at each point, (P,) float32: 0 where bones that go apart tear it.  points: see `posed`."""
        torn = (sides_of(points, self.triangles) / np.maximum(self.sides, 1e-6)).max(1)
        found = np.ones(len(points), np.float32)
        np.minimum.at(found, self.triangles.ravel(), np.repeat(np.clip(2.2 - torn, 0, 1), 3))
        return found


def sides_of(points: Array, triangles: Array) -> Array:
    """How long the sides of triangles (T, 3) between points (P, 3) are, (T, 3) float32."""
    corners = points[triangles]
    return np.asarray(np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2), np.float32)


def halo(
    rgb: Array,
    posed: Posed,
    fragments: Fragments,
    faces: Array,
    weights: Array,
    camera: Camera,
    bones: tuple[Array, Array],
    nudges: Array,
    unlike: Array,
) -> Halo | None:
    """The halo of a view; None where the body covers about all of the matte.

    rgb: (H, W, 3), the person's colours.  fragments: of the dressed body in the view.  weights: (V, B) of skinning.
    bones: turns (B, 3, 3) and starts (B, 3) of the fitted stance.  nudges: (V, 2) pixels the body was moved by since.
    unlike: (H, W) bool, where the picture is not that of the place without the person.
    """
    covered = fragments.face >= 0
    if not covered.any():
        return None
    distance, label = cv2.distanceTransformWithLabels(
        (~covered).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    place = np.zeros(label.max() + 1, np.int64)
    place[label[covered]] = np.flatnonzero(covered)
    anchor = place[label]
    away = fragments.depth.ravel()[anchor]
    kept = _pieces(posed.alpha, covered, distance, distance * away / camera.focal, unlike)
    if not kept.any():
        return None
    height = covered.shape[0]
    wide = cv2.dilate(kept.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    opaque = np.where(wide, posed.alpha, 0) * cv2.GaussianBlur(wide.astype(np.float32), (0, 0), 1.0)
    grid, triangles = _grid(wide, max(2, round(_CELL * height)))
    beside = anchor[grid[:, 1], grid[:, 0]]
    corners, bary = faces[fragments.face.ravel()[beside]], fragments.bary.reshape(-1, 3)[beside]
    skin = np.einsum("pk,pkb->pb", bary, weights[corners])
    moved = np.einsum("pk,pkc->pc", bary, nudges[corners])
    deep = away[grid[:, 1], grid[:, 0]] + _BEHIND
    skin, moved, deep = _even(np.column_stack([skin, moved, deep]), triangles, skin.shape[1])
    centre = np.asarray(camera.centre)
    flat = (grid - moved - centre) * deep / camera.focal
    points = np.column_stack([flat, deep])
    turns, starts = bones
    local = np.einsum("bji,pbj->pbi", turns, points[:, None] - starts[None]) * skin[..., None]
    return Halo(
        np.dstack([rgb, np.round(255 * opaque).astype(np.uint8)]), grid.astype(np.float32),
        local.astype(np.float32), skin.astype(np.float32), triangles,
        sides_of(points, triangles),
    )  # fmt: skip


def _pieces(alpha: Array, covered: Array, distance: Array, metres: Array, unlike: Array) -> Array:
    """(H, W) bool, the pieces of the matte beside the body that belong to the person."""
    beside = (alpha > 0.3) & ~covered & unlike
    count, label = cv2.connectedComponents(beside.astype(np.uint8), connectivity=4)
    thick = _THIN * alpha.shape[0]
    kept = np.zeros(alpha.shape, bool)
    for k in range(1, count):
        piece = label == k
        if distance[piece].max() <= thick:
            continue
        # A picture on the wall that the matte took for a part of the person goes on and on.
        if (metres[piece] > _FAR).mean() > _OTHER:
            continue
        kept |= piece & (metres <= _FAR)
    return kept


def _grid(wide: Array, cell: int) -> tuple[Array, Array]:
    """Points (P, 2) int64 (x, y) and triangles (T, 3) int32 of square cells over the region (H, W)."""
    height, width = wide.shape
    rows, columns = -(-height // cell), -(-width // cell)
    padded = np.zeros((rows * cell, columns * cell), bool)
    padded[:height, :width] = wide
    filled = padded.reshape(rows, cell, columns, cell).any((1, 3))
    y, x = np.nonzero(filled)
    numbers = np.arange((rows + 1) * (columns + 1)).reshape(rows + 1, columns + 1)
    a, b, c, d = numbers[y, x], numbers[y, x + 1], numbers[y + 1, x], numbers[y + 1, x + 1]
    used, renamed = np.unique(np.stack([a, b, c, b, d, c]), return_inverse=True)
    triangles = renamed.reshape(2, 3, -1).transpose(0, 2, 1).reshape(-1, 3)
    points = np.column_stack([used % (columns + 1), used // (columns + 1)]) * cell
    return np.minimum(points, [width - 1, height - 1]), triangles.astype(np.int32)


def _even(values: Array, triangles: Array, bones: int) -> tuple[Array, Array, Array]:
    """Skinning (P, B), nudges (P, 2) and depth (P, 1) made smooth over the mesh."""
    ends = np.concatenate([triangles, np.roll(triangles, 1, axis=1)]).reshape(-1)
    others = np.concatenate([np.roll(triangles, 1, axis=1), triangles]).reshape(-1)
    degree = np.bincount(ends, minlength=len(values))[:, None]
    for _ in range(8):
        total = np.zeros_like(values)
        np.add.at(total, ends, values[others])
        values = 0.5 * values + 0.5 * total / np.maximum(degree, 1)
    return values[:, :bones], values[:, bones : bones + 2], values[:, bones + 2 :]
