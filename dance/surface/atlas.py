"""The person's surface in one picture: what all views show of it, and a guess of what none does.

The layout is MakeHuman's texture layout, so that an artist can paint it and it can be looked at in other programs.
What no view shows is taken from the body's other side, then from the surface in front of it (the back of a shirt
is like its front), and at last from its surroundings; the back of a head is like its top.

Shapes: V vertices, F triangles, A side of the atlas, H height, W width of the pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numba import njit
from PIL import Image, UnidentifiedImageError
from scipy import sparse

from dance.surface import fields
from dance.surface.clothing import head_level
from dance.surface.looks import Look, sampled
from dance.types import Array, InputError

# How much less the body's other side counts than what is seen, and again the surface in front.
_LESS = 1 / 30
# How much a smooth guess counts beside them: where a view only glances, its colours are drawn out into streaks.
_PLAIN = 1e-4
# Levels by which a texel of a given atlas must differ from the own one to count as painted.
_PAINTED = 12


@dataclass(frozen=True, slots=True)
class Atlas:
    """The surface's colours.

    rgb: (A, A, 3) uint8.  confidence: (A, A) float32 in [0, 1], how well views show the place; 0 where it is guessed.
    painted: (A, A) float32 in [0, 1], how far somebody has painted it, and so it counts instead of the views.
    """

    rgb: Array
    confidence: Array
    painted: Array

    @property
    def side(self) -> int:
        return int(self.rgb.shape[0])


@dataclass(frozen=True, slots=True)
class Layout:
    """Where on an atlas the surface lies; N of its texels are covered.

    corners: (F, 3, 2) float32, pixels of the atlas.  face: (N,) int32 and bary: (N, 3) float32, the triangle of each
    covered texel and where in it.  own: (A, A) bool, the covered texels in order.
    nearest: (A, A) int64, of every texel the number of the nearest covered one.
    """

    corners: Array
    face: Array
    bary: Array
    own: Array
    nearest: Array


def layout(uv: Array, uv_faces: Array, side: int) -> Layout:
    """The layout on an atlas of side x side pixels.  uv: (U, 2), v upwards.  uv_faces: (F, 3) rows of it."""
    points = np.column_stack([uv[:, 0], 1 - uv[:, 1]]) * side - 0.5
    corners = np.ascontiguousarray(points[uv_faces], np.float32)
    face = np.full((side, side), -1, np.int32)
    bary = np.zeros((side, side, 3), np.float32)
    _place(corners, face, bary)
    own = face >= 0
    _, label = cv2.distanceTransformWithLabels(
        (~own).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    number = np.zeros(label.max() + 1, np.int64)
    number[label[own]] = np.arange(int(own.sum()))
    return Layout(corners, face[own], bary[own], own, number[label])


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _place(corners: Array, face: Array, bary: Array) -> None:
    height, width = face.shape
    for f in range(len(corners)):
        ax, ay = corners[f, 0]
        bx, by = corners[f, 1]
        cx, cy = corners[f, 2]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-9:
            continue
        x_low, x_high = min(ax, min(bx, cx)), max(ax, max(bx, cx))
        y_low, y_high = min(ay, min(by, cy)), max(ay, max(by, cy))
        for y in range(max(0, int(np.ceil(y_low))), min(height - 1, int(y_high)) + 1):
            for x in range(max(0, int(np.ceil(x_low))), min(width - 1, int(x_high)) + 1):
                first = ((bx - x) * (cy - y) - (by - y) * (cx - x)) / area
                second = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) / area
                third = 1 - first - second
                if first >= 0 and second >= 0 and third >= 0:
                    face[y, x] = f
                    bary[y, x, 0], bary[y, x, 1], bary[y, x, 2] = first, second, third


def fuse(
    looks: Sequence[Look],
    on: Layout,
    faces: Array,
    mean: sparse.csr_matrix,
    mirror: Array,
    upper: tuple[Array, Array],
    rest: tuple[Array, Array],
    hint: tuple[Array, Array] | None = None,
) -> Atlas:
    """The atlas of what the looks show.

    mean: see `fields.neighbours`.  mirror: (V,) the vertex on the body's other side.  upper: (V,) in [0, 1],
    the vertices' shares in the head and the neck.  rest: vertices and normals (V, 3) of the body standing towards the camera.
    hint: how much to trust a colour where nothing is seen, (V,) in [0, 1], and the colour (3,) as 0..255.
    """
    corners = faces[on.face]
    guesses = _guesses(looks, mean, mirror, upper, rest, hint)
    total = np.full(len(corners), _PLAIN, np.float32)
    colour = _PLAIN * _carried(guesses, corners, on.bary)
    seen = np.zeros(len(corners), np.float32)
    body = 1 - np.clip(2 * sum(upper), 0, 1)
    for look in looks:
        for factor, power, weight, xy in (
            (1.0, 4, look.seen, look.xy),
            (_LESS, 4, look.seen[mirror], look.xy[mirror]),
            (_LESS**2, 2, look.behind * body, look.xy),
        ):
            carried = _carried(weight[:, None], corners, on.bary)[:, 0]
            if factor == 1:
                seen = np.maximum(seen, carried)
            strength = factor * carried**power
            shown = np.flatnonzero(strength > 0.01 * _PLAIN)
            place = _carried(xy, corners[shown], on.bary[shown])
            colour[shown] += strength[shown, None] * sampled(look.rgb, place)
            total[shown] += strength[shown]
    rgb = np.clip(np.round(colour / total[:, None]), 0, 255).astype(np.uint8)
    confidence = np.zeros(on.own.shape, np.float32)
    confidence[on.own] = seen
    return Atlas(rgb[on.nearest], confidence, np.zeros_like(confidence))


def _carried(values: Array, corners: Array, bary: Array) -> Array:
    """Values of the vertices (V, C) at texels, (N, C) float32.  corners, bary: (N, 3)."""
    out = np.zeros((len(corners), values.shape[1]), np.float32)
    for k in range(3):
        out += bary[:, k, None] * values[corners[:, k]].astype(np.float32)
    return out


def _guesses(
    looks: Sequence[Look],
    mean: sparse.csr_matrix,
    mirror: Array,
    upper: tuple[Array, Array],
    rest: tuple[Array, Array],
    hint: tuple[Array, Array] | None,
) -> Array:
    """A colour of every vertex, (V, 3) float32: its own, its twin's, that in front of it, or its surroundings'."""
    count = len(mirror)
    colour, total = np.zeros((count, 3), np.float32), np.full(count, 1e-12, np.float32)
    body = 1 - np.clip(2 * sum(upper), 0, 1)
    shown = np.zeros(count, np.float32)
    for look in looks:
        own = sampled(look.rgb, look.xy)
        for weight, values in (
            (look.seen**4, own),
            (_LESS * look.seen[mirror] ** 4, own[mirror]),
            (_LESS**2 * (look.behind * body) ** 2, own),
        ):
            colour += weight[:, None] * values
            total += weight
            shown = np.maximum(shown, np.clip(weight / _PLAIN, 0, 1))
    colour /= total[:, None]
    for told in (_hair(colour, shown, upper[0], rest), hint):
        if told is None:
            continue
        where, value = told
        share = where * (1 - shown)
        colour += (share / np.maximum(shown + share, 1e-9))[:, None] * (value - colour)
        shown = shown + share
    return fields.spread(mean, colour, 10 * shown, 1.0)


def _hair(
    colour: Array, shown: Array, head: Array, rest: tuple[Array, Array]
) -> tuple[Array, Array] | None:
    """How far each vertex is of the back of the head (V,), and the colour of its top (3,); None where that is unseen."""
    vertices, normals = rest
    of_head = head > 0.5
    if not of_head.any():
        return None
    level = head_level(vertices, head)
    # A camera at eye level sees little of the top: the highest places it does see stand for it.
    known = np.flatnonzero(of_head & (level > 0.6) & (shown > 0.3))
    if len(known) < 5:
        return None
    highest = known[np.argsort(level[known])[-12:]]
    back = np.clip((normals[:, 2] + 0.1) / 0.3, 0, 1) * np.clip((level - 0.1) / 0.15, 0, 1)
    back = np.maximum(back, np.clip((level - 0.8) / 0.1, 0, 1))
    return np.where(of_head, back, 0).astype(np.float32), np.median(colour[highest], axis=0)


def save(atlas: Atlas, path: Path) -> None:
    """Writes PATH (a PNG to look at and to paint) and beside it PATH with `.npz`, which tells what was painted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(atlas.rgb).save(path, format="PNG")
    np.savez_compressed(
        path.with_suffix(".npz"),
        rgb=atlas.rgb,
        confidence=np.round(255 * atlas.confidence).astype(np.uint8),
    )


