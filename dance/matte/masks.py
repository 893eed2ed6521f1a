"""Which pixels networks and skeleton hold for the person's: log odds as coarse as the networks see."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from dance import skeleton as sk
from dance.types import Array, Pose

Segment = Callable[[Array], Array]
"""A person segmentation network: (S, S, 3) uint8 RGB to (S, S) float32 in [0, 1]."""

SEGMENT_SIDE = 256

_SEEN = 0.3
# Radii of sure and of possible person around each bone, in torso lengths.
_BONES: tuple[tuple[int, int, float, float], ...] = (
    (sk.LEFT_SHOULDER, sk.LEFT_ELBOW, 0.05, 0.30), (sk.RIGHT_SHOULDER, sk.RIGHT_ELBOW, 0.05, 0.30),
    (sk.LEFT_ELBOW, sk.LEFT_WRIST, 0.04, 0.26), (sk.RIGHT_ELBOW, sk.RIGHT_WRIST, 0.04, 0.26),
    (sk.LEFT_HIP, sk.LEFT_KNEE, 0.07, 0.42), (sk.RIGHT_HIP, sk.RIGHT_KNEE, 0.07, 0.42),
    (sk.LEFT_KNEE, sk.LEFT_ANKLE, 0.05, 0.32), (sk.RIGHT_KNEE, sk.RIGHT_ANKLE, 0.05, 0.32),
    (sk.LEFT_ANKLE, sk.LEFT_BIG_TOE, 0.03, 0.20), (sk.RIGHT_ANKLE, sk.RIGHT_BIG_TOE, 0.03, 0.20),
    (sk.LEFT_HEEL, sk.LEFT_BIG_TOE, 0.02, 0.20), (sk.RIGHT_HEEL, sk.RIGHT_BIG_TOE, 0.02, 0.20),
    (sk.LEFT_SHOULDER, sk.RIGHT_SHOULDER, 0.06, 0.40), (sk.LEFT_HIP, sk.RIGHT_HIP, 0.08, 0.45),
    (sk.LEFT_SHOULDER, sk.LEFT_HIP, 0.06, 0.40), (sk.RIGHT_SHOULDER, sk.RIGHT_HIP, 0.06, 0.40),
    (sk.LEFT_EAR, sk.RIGHT_EAR, 0.10, 0.60), (sk.NOSE, sk.NOSE, 0.08, 0.55),
)  # fmt: skip
_TORSO = (sk.LEFT_SHOULDER, sk.RIGHT_SHOULDER, sk.RIGHT_HIP, sk.LEFT_HIP)


def torso_length(pose: Pose) -> float:
    """The person's size in pixels, as a torso length: from whichever bones are seen, the longest wins.

    2-D bones are lower bounds of what they measure, so the largest of several estimates is taken.
    """
    # Usual lengths in torso lengths (mid-shoulder to mid-hip).
    usual = (
        (sk.LEFT_SHOULDER, sk.LEFT_HIP, 1.0), (sk.RIGHT_SHOULDER, sk.RIGHT_HIP, 1.0),
        (sk.LEFT_SHOULDER, sk.RIGHT_SHOULDER, 0.75), (sk.LEFT_HIP, sk.LEFT_KNEE, 0.85),
        (sk.RIGHT_HIP, sk.RIGHT_KNEE, 0.85), (sk.LEFT_KNEE, sk.LEFT_ANKLE, 0.8),
        (sk.RIGHT_KNEE, sk.RIGHT_ANKLE, 0.8), (sk.LEFT_EAR, sk.RIGHT_EAR, 0.32),
    )  # fmt: skip
    lengths = [
        float(np.linalg.norm(pose.xy[a] - pose.xy[b])) / share
        for a, b, share in usual
        if min(pose.score[a], pose.score[b]) >= _SEEN
    ]
    if not lengths:
        seen = pose.xy[pose.score > 0]
        lengths = [float(np.ptp(seen, axis=0).max()) / 3]
    return max(4.0, max(lengths))


def skeleton_masks(size: tuple[int, int], pose: Pose, unit: float) -> tuple[Array, Array]:
    """Where the skeleton says the person surely is, and where they may be: two (H, W) bool."""
    sure, maybe = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
    for a, b, inner, outer in _BONES:
        score = float(min(pose.score[a], pose.score[b]))
        if score <= 0:
            continue
        ends = [tuple(int(v) for v in np.clip(np.round(pose.xy[j]), -8000, 8000)) for j in (a, b)]
        if score >= 0.5:
            cv2.line(sure, ends[0], ends[1], 1, max(1, round(2 * inner * unit)))
        cv2.line(maybe, ends[0], ends[1], 1, max(3, round(2 * outer * unit)))
    for side in ("left", "right"):
        elbow, wrist = sk.INDEX[f"{side}_elbow"], sk.INDEX[f"{side}_wrist"]
        if pose.score[wrist] > 0:
            # A hand reaches on beyond the wrist in the forearm's direction.
            forearm = pose.xy[wrist] - pose.xy[elbow] if pose.score[elbow] > 0 else np.zeros(2)
            hand = pose.xy[wrist] + forearm * min(
                1.0, 0.2 * unit / max(1.0, float(np.linalg.norm(forearm)))
            )
            centre = tuple(int(v) for v in np.clip(np.round(hand), -8000, 8000))
            cv2.circle(maybe, centre, max(2, round(0.36 * unit)), 1, -1)
    if all(pose.score[j] >= 0.5 for j in _TORSO):
        corners = pose.xy[list(_TORSO)]
        corners = corners.mean(0) + 0.85 * (corners - corners.mean(0))
        cv2.fillConvexPoly(sure, np.clip(np.round(corners), -8000, 8000).astype(np.int32), 1)
        cv2.fillConvexPoly(maybe, np.clip(np.round(corners), -8000, 8000).astype(np.int32), 1)
    return sure.astype(bool), maybe.astype(bool)


def belief(rgb: Array, pose: Pose, unit: float, segment: Segment) -> Array:
    """The log odds of being this person from networks and skeleton, (H, W) float32, at mask sharpness."""
    height, width = rgb.shape[:2]
    sure, maybe = skeleton_masks((height, width), pose, unit)
    boxes = _tiles(pose, unit)
    masked = pose.mask is not None
    total = np.zeros((height, width), np.float32)
    # The network sees whole people too coarsely to count for much beside the estimator's own mask,
    # but heads, hair and hands in the upper tile better than it; legs alone mislead it.
    weights = (0.25, 0.8, 0.15) if masked else (0.7, 0.8, 0.6)
    for box, weight in zip(boxes, weights, strict=True):
        _add_tile(total, rgb, box, segment, weight)
    if pose.mask is not None:
        total += _logit(pose.mask, 4.0)
        near = grown(pose.mask > 0.3, 0.16 * unit)
        # Others in the picture are people too: only the estimator's mask says whose they are.
        total[~(near | (maybe & _near_extremity(pose, unit, (height, width))))] -= 4.0
    total[~maybe] -= 1.5 if masked else 5.0
    # The skeleton is only as good as its joints: where the mask denies a bone it is left open.
    agreed = sure if pose.mask is None else sure & (pose.mask > 0.15)
    total[agreed] = np.maximum(total[agreed], 3.0)
    return total


def rim_area(logit: Array, pose: Pose, unit: float) -> Array:
    """Where the outline can be: about that of the masks, wider about the hands; (H, W) bool."""
    inside = logit > 0
    rim = grown(inside, 0.1 * unit) & grown(~inside, 0.06 * unit)
    return rim | (grown(inside, 0.3 * unit) & _near_extremity(pose, unit, logit.shape))


def _near_extremity(pose: Pose, unit: float, size: tuple[int, int]) -> Array:
    """Around head, hands and feet, where the estimator's mask is too coarse for what sticks out."""
    out = np.zeros(size, np.uint8)
    for joint, radius in (
        (sk.LEFT_WRIST, 0.45), (sk.RIGHT_WRIST, 0.45), (sk.LEFT_BIG_TOE, 0.2),
        (sk.RIGHT_BIG_TOE, 0.2), (sk.LEFT_HEEL, 0.15), (sk.RIGHT_HEEL, 0.15), (sk.NOSE, 0.7),
    ):  # fmt: skip
        if pose.score[joint] >= _SEEN:
            centre = tuple(int(v) for v in np.clip(np.round(pose.xy[joint]), -8000, 8000))
            cv2.circle(out, centre, max(2, round(radius * unit)), 1, -1)
    return out.astype(bool)


