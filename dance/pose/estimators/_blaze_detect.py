"""BlazePose's first network: where people are, in the whole picture or in tiles of it.

The facts (anchors, scales, thresholds) are those of mediapipe 0.10.21's pose detection graph; after
Bazarevsky et al., "BlazePose: On-device Real-time Body Pose Tracking", 2020.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np

from dance.networks import Network
from dance.types import Array, Region, Size

SIDE = 224
_STRIDES = ((8, 2), (16, 2), (32, 6))  # (stride, anchors in each cell)
_REGION_SCALE = 1.25  # the region is this much larger than the circle around the body
_FLAT = 16  # a crop whose values span less than this shows nothing
_OVERLAP = 0.3  # boxes of one person overlap more than this (intersection over union)


@dataclass(frozen=True, slots=True)
class Detection:
    """A person's face-and-shoulders box (left, top, right, bottom) and alignment points, in pixels.

    points: (4, 2): mid-hip, a point on the circle around the whole body, mid-shoulder, the same for
    the upper body.  score: in [0, 1].
    """

    box: Array
    points: Array
    score: float

    @property
    def region(self) -> Region:
        """The rotated square around the whole body."""
        return region_between(self.points[0], self.points[1])


def region_between(centre: Array, rim: Array) -> Region:
    """The region around the circle with this centre through `rim`, which says where up is."""
    dx, dy = (float(d) for d in rim - centre)
    side = 2 * _REGION_SCALE * float(np.hypot(dx, dy))
    return Region(float(centre[0]), float(centre[1]), side, float(np.arctan2(dx, -dy)))


def anchors() -> Array:
    """The centres the network's boxes refer to, (2254, 2), in shares of its square input."""
    cells = []
    for stride, count in _STRIDES:
        middles = (np.arange(SIDE // stride) + 0.5) * stride / SIDE
        y, x = np.meshgrid(middles, middles, indexing="ij")
        cells.append(np.repeat(np.stack([x.ravel(), y.ravel()], 1), count, axis=0))
    return np.concatenate(cells).astype(np.float32)


def whole(size: Size) -> Array:
    """The square of picture pixels (left, top, side) that holds the whole picture in its middle."""
    height, width = size
    side = max(size)
    return np.array([(width - side) / 2, (height - side) / 2, side])


def tiles(size: Size, side: float, overlap: float) -> list[Array]:
    """Squares (left, top, side) of that side that cover the picture, all in pixels.

    overlap: what neighbours share at least; anything smaller than that lies whole in some tile.
    """

    def starts(length: int) -> Array:
        count = max(1, int(np.ceil((length - side) / (side - overlap))) + 1)
        return (
            np.linspace(0, length - side, count) if count > 1 else np.array([(length - side) / 2])
        )

    return [np.array([x, y, side]) for y, x in product(starts(size[0]), starts(size[1]))]


def detect(
    network: Network, anchor: Array, rgb: Array, square: Array, threshold: float
) -> list[Detection]:
    """The people in one square (left, top, side) of the picture, best first, duplicates merged."""
    left, top, side = square
    scale = SIDE / side
    matrix = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]])
    crop = cv2.warpAffine(rgb, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR)
    if np.ptp(crop) < _FLAT:
        return []
    outputs = network(crop[None].astype(np.float32) * np.float32(2 / 255) - np.float32(1))
    raw, logits = sorted((o[0].astype(np.float64) for o in outputs), key=lambda o: -o.shape[-1])
    return suppress(decode(raw, logits[:, 0], anchor, square, threshold))


def decode(
    raw: Array, logits: Array, anchor: Array, square: Array, threshold: float
) -> list[Detection]:
    """The network's (2254, 12) boxes and (2254,) logits as detections in picture pixels."""
    scores = 1 / (1 + np.exp(-np.clip(logits, -100, 100)))
    sure = np.flatnonzero(scores >= threshold)
    left, top, side = square
    corner = np.array([left, top])
    found = []
    for i in sure[np.argsort(-scores[sure])]:
        centre = raw[i, :2] / SIDE + anchor[i]
        half = raw[i, 2:4] / SIDE / 2
        points = raw[i, 4:].reshape(4, 2) / SIDE + anchor[i]
        box = np.concatenate([corner + (centre - half) * side, corner + (centre + half) * side])
        found.append(Detection(box, corner + points * side, float(scores[i])))
    return found


def suppress(found: list[Detection]) -> list[Detection]:
    """Detections that overlap the best one become their mean, weighted by score; then the next best."""
    kept = []
    rest = sorted(found, key=lambda d: -d.score)
    while rest:
        best = rest[0]
        same = [d for d in rest if overlap(best.box, d.box) > _OVERLAP or d is best]
        rest = [d for d in rest if not any(d is s for s in same)]
        weights = np.array([d.score for d in same])
        weights /= weights.sum()
        kept.append(
            Detection(
                np.tensordot(weights, np.stack([d.box for d in same]), 1),
                np.tensordot(weights, np.stack([d.points for d in same]), 1),
                best.score,
            )
        )
    return kept


def overlap(a: Array, b: Array) -> float:
    """Intersection over union of two boxes (left, top, right, bottom)."""
    size = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    both = float(size.prod())
    either = float((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod()) - both
    return both / either if either > 0 else 0.0
