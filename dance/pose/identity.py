"""Tells people apart: where they are, how large, and what they wear."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from dance import skeleton as sk
from dance.geometry import grow, joints_box
from dance.types import Array, Box, Frame, Pose, Size

# Joints that say where a person is; hands and feet move too fast and faces are too small.
_PLACE = np.arange(sk.BODY_SLICE.start, sk.BODY_SLICE.stop)
_SURE = 0.3

# The trunk as a quadrilateral, and the thighs, both away from their edges, where the background begins.
_TRUNK = (sk.LEFT_SHOULDER, sk.RIGHT_SHOULDER, sk.LEFT_HIP, sk.RIGHT_HIP)
_THIGHS = ((sk.LEFT_HIP, sk.LEFT_KNEE), (sk.RIGHT_HIP, sk.RIGHT_KNEE))
_SAMPLES = 8
_LIGHT_BINS, _COLOUR_BINS = 8, 10
_COLOUR_REACH = 50.0

# Two poses in one picture that agree this well are the same person found twice.
_SAME = 0.6


def prominence(pose: Pose, size: Size) -> float:
    """How much of a main person somebody is: sure, large and central; 0 for nobody."""
    box = body_box(pose)
    if box is None:
        return 0.0
    height, width = size
    inside = Box(max(0, box.left), max(0, box.top), min(width, box.right), min(height, box.bottom))
    extent = float(np.hypot(max(0.0, inside.width) / width, max(0.0, inside.height) / height))
    aside = min(1.0, abs((box.left + box.right) / width - 1))
    return float(pose.score[_PLACE].mean()) * extent * (1 - 0.5 * aside)


def body_box(pose: Pose) -> Box | None:
    """The box around the body joints that are seen well, or around any if none is."""
    xy, score = pose.xy[_PLACE], pose.score[_PLACE]
    return joints_box(xy, score, threshold=_SURE) or joints_box(xy, score)


def extent(pose: Pose) -> float:
    """A length in pixels that grows with the person: the diagonal of the body's box, at least 1."""
    box = body_box(pose)
    return 1.0 if box is None else max(1.0, float(np.hypot(box.width, box.height)))


def left_to_right(people: Iterable[Pose]) -> list[Pose]:
    """The people ordered by the middle of their boxes."""

    def middle(pose: Pose) -> float:
        box = body_box(pose)
        return 0.0 if box is None else box.left + box.right

    return sorted(people, key=middle)


def overlap(a: Pose, b: Pose, *, margin: float = 0.1) -> bool:
    """Whether two people's boxes, grown by `margin` of their sides, touch."""
    first, second = body_box(a), body_box(b)
    if first is None or second is None:
        return False
    first, second = grow(first, margin), grow(second, margin)
    across = min(first.right, second.right) - max(first.left, second.left)
    down = min(first.bottom, second.bottom) - max(first.top, second.top)
    return across > 0 and down > 0


def agreement(a: Pose, b: Pose, *, spread: float = 0.06) -> float:
    """How well two poses agree in place, in [0, 1], as COCO's object keypoint similarity does.

    spread: the distance, as a share of the person's extent, at which a joint counts 0.6.
    """
    weight = np.minimum(a.score, b.score)[_PLACE].astype(np.float64)
    if weight.sum() <= 0:
        return 0.0
    scale = spread * max(extent(a), extent(b))
    apart = ((a.xy[_PLACE] - b.xy[_PLACE]) ** 2).sum(1)
    return float((weight * np.exp(-apart / (2 * scale**2))).sum() / weight.sum())


def distinct(people: Iterable[Pose]) -> list[Pose]:
    """The people without those found twice; of two the earlier stays."""
    kept: list[Pose] = []
    for pose in people:
        if pose.found and all(agreement(pose, other) < _SAME for other in kept):
            kept.append(pose)
    return kept


def clothes(frame: Frame, pose: Pose) -> Array | None:
    """What the person wears, (2, bins): the colours of trunk and thighs, nan where out of sight.

    Square roots of histograms in CIE Lab, so that the product of two is Bhattacharyya's coefficient.
    None where neither part is seen.
    """
    parts = [_histogram(frame, _trunk(pose)), _histogram(frame, _thighs(pose))]
    if all(part is None for part in parts):
        return None
    bins = _LIGHT_BINS + _COLOUR_BINS**2
    return np.stack([np.full(bins, np.nan) if part is None else part for part in parts])


def alike(look: Array | None, gallery: Sequence[Array]) -> float | None:
    """How like the best of a gallery somebody looks, in [0, 1]; None where nothing can be compared."""
    if look is None:
        return None
    best: float | None = None
    for other in gallery:
        parts = (look * other).sum(1) / 2
        parts = parts[~np.isnan(parts)]
        if len(parts) and (best is None or parts.mean() > best):
            best = float(parts.mean())
    return best


def _trunk(pose: Pose) -> Array | None:
    if (pose.score[list(_TRUNK)] < _SURE).any():
        return None
    left, right, low_left, low_right = pose.xy[list(_TRUNK)].astype(np.float64)
    across = np.linspace(0.15, 0.85, _SAMPLES)[None, :, None]
    down = np.linspace(0.1, 0.9, _SAMPLES)[:, None, None]
    upper = left * (1 - across) + right * across
    lower = low_left * (1 - across) + low_right * across
    return np.asarray((upper * (1 - down) + lower * down).reshape(-1, 2))


def _thighs(pose: Pose) -> Array | None:
    along = np.linspace(0.15, 0.9, 2 * _SAMPLES)[:, None]
    found = [
        pose.xy[hip] * (1 - along) + pose.xy[knee] * along
        for hip, knee in _THIGHS
        if min(pose.score[hip], pose.score[knee]) >= _SURE
    ]
    return np.concatenate(found).astype(np.float64) if found else None


def _histogram(frame: Frame, points: Array | None) -> Array | None:
    """Roots of shares (8 of lightness, then 10 x 10 of colour), blurred so that neighbours count."""
    if points is None:
        return None
    height, width = frame.size
    at = np.round(points).astype(int)
    at = at[(at >= 0).all(1) & (at[:, 0] < width) & (at[:, 1] < height)]
    if len(at) < _SAMPLES:
        return None
    rgb = frame.rgb[at[:, 1], at[:, 0]].astype(np.float32)[None] / 255
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)[0]
    light, _ = np.histogram(lab[:, 0], _LIGHT_BINS, (0, 100.001))
    clipped = np.clip(lab[:, 1:], -_COLOUR_REACH, _COLOUR_REACH)
    reach = (-_COLOUR_REACH, _COLOUR_REACH)
    colour, _, _ = np.histogram2d(clipped[:, 0], clipped[:, 1], _COLOUR_BINS, (reach, reach))
    light = cv2.GaussianBlur(light.astype(np.float32)[None], (3, 1), 0)[0]
    colour = cv2.GaussianBlur(colour.astype(np.float32), (3, 3), 0)
    shares = np.concatenate([light / light.sum(), colour.ravel() / colour.sum()])
    return np.asarray(np.sqrt(shares))
