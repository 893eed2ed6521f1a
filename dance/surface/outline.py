"""Where the outline of a posed body is beside that of the person's matte.

Shapes: V vertices, F triangles, N vertices on the outline, B bones, H height, W width of the pictures.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from dance.surface.raster import rasterise
from dance.types import Array, Camera

# Of the skeleton's nudges in pixels: how much bones hang together, and how much they stay where they are.
_TOGETHER, _STAY = 25.0, 3.0
# Outlines this far apart, as a share of the picture's height, count half.
_FAR = 1 / 60
# So near to another limb, as a share of the height, mattes have no gap and stances are not exact enough to tell whose outline it is.
_ASIDE = 1 / 100


@dataclass(frozen=True, slots=True)
class Posed:
    """The naked body as it stands in one picture, and the person's matte there.

    vertices: (V, 3) float32, camera axes, metres.  outward: (V, 3) float32, see `clothing.outward`.  alpha: (H, W) float32 in [0, 1].
    """

    vertices: Array
    outward: Array
    alpha: Array

    def nudged(self, by: Array, camera: Camera) -> Posed:
        """The body moved by (V, 2) pixels across the picture."""
        moved = self.vertices.copy()
        moved[:, :2] += by * moved[:, 2:] / camera.focal
        return replace(self, vertices=moved)

    def dressed(self, offsets: Array) -> Array:
        """The vertices moved outward, (V, 3) float32; offsets: (V,) metres."""
        return np.asarray(self.vertices + offsets[:, None] * self.outward, np.float32)


def project(vertices: Array, camera: Camera) -> Array:
    """Where points (N, 3) before the camera are seen, (N, 2) float32 pixels."""
    away = np.maximum(vertices[:, 2:], 0.05)
    return np.asarray(camera.focal * vertices[:, :2] / away + np.asarray(camera.centre), np.float32)


@dataclass(frozen=True, slots=True)
class Rim:
    """The vertices on the body's outline against the background whose way to the matte's outline is found.

    where: (N,) their numbers.  along: (N, 2), the way outward in the picture, length 1.
    gap: (N,) pixels to go along it.  sure: (N,) weights in [0, 1].  pixels: (N,) that a metre outward makes.
    """

    where: Array
    along: Array
    gap: Array
    sure: Array
    pixels: Array


def outside(alpha: Array) -> Array:
    """(H, W) float32, how many pixels outside the matte's outline every pixel is; negative inside."""
    solid = (alpha > 0.5).astype(np.uint8)
    out = cv2.distanceTransform(1 - solid, cv2.DIST_L2, 5)
    within = cv2.distanceTransform(solid, cv2.DIST_L2, 5)
    return cv2.GaussianBlur(np.asarray(out - within, np.float32), (0, 0), 1.0)