def load(path: Path) -> Atlas:
    """The atlas in a PNG and its `.npz` beside it, painted where they differ; without the `.npz` all of it counts as painted.

    Raises InputError for files that are no atlas.
    """
    try:
        with Image.open(path) as opened:
            rgb = np.asarray(opened.convert("RGB"))
    except (OSError, UnidentifiedImageError) as error:
        raise InputError(f"{path}: is not a picture that can be read") from error
    if rgb.shape[0] != rgb.shape[1]:
        raise InputError(f"{path}: an atlas is square, this one is {rgb.shape[1]}x{rgb.shape[0]}")
    beside = path.with_suffix(".npz")
    if not beside.is_file():
        everywhere = np.ones(rgb.shape[:2], np.float32)
        return Atlas(rgb, everywhere, everywhere)
    with np.load(beside, allow_pickle=False) as stored:
        try:
            before, confidence = stored["rgb"], stored["confidence"].astype(np.float32) / 255
        except KeyError as error:
            raise InputError(f"{beside}: is not what an atlas was saved with") from error
    if before.shape != rgb.shape:
        size = (rgb.shape[1], rgb.shape[0])
        before = cv2.resize(before, size, interpolation=cv2.INTER_AREA)
        confidence = cv2.resize(confidence, size, interpolation=cv2.INTER_AREA)
    other = np.abs(rgb.astype(int) - before).max(-1) > _PAINTED
    # Brushes have soft rims, and what is drawn looks a little beside.
    painted = cv2.dilate(other.astype(np.float32), np.ones((5, 5), np.uint8))
    return Atlas(rgb, confidence, cv2.GaussianBlur(painted, (0, 0), 1.0))


def resized(atlas: Atlas, side: int) -> Atlas:
    """The atlas with side x side pixels."""
    if atlas.side == side:
        return atlas
    way = cv2.INTER_AREA if side < atlas.side else cv2.INTER_CUBIC
    rgb, confidence, painted = (
        cv2.resize(values, (side, side), interpolation=way)
        for values in (atlas.rgb, atlas.confidence, atlas.painted)
    )
    return replace(atlas, rgb=rgb, confidence=confidence, painted=painted)
