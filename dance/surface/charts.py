"""The charts of our own body: for every part of `parts` a flat map of its surface, U and V in [0, 1].

U and V are this project's own (DensePose's atlas is not free), only the numbers of the parts are DensePose's. A
chart looks as its part does from outside, U to the right, V down: limbs hang with the end near the trunk on top.
Hands (back, palm), feet (top, sole, heel) and heads (skin, eye) are made of several islands beside each other.

One side of the body mirrors the other: the twin of (part, u, v) is (OPPOSITE[part], 1 - u, v).
An atlas holds the 24 charts as square tiles, 4 rows of 6 in the order of their numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from dance.surface._flatten import flatten
from dance.surface.body import AVERAGE, BONES, Body, rest
from dance.surface.parts import (
    AXES,
    OPPOSITE,
    PARTS,
    part_of_faces,
    patches,
    quads_beside,
    smoothed,
    twin_faces,
)
from dance.surface.raster import rasterise
from dance.types import Array, Camera

ROWS, COLUMNS = 4, 6
_MARGIN = (
    0.01  # of a chart, kept free around every island so that colours do not run into each other
)
_ISLANDS = 4  # most islands of a part
# Where an island lies in its chart (left, top, right, bottom), and its label within the part.
_WHOLE = (0.0, 0.0, 1.0, 1.0)
_BACK, _PALM = 0, 1
_TOP, _SOLE, _HEEL = 0, 1, 2
_SKIN, _EYE = 0, 1
_BOXES: dict[str, dict[int, tuple[float, float, float, float]]] = {
    "hand": {_BACK: (0.0, 0.0, 0.5, 1.0), _PALM: (0.5, 0.0, 1.0, 1.0)},
    "foot": {
        _TOP: (0.0, 0.0, 0.62, 1.0),
        _SOLE: (0.62, 0.0, 1.0, 0.72),
        _HEEL: (0.62, 0.72, 1.0, 1.0),
    },
    "head": {_SKIN: _WHOLE, _EYE: (0.0, 0.88, 0.12, 1.0)},
}
_SOFTENING = 12  # rounds in which a foot's or hand's directions are averaged with their neighbours'


@dataclass(frozen=True, eq=False)
class Charts:
    """part: (F,) uint8 in 1..24, of every triangle.  uv: (F, 3, 2) float32 in [0, 1], of its corners in its chart."""

    part: Array
    uv: Array


@lru_cache(maxsize=1)
def charts(body: Body) -> Charts:
    """The charts of a body, the same for every shape; a few seconds the first time, then kept."""
    points, joints = (a.numpy().astype(np.float64) for a in rest(body, torch.tensor(AVERAGE)))
    faces, mirror = body.faces.numpy(), body.mirror.numpy()
    twins = twin_faces(faces, mirror)
    # Which corner of a triangle's twin mirrors each of its own.
    across = (faces[twins][:, None] == mirror[faces][:, :, None]).argmax(2)
    labels = _island_labels(body, points, joints)
    part = labels // _ISLANDS
    patch, cut, origin = patches(faces, labels)
    uv = np.zeros((len(faces), 3, 2))
    for number in range(patch.max() + 1):
        of = np.flatnonzero(patch == number)
        name, island = PARTS[part[of[0]]], int(labels[of[0]] % _ISLANDS)
        if name.startswith("right"):
            continue
        used, local = np.unique(cut[of], return_inverse=True)
        local = local.reshape(-1, 3)
        places = points[origin[used]]
        flat = _upright(flatten(places, local), _descent(name, island, places, joints))
        uv[of] = flat[local]
        if name.startswith("torso"):
            # Its own mirror image, exactly.
            uv[of] = (uv[of] + uv[twins[of, None], across[of]] * [-1, 1]) / 2
        uv[of] = _into_box(uv[of], _BOXES.get(name.split()[-1], {}).get(island, _WHOLE))
    right = np.flatnonzero([PARTS[p].startswith("right") for p in part])
    uv[right] = uv[twins[right, None], across[right]] * [-1, 1] + [1, 0]
    return Charts(part.astype(np.uint8), uv.astype(np.float32))


def tile(part: int, side: int) -> tuple[int, int]:
    """Row and column of the top left pixel of a part's tile in an atlas of tiles of side x side pixels."""
    row, column = divmod(part - 1, COLUMNS)
    return row * side, column * side


def to_atlas(part: Array, uv: Array, side: int) -> Array:
    """Where in an atlas (ROWS * side, COLUMNS * side) surface points are, (..., 2) float32 pixels x, y.

    part: (...) in 1..24.  uv: (..., 2) in [0, 1]: 0 is the outer edge of a tile's first pixel, 1 that of its last.
    """
    row, column = np.divmod(part.astype(np.int64) - 1, COLUMNS)
    corner = np.stack([column, row], -1)
    return np.asarray((corner + uv) * side - 0.5, np.float32)


def from_atlas(xy: Array, side: int) -> tuple[Array, Array]:
    """The part (...) uint8 and U, V (..., 2) float32 of places (..., 2) in an atlas; part 0 outside of it."""
    whole = (np.asarray(xy, np.float64) + 0.5) / side
    corner = np.floor(whole).astype(np.int64)
    column, row = corner[..., 0], corner[..., 1]
    inside = (column >= 0) & (column < COLUMNS) & (row >= 0) & (row < ROWS)
    part = np.where(inside, row * COLUMNS + column + 1, 0).astype(np.uint8)
    return part, (whole - corner).astype(np.float32)


