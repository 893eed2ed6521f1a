"""What is known of a drawn person at every pixel and joint."""

from __future__ import annotations

import numpy as np
import torch

from dance import skeleton as sk
from dance.surface import body as bodies
from dance.surface.body import Body
from dance.synthetic.draw import Shot
from dance.synthetic.wear import Figure
from dance.types import Array, Camera

VISIBLE, HIDDEN = 1.0, 0.5
"""Scores of joints that are seen, and that are in the picture behind something. Outside the picture it is 0."""

# Metres that a joint lies below the surface it is seen through.
_DEEP = np.full(len(sk.NAMES), 0.05)
_DEEP[[sk.LEFT_SHOULDER, sk.RIGHT_SHOULDER]] = 0.16
_DEEP[[sk.LEFT_HIP, sk.RIGHT_HIP]] = 0.2
_DEEP[[sk.LEFT_ELBOW, sk.RIGHT_ELBOW, sk.LEFT_ANKLE, sk.RIGHT_ANKLE]] = 0.1
_DEEP[[sk.LEFT_KNEE, sk.RIGHT_KNEE]] = 0.13
_DEEP[[sk.LEFT_WRIST, sk.RIGHT_WRIST]] = 0.08
_DEEP[sk.FEET_SLICE] = 0.08


def joints(body: Body, figure: Figure, turns: Array, root: Array) -> Array:
    """The 133 joints (133, 3) metres in camera axes, from local turns (B, 3) and root (3,).

    `surface.body.joints` says which of them are approximate.
    """
    with torch.inference_mode():
        found = bodies.joints_of(
            body,
            figure.shaped,
            torch.from_numpy(turns.astype(np.float32))[None],
            torch.from_numpy(root.astype(np.float32))[None],
        )
    return np.asarray(found[0].numpy())


def seen_joints(points: Array, camera: Camera, shot: Shot) -> tuple[Array, Array]:
    """Pixels (133, 2) and scores (133,) float32 of joints (133, 3): `VISIBLE`, `HIDDEN`, or 0 outside of the picture."""
    height, width = shot.face.shape
    xy = camera.focal * points[:, :2] / np.maximum(points[:, 2:], 1e-3) + camera.centre
    column, row = np.rint(xy).astype(int).T
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    surface = shot.depth[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
    hidden = points[:, 2] - surface > _DEEP
    score = np.where(inside, np.where(hidden, HIDDEN, VISIBLE), 0.0)
    return xy.astype(np.float32), score.astype(np.float32)


def label_map(figure: Figure, shot: Shot) -> Array:
    """What of `surface.parsing.LABELS` is in the middle of every pixel, (H, W) uint8."""
    return np.append(figure.label, np.uint8(0))[shot.face]


def surface_map(figure: Figure, shot: Shot) -> Array:
    """Part (DensePose's 1..24), U and V (times 255) of the body below every pixel, (H, W, 3) uint8; 0 where there is none."""
    part = np.append(figure.part, np.uint8(0))[shot.face]
    # A hair's or a shirt's place is that of the skin below it.
    places = (figure.chart[shot.face] * shot.share[..., None]).sum(-2)
    uv = np.rint(255 * np.clip(places, 0, 1)).astype(np.uint8)
    return np.dstack([part, uv * (part > 0)[..., None]])


def matte(shot: Shot) -> Array:
    """How much of every pixel the person covers, (H, W) uint8."""
    return np.asarray(np.rint(255 * shot.alpha), np.uint8)