def _tiles(pose: Pose, unit: float) -> list[tuple[float, float, float]]:
    """Squares (centre x, centre y, side) the network looks at: everything, upper body, legs."""
    upper = [*range(0, 13)]
    lower = [*range(11, 23)]
    boxes = []
    for joints, margin in ((range(23), 0.5), (upper, 0.5), (lower, 0.3)):
        chosen = [j for j in joints if pose.score[j] > 0.1] or list(np.nonzero(pose.score > 0)[0])
        points = pose.xy[chosen]
        low, high = points.min(0) - margin * unit, points.max(0) + margin * unit
        centre = (low + high) / 2
        boxes.append((float(centre[0]), float(centre[1]), float((high - low).max())))
    return boxes


def _add_tile(
    total: Array, rgb: Array, tile: tuple[float, float, float], segment: Segment, weight: float
) -> None:
    """Adds the network's log odds over one square, fading out towards its sides."""
    x, y, side = tile
    scale = SEGMENT_SIDE / side
    shift = (SEGMENT_SIDE - 1) / 2
    forward = np.array([[scale, 0, shift - scale * x], [0, scale, shift - scale * y]])
    source = rgb
    if scale < 0.5:
        # Linear sampling alone would alias; an ideal blur for the reduction comes first.
        source = cv2.GaussianBlur(rgb, (0, 0), 0.4 / scale)
    crop = cv2.warpAffine(
        source, forward, (SEGMENT_SIDE, SEGMENT_SIDE), flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    odds = _logit(segment(crop), 3.5)
    ramp = np.minimum(np.arange(SEGMENT_SIDE), np.arange(SEGMENT_SIDE)[::-1]) / 24.0
    fade = np.clip(np.minimum(ramp[:, None], ramp[None, :]), 0, 1).astype(np.float32)
    height, width = total.shape
    total += weight * cv2.warpAffine(
        odds * fade, forward, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT, borderValue=0,
    )  # fmt: skip


def _logit(p: Array, limit: float) -> Array:
    edge = 1 / (1 + np.exp(limit))
    clipped = np.clip(p, edge, 1 - edge)
    return np.asarray(np.log(clipped / (1 - clipped)), np.float32)


def sigmoid(x: Array) -> Array:
    """The probability of log odds, float32."""
    return np.asarray(1 / (1 + np.exp(-x)), np.float32)


def grown(area: Array, radius: float) -> Array:
    """The area (H, W) bool with everything within about that many pixels of it."""
    return np.asarray(cv2.dilate(area.astype(np.uint8), disc(radius)) > 0)


def disc(radius: float) -> Array:
    """A round structuring element of about that radius in pixels."""
    n = max(1, round(radius))
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * n + 1, 2 * n + 1)))