def mirrored(part: Array, uv: Array) -> tuple[Array, Array]:
    """The surface points on the other side of the body.  part: (...) in 0..24.  uv: (..., 2)."""
    return np.array(OPPOSITE, np.uint8)[part], np.asarray([1, 0] + uv * [-1, 1], np.float32)


def texels(of: Charts, side: int) -> tuple[Array, Array]:
    """Which surface point every pixel of an atlas is: the triangle (ROWS * side, COLUMNS * side) int32, -1 where
    there is none, and the weights of its corners (..., 3) float32."""
    corners = to_atlas(of.part[:, None].repeat(3, 1), of.uv, side)
    # An atlas is a flat mesh a metre away.
    flat = np.concatenate([corners, np.ones_like(corners[..., :1])], 2).reshape(-1, 3)
    seen = rasterise(
        flat, np.arange(len(flat)).reshape(-1, 3), Camera(1.0, (0.0, 0.0)),
        (ROWS * side, COLUMNS * side), both_sides=True,
    )  # fmt: skip
    return seen.face, seen.bary


def _island_labels(body: Body, points: Array, joints: Array) -> Array:
    """(F,) int64: _ISLANDS times the part, plus the island within it; mirrored left to right."""
    faces, mirror = body.faces.numpy(), body.mirror.numpy()
    part = part_of_faces(body).astype(np.int64)[::2]
    beside = quads_beside(faces)
    corners = points[faces].reshape(-1, 6, 3)
    middle = corners.mean(1)
    facing = np.cross(
        points[faces[:, 1]] - points[faces[:, 0]], points[faces[:, 2]] - points[faces[:, 0]]
    )
    facing = facing[::2] + facing[1::2]
    facing /= np.linalg.norm(facing, axis=1, keepdims=True)
    for _ in range(_SOFTENING):
        around = np.where((beside >= 0)[..., None], facing[beside], 0).sum(1)
        facing = facing + around
        facing /= np.linalg.norm(facing, axis=1, keepdims=True)
    island = np.zeros(len(part), np.int64)
    hand = part == PARTS.index("left hand")
    # The hand is flat across the direction it is thinnest in; its back looks outwards and up.
    thin = np.linalg.svd(middle[hand] - middle[hand].mean(0), full_matrices=False)[2][2]
    thin = thin if thin @ [1.0, -1.0, 0.0] > 0 else -thin
    island[hand] = np.where(facing[hand] @ thin > 0, _BACK, _PALM)
    foot = part == PARTS.index("left foot")
    behind = middle[foot][:, 2] > joints[BONES.index("left_foot")][2]
    island[foot] = np.where(facing[foot][:, 1] > 0.5, _SOLE, np.where(behind, _HEEL, _TOP))
    labels = smoothed(part * _ISLANDS + island, beside)
    # Eyes touch nothing: their patches are not the largest of their part.
    piece = patches(faces, np.zeros(len(faces)))[0][::2]
    labels[piece != np.bincount(piece).argmax()] += _EYE
    labels = labels.repeat(2)
    twins = twin_faces(faces, mirror)
    other = np.array(OPPOSITE)[labels // _ISLANDS] * _ISLANDS + labels % _ISLANDS
    right = points[faces].mean(1)[:, 0] < 0
    return np.where(right, other[twins], labels)


def _descent(name: str, island: int, places: Array, joints: Array) -> Array:
    """How far down in its chart each place (n, 3) should be, (n,) metres; only the direction matters."""
    way = {"left hand": ("left_hand", "left_fingers"), **AXES}.get(
        name.removesuffix(" front").removesuffix(" back")
    )
    if name == "left foot" and island != _HEEL:
        # Toes end down from above, up from below.
        axis = np.array([0.0, 1.0, -1.0] if island == _TOP else [0.0, 0.0, 1.0])
    elif way is None or name.startswith("torso"):
        axis = np.array([0.0, 1.0, 0.0])
    else:
        axis = joints[BONES.index(way[1])] - joints[BONES.index(way[0])]
    return np.asarray(places @ axis)


def _upright(flat: Array, descent: Array) -> Array:
    """A flattened patch (n, 2), x right and y up, turned and flipped so that y goes where the descent (n,) does."""
    centred = flat - flat.mean(0)
    slope = np.linalg.lstsq(centred, descent - descent.mean(), rcond=None)[0]
    down = slope / np.linalg.norm(slope)
    right = np.array([-down[1], down[0]])
    return np.asarray(centred @ np.stack([right, down], 1))


def _into_box(corners: Array, box: tuple[float, float, float, float]) -> Array:
    """An island's corners (n, 3, 2) made to fill the box but for the margin."""
    low, high = corners.min((0, 1)), corners.max((0, 1))
    start = np.array(box[:2]) + _MARGIN
    room = np.array(box[2:]) - _MARGIN - start
    return np.asarray(start + (corners - low) / (high - low) * room)
