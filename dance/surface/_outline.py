"""The outline of a matte against that of the body: what the body must gain or lose to fill it.

N places on the body's outline in one picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from dance.surface import _chain as chain
from dance.surface._chain import Around, Frames
from dance.surface._evidence import project_slope
from dance.surface._normal import Normal
from dance.surface.body import BONES, Body
from dance.surface.raster import rasterise
from dance.types import Array, Camera

_TALL = 256  # pixels an outline is compared at
_PLACES = 240  # of an outline; more say the same
_TELL = 60.0  # how many places' worth of independent news an outline is
_OFF = 0.02  # metres: how far clothes usually stand off
_LEAST = 0.002  # share of the picture: a smaller matte shows nobody
# Fingers are never as they are in the picture; feet wear shoes, heads hair.
_IGNORED = ("fingers", "hand", "foot", "toes", "head")


@dataclass(frozen=True, slots=True)
class Pull:
    """Residuals (N,) of one picture's outline, weighted, and their slopes by freedoms (N, D) and shape (N, S).

    Where the shape is settled there are none by shape, (N, 0).
    """

    residual: Array
    by_pose: Array
    by_shape: Array

    def add(self, normal: Normal, row: int) -> None:
        """Adds what is said of the freedoms of one picture."""
        normal.own[row] += self.by_pose.T @ self.by_pose
        normal.pull[row] -= self.by_pose.T @ self.residual


def pull(
    body: Body,
    shape: Array,
    frames: Frames,
    camera: Camera,
    matte: Array,
    *,
    robust: float,
    near: Around | None = None,
) -> Pull | None:
    """What the outline of a matte (H, W) in [0, 1] says of the body of one picture; None where it says nothing.

    robust: how many times their usual distance clothes may stand off before they count less and less.
    near: bodies of nearly the same shape, where the shape is asked for.
    """
    size, factor = _reduced(frames, camera, matte.shape)
    small = cv2.resize(matte.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA) > 0.5
    if small.mean() < _LEAST or small.all():
        return None
    middle = ((camera.centre[0] + 0.5) * factor - 0.5, (camera.centre[1] + 0.5) * factor - 0.5)
    view = Camera(camera.focal * factor, middle)
    where, rows = _edge(body, shape, frames, view, size)
    if len(where) < 20:
        return None
    far, slope = _distance(small)
    y, x = where.T
    metres = float(frames.root[0, 2]) / view.focal
    # The middles of the outermost pixels of a mask are half a pixel within its edge.
    residual = (far[y, x] + 0.5) * metres / _OFF
    weight = np.sqrt(_TELL / len(where)) / (1 + (residual / robust) ** 2)
    there = chain.rows_of(body, rows)
    made = chain.build_vertices(there, chain.shaped(body, shape))
    posed = chain.pose(frames, made)
    scale = (weight / _OFF)[:, None]

    def across(moved: Array) -> Array:
        return np.asarray((project_slope(posed, moved)[0] * slope[y, x][..., None]).sum(1) * scale)

    by_shape = np.zeros((len(rows), 0))
    if near is not None:
        slopes = chain.slopes(near, lambda of: chain.build_vertices(there, of))
        by_shape = across(chain.by_shape(posed, made, slopes))
    return Pull(residual * weight, across(chain.jacobian(posed, made)), by_shape)


def _reduced(
    frames: Frames, camera: Camera, full: tuple[int, ...]
) -> tuple[tuple[int, int], float]:
    """The size to compare in, and how much smaller that is."""
    tall = 1.8 * camera.focal / max(float(frames.root[0, 2]), 0.1)
    factor = min(1.0, _TALL / max(min(tall, full[0]), 1.0))
    return (max(round(full[0] * factor), 8), max(round(full[1] * factor), 8)), factor


def _edge(
    body: Body, shape: Array, frames: Frames, view: Camera, size: tuple[int, int]
) -> tuple[Array, Array]:
    """Places (N, 2) of rows and columns on the body's outline, and the vertex (N,) at each."""
    vertices = chain.vertices(body, shape, frames)
    faces = body.faces.numpy()
    shown = rasterise(vertices, faces, view, size)
    mask = (shown.face >= 0).astype(np.uint8)
    edge = mask - cv2.erode(mask, np.ones((3, 3), np.uint8))
    # Where the picture ends the body does not.
    edge[[0, 1, -2, -1]] = 0
    edge[:, [0, 1, -2, -1]] = 0
    where = np.argwhere(edge)
    y, x = where.T
    rows = faces[shown.face[y, x], shown.bary[y, x].argmax(1)]
    ignored = [b for b, bone in enumerate(BONES) if bone.split("_")[-1] in _IGNORED]
    told = np.isin(body.weights.numpy()[rows].argmax(1), ignored, invert=True)
    where, rows = where[told], rows[told]
    # Rows of pixels come in order, so that every so many is spread evenly.
    chosen = np.linspace(0, len(where) - 1, min(_PLACES, len(where))).astype(int)
    return where[chosen], rows[chosen]


def _distance(mask: Array) -> tuple[Array, Array]:
    """How far outside of the mask each pixel is, (H, W) pixels, below 0 inside; and its slope by x and y, (H, W, 2)."""
    inside = mask.astype(np.uint8)
    far = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    far = far - cv2.distanceTransform(inside, cv2.DIST_L2, 5)
    far = far + np.where(mask, 0.5, -0.5)
    smooth = cv2.GaussianBlur(far, (0, 0), 1.5)
    down, along = np.gradient(smooth)
    slope = np.stack([along, down], -1)
    return far, slope / np.maximum(np.linalg.norm(slope, axis=-1, keepdims=True), 0.3)
