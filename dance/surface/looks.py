"""Views of the person laid onto the body's surface: where in a picture each vertex is, and how well it is seen there.

Shapes: V vertices, F triangles, B bones, H height, W width of the pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import sparse

from dance.surface.outline import Posed, project
from dance.surface.raster import rasterise, vertex_normals
from dance.types import Array, Camera

# A surface this much nearer, in metres, hides what is behind it and, as bodies are never fitted to the
# pixel, what is beside it by this share of the picture's height.
_ROW = 4096
_HIDES, _BESIDE = 0.03, 1 / 170


@dataclass(frozen=True, slots=True)
class Look:
    """One picture as a texture of the body.

    rgb: (H, W, 3) uint8, the person's colours carried beyond their outline.
    xy: (V, 2) float32, where each vertex is in the picture.
    seen: (V,) float32 in [0, 1], how well it is seen there; 0 = hidden or outside.
    behind: (V,) float32 in [0, 1], how well the surface in front of it stands for it: 1 on the far side.
    turns: (B, 3, 3) float32, the bones' rotations from their own to camera axes.
    away: metres, how far from the camera the person is.
    """

    rgb: Array
    xy: Array
    seen: Array
    behind: Array
    turns: Array
    away: float


def look(
    rgb: Array,
    posed: Posed,
    offsets: Array,
    turns: Array,
    faces: Array,
    camera: Camera,
    mean: sparse.csr_matrix,
    limbs: Array,
) -> Look:
    """The picture as a texture.

    offsets: (V,) metres, see `clothing`.  turns: as in `Look`.  mean: see `fields.neighbours`.
    limbs: (V,) see `clothing.limbs_of`.
    """
    vertices = posed.dressed(offsets)
    xy = project(vertices, camera)
    # Eyes, ears and folds have normals of all kinds; what counts is whether the part they are on is seen.
    outward = 0.5 * vertex_normals(vertices, faces) + posed.outward
    outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-6)
    sight = vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
    towards = -(outward * sight).sum(1)
    height, width = posed.alpha.shape
    beside = max(1, round(_BESIDE * height))
    fragments = rasterise(vertices, faces, camera, (height, width))
    free = _unhidden(fragments.depth, vertices[:, 2], xy, beside, camera)
    within = cv2.distanceTransform((posed.alpha > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
    inside = np.clip(sampled(within, xy) / (1.0 + 0.5 * beside), 0, 1)
    x, y = xy.T
    inside *= (x > 1) & (y > 1) & (x < width - 2) & (y < height - 2)
    seen = free * inside * np.clip((towards - 0.1) / 0.6, 0, 1)
    # What is hidden begins somewhere between two vertices: the weight is gone before it does.
    seen = np.minimum(seen, _least(mean, seen))
    seen = np.minimum(seen, mean @ (mean @ seen))
    # A hand before the hip tells nothing of the hip.
    own = _behind_own_limb(fragments.face, faces, limbs, xy, beside)
    behind = inside * own * np.clip(0.6 - towards, 0, 1)
    return Look(
        carried(rgb, posed.alpha, beside), xy, np.asarray(seen, np.float32),
        np.asarray(behind, np.float32), turns, float(np.median(vertices[:, 2])),
    )  # fmt: skip


def carried(rgb: Array, alpha: Array, margin: int) -> Array:
    """The person's colours (H, W, 3) uint8 with those near the outline, and beyond, taken from inside it."""
    # Mattes are soft for a few pixels; what of the background is in there would be painted all around.
    solid = cv2.erode(
        (alpha > 0.95).astype(np.uint8), np.ones((3, 3), np.uint8), iterations=max(1, margin // 2)
    )
    if not solid.any():
        return rgb
    # Nearest colours keep edges of garments; a film over them takes the stripes off.
    _, labels = cv2.distanceTransformWithLabels(
        1 - solid, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    nearest = np.zeros((labels.max() + 1, 3), np.uint8)
    nearest[labels[solid > 0]] = rgb[solid > 0]
    filled = nearest[labels].astype(np.float32)
    smooth = cv2.GaussianBlur(filled, (0, 0), 0.5 * margin)
    share = np.clip(cv2.distanceTransform(1 - solid, cv2.DIST_L2, 3) / (2 * margin), 0, 1)[
        ..., None
    ]
    out = (1 - share) * filled + share * smooth
    return np.where(solid[..., None] > 0, rgb, np.clip(np.round(out), 0, 255)).astype(np.uint8)


def sampled(picture: Array, xy: Array) -> Array:
    """The picture (H, W) or (H, W, C), float32 or uint8, at places (N, 2), bilinear, edges carried on; float32."""
    count = len(xy)
    # OpenCV's maps have no more than 2^15 columns.
    rows = max(1, -(-count // _ROW))
    padded = np.zeros((rows * _ROW, 2), np.float32)
    padded[:count] = xy
    grid = padded.reshape(rows, _ROW, 2)
    values = cv2.remap(
        picture, grid[..., 0], grid[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(values.reshape(rows * _ROW, *picture.shape[2:])[:count], np.float32)


def _unhidden(depth: Array, away: Array, xy: Array, beside: int, camera: Camera) -> Array:
    """(V,) float32, 1 where nothing is in front of a vertex nor of its surroundings.

    depth: (H, W) of what is seen, metres.  away: (V,) of the vertices.  beside: pixels.
    """
    depth = np.where(np.isfinite(depth), depth, 1e3).astype(np.float32)
    window = np.ones((2 * beside + 1, 2 * beside + 1), np.uint8)
    nearest = cv2.erode(depth, window)
    row, column = _pixels(xy, depth.shape)
    here = cv2.dilate(np.where(depth > 1e2, 0, depth), np.ones((3, 3), np.uint8))[row, column]
    hidden = np.where(here > 0, away - here, 0) > _HIDES / 2
    # The same surface curving away is no hiding: it takes a step.
    shadowed = away - nearest[row, column] > _HIDES + 2.5 * beside * away / camera.focal
    return np.asarray(~hidden & ~shadowed, np.float32)


def _behind_own_limb(face: Array, faces: Array, limbs: Array, xy: Array, beside: int) -> Array:
    """(V,) float32, 1 where all that is seen around a vertex's place is of its own limb.  face: (H, W)."""
    shown = np.where(face >= 0, limbs[faces[face, 0]], 0).astype(np.uint8)
    row, column = _pixels(xy, face.shape)
    found = np.zeros(len(xy), np.float32)
    window = np.ones((2 * beside + 1, 2 * beside + 1), np.uint8)
    for limb in np.unique(limbs):
        others = cv2.dilate(((shown > 0) & (shown != limb)).astype(np.uint8), window)
        found[limbs == limb] = 1 - others[row, column][limbs == limb]
    return found


def _pixels(xy: Array, size: tuple[int, ...]) -> tuple[Array, Array]:
    """Rows and columns of the pixels nearest to places (V, 2), within a picture of the size."""
    column = np.clip(np.round(xy[:, 0]).astype(int), 0, size[1] - 1)
    row = np.clip(np.round(xy[:, 1]).astype(int), 0, size[0] - 1)
    return row, column


def _least(mean: sparse.csr_matrix, values: Array) -> Array:
    """(V,) the least value among each vertex's neighbours."""
    gathered = values[mean.indices]
    return np.asarray(np.minimum.reduceat(gathered, mean.indptr[:-1]), np.float32)
