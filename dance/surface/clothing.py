"""How far clothes and hair stand out from the body: the posed surface is moved until its outline meets the mattes.

Shapes: V vertices, F triangles, H height, W width of the pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import sparse

from dance.surface import fields
from dance.surface.body import BONES
from dance.surface.raster import rasterise, vertex_normals
from dance.types import Array, Camera

_ROUNDS = 5
# Metres clothes may stand out: anywhere, and by the last word of bones' names; and how much a face may.
_LIMIT = 0.1
_LIMITS = (
    (("neck",), 0.06),
    (("head",), 0.16),
    (("foot", "toes"), 0.04),
    (("hand", "fingers"), 0.012),
)
_FACE = 0.008
# Stiffness of the field of offsets, from the first round to the last.
_STIFF = (60.0, 4.0)
# Metres after which a target that the others do not share counts half.
_ASTRAY = 0.025
# How much a vertex wants the offset of its mirror image, and none at all where nothing is known.
_ALIKE, _BARE = 0.05, 0.002


@dataclass(frozen=True, slots=True)
class Posed:
    """The naked body as it stands in one picture, and the person's matte there.

    vertices: (V, 3) float32, camera axes, metres.  outward: (V, 3) float32, see `outward`.  alpha: (H, W) float32 in [0, 1].
    """

    vertices: Array
    outward: Array
    alpha: Array

    def dressed(self, offsets: Array) -> Array:
        """The vertices moved outward, (V, 3) float32; offsets: (V,) metres."""
        return np.asarray(self.vertices + offsets[:, None] * self.outward, np.float32)


def directions(vertices: Array, faces: Array, rounds: int = 12) -> Array:
    """Where clothes stand out to, (V, 3) float32 of length 1: the normals of the resting body, made smooth.

    Toes and fingers would be spread by their own normals; a shoe or a glove is one thing.
    """
    mean = fields.neighbours(faces, len(vertices))
    found = vertex_normals(vertices, faces)
    for _ in range(rounds):
        found = mean @ found
    return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-6))


def outward(rested: Array, weights: Array, turns: Array) -> Array:
    """Directions of the resting body (V, 3) as it stands now, (V, 3) float32.

    weights: (V, B) of skinning.  turns: (B, 3, 3) rotations of the bones from rest.
    """
    blended = (weights @ turns.reshape(len(turns), 9)).reshape(-1, 3, 3)
    return np.asarray((blended * rested[:, None]).sum(-1), np.float32)


def limits(weights: Array, rested: Array, vertices: Array) -> Array:
    """How far from the body each vertex may be moved, (V,) float32 metres: hair far, faces and hands hardly.

    weights: (V, B) of skinning.  rested: (V, 3), see `directions`.  vertices: (V, 3) of the resting body.
    """
    parts = np.array([name.split("_")[-1] for name in BONES])
    found = np.full(len(weights), _LIMIT, np.float32)
    for names, limit in _LIMITS:
        share = weights[:, np.isin(parts, names)].sum(1)
        found += share * (limit - found)
    # Fingers are thin: a share of the palm's limit would make sausages of them.
    hand = weights[:, np.isin(parts, ("hand", "fingers"))].sum(1)
    found = np.where(hand > 0.5, min(limit for _, limit in _LIMITS), found)
    head = weights[:, parts == "head"].sum(1)
    level = head_level(vertices, head)
    face = head * np.clip(-rested[:, 2] / 0.3, 0, 1) * np.clip((0.8 - level) / 0.1, 0, 1)
    return np.asarray(found + face * (_FACE - found), np.float32)


def limbs_of(weights: Array) -> Array:
    """Which limb each vertex is of, (V,) uint8: 1 head, 2 trunk, 3 and 4 arms, 5 and 6 legs; left before right."""
    kinds = []
    for name in BONES:
        side, _, part = name.partition("_")
        if name in ("neck", "head"):
            kinds.append(1)
        elif side not in ("left", "right") or part == "clavicle":
            kinds.append(2)
        else:
            arm = part in ("upper_arm", "forearm", "hand", "fingers")
            kinds.append((3 if arm else 5) + (side == "right"))
    return np.array(kinds, np.uint8)[weights.argmax(1)]


def head_level(vertices: Array, head: Array) -> Array:
    """How high on the head each vertex is, (V,): 0 under the chin, 1 at the top.

    vertices: (V, 3) of the resting body.  head: (V,) shares in the head.
    """
    up = -vertices[:, 1]
    if not (head > 0.5).any():
        return np.zeros(len(up), np.float32)
    low, high = np.percentile(up[head > 0.5], [5, 100])
    return np.asarray((up - low) / max(1e-6, float(high - low)), np.float32)


def project(vertices: Array, camera: Camera) -> Array:
    """Where points (N, 3) before the camera are seen, (N, 2) float32 pixels."""
    away = np.maximum(vertices[:, 2:], 0.05)
    return np.asarray(camera.focal * vertices[:, :2] / away + np.asarray(camera.centre), np.float32)


def offsets(
    posed: Sequence[Posed],
    faces: Array,
    camera: Camera,
    limits: Array,
    mirror: Array,
    limbs: Array,
) -> Array:
    """How far each vertex is moved outward, (V,) float32 metres.

    limits: (V,) metres, the largest offset of a vertex.  mirror: (V,) the vertex on the body's other side.
    limbs: (V,) see `limbs_of`.
    """
    mean = fields.neighbours(faces, len(limits))
    distances = [_outside(view.alpha) for view in posed]
    found = np.zeros(len(limits), np.float32)
    for i in range(_ROUNDS):
        wanted, weight = np.zeros(len(limits)), np.zeros(len(limits))
        for view, outside in zip(posed, distances, strict=True):
            where, target, sure = _rim(view, outside, faces, camera, found, limits, limbs)
            if i > 0:
                # A view whose stance is a little off disagrees with the others.
                sure = sure / (1 + ((target - found[where]) / _ASTRAY) ** 2)
            np.add.at(wanted, where, sure * target)
            np.add.at(weight, where, sure)
        share = i / (_ROUNDS - 1)
        stiff = _STIFF[0] ** (1 - share) * _STIFF[1] ** share
        found = _smooth(mean, mirror, wanted / np.maximum(weight, 1e-9), weight, stiff)
        found = np.clip(found, -0.35 * limits, limits)
    return found


def _outside(alpha: Array) -> Array:
    """(H, W) float32, how many pixels outside the matte's outline every pixel is; negative inside."""
    solid = (alpha > 0.5).astype(np.uint8)
    out = cv2.distanceTransform(1 - solid, cv2.DIST_L2, 5)
    within = cv2.distanceTransform(solid, cv2.DIST_L2, 5)
    return cv2.GaussianBlur(np.asarray(out - within, np.float32), (0, 0), 1.0)