def rim(
    view: Posed,
    distance: Array,
    faces: Array,
    camera: Camera,
    offsets: Array,
    reach: Array,
    limbs: Array,
) -> Rim:
    """The way from the dressed body's outline to the matte's.

    distance: see `outside`.  offsets: (V,) metres.  reach: (V,) metres that are looked at outward, and most of it inward.
    limbs: (V,), see `clothing.limbs_of`.
    """
    height, width = distance.shape
    vertices = view.dressed(offsets)
    xy = project(vertices, camera)
    fragments = rasterise(vertices, faces, camera, (height, width))
    covered = fragments.face >= 0
    own = cv2.distanceTransform(covered.astype(np.uint8), cv2.DIST_L2, 3)
    # The outline moves along the directions' part across the line of sight.
    sight = vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
    across = view.outward - (view.outward * sight).sum(1, keepdims=True) * sight
    sideways = np.linalg.norm(across, axis=1)
    along = across[:, :2] / np.maximum(np.linalg.norm(across[:, :2], axis=1, keepdims=True), 1e-6)
    column, row = np.round(xy).astype(int).T
    inside = (column >= 2) & (row >= 2) & (column < width - 2) & (row < height - 2)
    column, row = np.clip(column, 0, width - 1), np.clip(row, 0, height - 1)
    nearest = np.where(covered, fragments.depth, 0)
    behind = vertices[:, 2] > cv2.dilate(nearest, np.ones((5, 5), np.uint8))[row, column] + 0.05
    pixel = camera.focal / np.maximum(vertices[:, 2], 0.1)
    on = inside & ~behind & (sideways > 0.85) & (own[row, column] < 2.5) & (vertices[:, 2] > 0.1)
    where = np.flatnonzero(on)
    # Walks along the direction to where the matte ends; a step is half a pixel.
    span = reach[where] * pixel[where]
    most = int(np.ceil(2 * span.max(initial=0.0))) + 2
    steps = np.arange(-most, most + 1, dtype=np.float32) / 2
    path = xy[where, None] + steps[None, :, None] * along[where, None]
    values = cv2.remap(
        distance, path[..., 0], path[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    crossing = (values[:, :-1] <= 0) & (values[:, 1:] > 0)
    # Beyond another limb the matte's outline is that limb's.
    crossing &= ~_beyond_others(fragments.face, faces, limbs, where, path, steps)[:, 1:]
    cost = np.where(crossing, np.abs(steps[:-1] + 0.25), np.inf)
    best = cost.argmin(1)
    rows = np.arange(len(where))
    low, high = values[rows, best], values[rows, best + 1]
    moved = steps[best] + 0.5 * low / np.minimum(low - high, -1e-6)
    # The outline of the matte must run across the way there: its distance grows one by one.
    square = np.clip((high - low) / 0.5, 0, 1) ** 2
    good = np.isfinite(cost[rows, best]) & (moved < span) & (moved > -0.7 * span)
    sure = square * sideways[where] ** 4
    pixels = pixel[where] * sideways[where]
    return Rim(where[good], along[where][good], moved[good], sure[good], pixels[good])


def _beyond_others(
    face: Array, faces: Array, limbs: Array, where: Array, path: Array, steps: Array
) -> Array:
    """(N, P) bool, whether another limb lies between a vertex and a place on its path.

    face: (H, W), see `raster.Fragments`.  where: (N,) vertices.  path: (N, P, 2) places at steps (P,).
    """
    height, width = face.shape
    shown = np.where(face >= 0, limbs[faces[face, 0]], 0).astype(np.uint8)
    wide = 2 * max(1, round(_ASIDE * height)) + 1
    column = np.clip(np.round(path[..., 0]).astype(int), 0, width - 1)
    row = np.clip(np.round(path[..., 1]).astype(int), 0, height - 1)
    met = np.zeros(path.shape[:2], bool)
    for limb in np.unique(limbs[where]):
        others = ((shown > 0) & (shown != limb)).astype(np.uint8)
        others = cv2.dilate(others, np.ones((wide, wide), np.uint8)) > 0
        mine = limbs[where] == limb
        met[mine] = others[row[mine], column[mine]] & (steps >= 0)
    return np.asarray(np.logical_or.accumulate(met, axis=1))


def nudge(found: Rim, weights: Array, parents: tuple[int, ...], height: int) -> Array:
    """How far each bone is moved across the picture to bring both its outlines to the matte's, (B, 2) pixels.

    weights: (V, B) of skinning.  height: of the picture.
    """
    bones = len(parents)
    mine = weights[found.where]
    rows = (mine[:, :, None] * found.along[:, None]).reshape(len(mine), 2 * bones)
    sure = found.sure / (1 + (found.gap / (_FAR * height)) ** 2)
    system = rows.T @ (sure[:, None] * rows) + _STAY * np.eye(2 * bones)
    for bone, parent in enumerate(parents):
        if parent >= 0:
            for axis in (0, 1):
                joined = np.zeros(2 * bones)
                joined[2 * bone + axis], joined[2 * parent + axis] = 1, -1
                system += _TOGETHER * np.outer(joined, joined)
    return np.asarray(np.linalg.solve(system, rows.T @ (sure * found.gap)).reshape(bones, 2))
