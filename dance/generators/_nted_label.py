"""What NTED is shown of a pose: a coloured figure and, for every limb, how far each pixel is from it.

Ren et al. (CVPR 2022), and the published drawing's numbers. 18 joints in OpenPose's order.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from dance.labels import COLOURS_18, LIMBS_18
from dance.types import Array, Size

CHANNELS = 20
STROKE = 4.0  # radius of a joint and half width of a limb, published for every size
_EYES = (14, 15)
_BORDER, _SQUARE = 40, 256  # DeepFashion's pictures are 256 x 176, in annotations within a square


def label(points: Array, size: Size, *, stroke: float = STROKE) -> Array:
    """Joints (18, 3) of x, y, confidence (0: not seen) as (20, H, W) uint8, which stands for [0, 1].

    First the figure's red, green and blue on black, then the distances from 17 limbs in pixels, which end at 255;
    a limb that is not seen is that far from everywhere.  stroke: radius of a joint and half width of a limb.
    """
    figure: Array = np.zeros((*size, 3), np.uint8)
    distances = np.full((len(LIMBS_18), *size), 255, np.uint8)
    seen = points[:, 2] > 0
    # Far-off joints are brought nearer, where cv2 does not overflow.
    places = np.clip(points[:, :2], -8 * max(size), 8 * max(size))
    for place, colour, known in zip(places, COLOURS_18, seen, strict=True):
        if known:
            cv2.circle(figure, (int(place[0]), int(place[1])), round(stroke), colour, cv2.FILLED)
    for i, (a, b) in enumerate(LIMBS_18):
        if not (seen[a] and seen[b]):
            continue
        outline = _limb(places[a], places[b], round(stroke))
        painted = figure.copy()
        cv2.fillConvexPoly(painted, outline, COLOURS_18[i])
        figure = cv2.addWeighted(figure, 0.4, painted, 0.6, 0)
        outside = np.full(size, 255, np.uint8)
        cv2.fillConvexPoly(outside, outline, 0)
        far = cv2.distanceTransform(outside, cv2.DIST_L1, 3)
        distances[i] = np.minimum(far / 3, 255)
    return np.concatenate([figure.transpose(2, 0, 1), distances])


def annotated(rows: Array, size: Size) -> Array:
    """Joints (18, 2) of the published DeepFashion annotations, -1 where not seen, as (18, 3) in pixels of `size`."""
    seen = (rows != -1).all(1)
    width = _SQUARE - 2 * _BORDER
    x = (rows[:, 0] - _BORDER) * size[1] / width
    y = rows[:, 1] * size[0] / _SQUARE
    return np.stack([np.where(seen, x, -1), np.where(seen, y, -1), seen], 1)


def eyes(points: Array) -> Array:
    """Where the eyes of joints (18, 3) are: x, y, x, y, (4,); all -1 where one is not seen."""
    pair = points[list(_EYES)]
    return pair[:, :2].ravel() if (pair[:, 2] > 0).all() else np.full(4, -1.0)


def _limb(a: Array, b: Array, width: int) -> Array:
    """The outline of an ellipse from one joint to the other."""
    (dx, dy), (x, y) = (a - b).tolist(), ((a + b) / 2).tolist()
    half = int(math.hypot(dx, dy) / 2)
    angle = int(math.degrees(math.atan2(dy, dx)))
    return np.asarray(cv2.ellipse2Poly((int(x), int(y)), (half, width), angle, 0, 360, 1))