def _rim(
    view: Posed,
    outside: Array,
    faces: Array,
    camera: Camera,
    now: Array,
    limits: Array,
    limbs: Array,
) -> tuple[Array, Array, Array]:
    """Vertices on the outline against the background, the offsets that would bring them onto the matte's, and weights."""
    height, width = outside.shape
    vertices = view.dressed(now)
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
    rim = inside & ~behind & (sideways > 0.85) & (own[row, column] < 2.5) & (vertices[:, 2] > 0.1)
    where = np.flatnonzero(rim)
    # Walks along the direction to where the matte ends; a step is half a pixel.
    reach = int(np.ceil(2 * (limits[where] * pixel[where]).max(initial=0.0))) + 2
    steps = np.arange(-reach // 2, reach + 1, dtype=np.float32) / 2
    path = xy[where, None] + steps[None, :, None] * along[where, None]
    values = cv2.remap(
        outside, path[..., 0], path[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    crossing = (values[:, :-1] <= 0) & (values[:, 1:] > 0)
    # Beyond another limb the matte's outline is that limb's.
    crossing &= ~_beyond_others(fragments.face, faces, limbs, where, path, steps)[:, 1:]
    cost = np.where(crossing, np.abs(steps[:-1] + 0.25), np.inf)
    best = cost.argmin(1)
    rows = np.arange(len(where))
    low, high = values[rows, best], values[rows, best + 1]
    moved = steps[best] + 0.5 * low / np.minimum(low - high, -1e-6)
    target = now[where] + moved / (pixel[where] * sideways[where])
    # The outline of the matte must run across the way there: its distance grows one by one.
    square = np.clip((high - low) / 0.5, 0, 1) ** 2
    good = np.isfinite(cost[rows, best]) & (target < 1.1 * limits[where])
    good &= target > -0.5 * limits[where]
    return where[good], target[good], (square * sideways[where] ** 4)[good]


def _beyond_others(
    face: Array, faces: Array, limbs: Array, where: Array, path: Array, steps: Array
) -> Array:
    """(N, P) bool, whether another limb lies between a vertex and a place on its path.

    face: (H, W), see `raster.Fragments`.  where: (N,) vertices.  path: (N, P, 2) places at steps (P,).
    """
    height, width = face.shape
    shown = np.where(face >= 0, limbs[faces[face, 0]], 0).astype(np.uint8)
    wide = 2 * max(1, round(height / 256)) + 1
    column = np.clip(np.round(path[..., 0]).astype(int), 0, width - 1)
    row = np.clip(np.round(path[..., 1]).astype(int), 0, height - 1)
    met = np.zeros(path.shape[:2], bool)
    for limb in np.unique(limbs[where]):
        others = ((shown > 0) & (shown != limb)).astype(np.uint8)
        others = cv2.dilate(others, np.ones((wide, wide), np.uint8)) > 0
        mine = limbs[where] == limb
        met[mine] = others[row[mine], column[mine]] & (steps >= 0)
    return np.asarray(np.logical_or.accumulate(met, axis=1))


def _smooth(
    mean: sparse.csr_matrix, mirror: Array, wanted: Array, weight: Array, stiff: float
) -> Array:
    count = len(weight)
    rough = sparse.identity(count, format="csr") - mean.astype(np.float64)
    alike = sparse.identity(count, format="csr") - sparse.csr_matrix(
        (np.ones(count), (np.arange(count), mirror)), (count, count)
    )
    system = sparse.diags(weight + _BARE) + stiff * (rough.T @ rough) + _ALIKE * (alike.T @ alike)
    solved = sparse.linalg.splu(system.tocsc()).solve(weight * wanted)
    return np.asarray(solved, np.float32)
