"""A drawn person with an exact mask and pose, for tests of mattes, plates and views."""

from __future__ import annotations

import cv2
import numpy as np

from dance import skeleton as sk
from dance.types import Array, Pose

SHIRT = (205, 60, 70)
# Joints of a standing person, in torso lengths from the mid-hip, as seen.
STANDING = {
    sk.NOSE: (0, -1.35), sk.LEFT_EYE: (0.06, -1.42), sk.RIGHT_EYE: (-0.06, -1.42),
    sk.LEFT_EAR: (0.14, -1.4), sk.RIGHT_EAR: (-0.14, -1.4),
    sk.LEFT_SHOULDER: (0.35, -1), sk.RIGHT_SHOULDER: (-0.35, -1),
    sk.LEFT_ELBOW: (0.62, -0.5), sk.RIGHT_ELBOW: (-0.62, -0.5),
    sk.LEFT_WRIST: (0.75, -0.02), sk.RIGHT_WRIST: (-0.75, -0.02),
    sk.LEFT_HIP: (0.2, 0), sk.RIGHT_HIP: (-0.2, 0),
    sk.LEFT_KNEE: (0.3, 0.8), sk.RIGHT_KNEE: (-0.3, 0.8),
    sk.LEFT_ANKLE: (0.36, 1.55), sk.RIGHT_ANKLE: (-0.36, 1.55),
    sk.LEFT_BIG_TOE: (0.44, 1.68), sk.RIGHT_BIG_TOE: (-0.44, 1.68),
    sk.LEFT_SMALL_TOE: (0.48, 1.66), sk.RIGHT_SMALL_TOE: (-0.48, 1.66),
    sk.LEFT_HEEL: (0.34, 1.64), sk.RIGHT_HEEL: (-0.34, 1.64),
}  # fmt: skip
_WIDTHS = (
    (sk.LEFT_SHOULDER, sk.LEFT_ELBOW, 0.16), (sk.LEFT_ELBOW, sk.LEFT_WRIST, 0.13),
    (sk.RIGHT_SHOULDER, sk.RIGHT_ELBOW, 0.16), (sk.RIGHT_ELBOW, sk.RIGHT_WRIST, 0.13),
    (sk.LEFT_HIP, sk.LEFT_KNEE, 0.24), (sk.LEFT_KNEE, sk.LEFT_ANKLE, 0.17),
    (sk.RIGHT_HIP, sk.RIGHT_KNEE, 0.24), (sk.RIGHT_KNEE, sk.RIGHT_ANKLE, 0.17),
    (sk.LEFT_HEEL, sk.LEFT_BIG_TOE, 0.12), (sk.RIGHT_HEEL, sk.RIGHT_BIG_TOE, 0.12),
)  # fmt: skip


def pose_at(x: float, y: float, unit: float, *, facing: float = 1.0) -> Pose:
    """Standing with the mid-hip at (x, y); facing 1 is to the camera, 0 sideways, -1 away."""
    xy, score = np.zeros((133, 2), np.float32), np.zeros(133, np.float32)
    world = np.zeros((133, 3), np.float32)
    for joint, (dx, dy) in STANDING.items():
        xy[joint] = x + unit * dx * facing, y + unit * dy
        world[joint] = 0.5 * dx * facing, 0.5 * dy, 0.5 * dx * np.sqrt(max(0.0, 1 - facing**2))
        score[joint] = 0.95
    if facing < 0:
        score[: sk.LEFT_SHOULDER] = 0.2
    return Pose(xy, score, world=world)


def mask_of(pose: Pose, size: tuple[int, int], unit: float) -> Array:
    """The drawn person's exact mask, (H, W) float32, with soft edges of about a pixel."""
    big = np.zeros((4 * size[0], 4 * size[1]), np.uint8)
    at = {j: tuple(int(v) for v in np.round(4 * pose.xy[j] + 1.5)) for j in STANDING}
    for a, b, width in _WIDTHS:
        cv2.line(big, at[a], at[b], 255, round(4 * width * unit))
    torso = [at[j] for j in (sk.LEFT_SHOULDER, sk.RIGHT_SHOULDER, sk.RIGHT_HIP, sk.LEFT_HIP)]
    cv2.fillConvexPoly(big, np.array(torso), 255)
    cv2.polylines(big, [np.array(torso)], True, 255, round(4 * 0.16 * unit))
    cv2.circle(big, at[sk.NOSE], round(4 * 0.24 * unit), 255, -1)
    small = cv2.resize(big, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32) / 255


def room(size: tuple[int, int], seed: int = 0) -> Array:
    """A greenish wall over a grey floor with some pattern, (H, W, 3) uint8."""
    height, width = size
    generator = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(generator.normal(0, 30, (height, width, 3)), (0, 0), 3)
    picture = np.full((height, width, 3), (110, 150, 120), np.float64)
    picture[round(0.75 * height) :] = (140, 140, 150)
    picture[: round(0.75 * height), :: max(8, width // 12)] -= 30
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def painted(background: Array, mask: Array) -> Array:
    """The background with a person of one colour, lightly shaded, where the mask is."""
    rows = np.linspace(-10, 10, mask.shape[0])[:, None, None]
    person = np.clip(np.array(SHIRT) + rows, 0, 255)
    mixed = mask[..., None] * person + (1 - mask[..., None]) * background
    return np.round(mixed).astype(np.uint8)


def blurred(mask: Array, cell: int = 6) -> Array:
    """What an estimator's coarse mask of it is like."""
    small = cv2.resize(mask, None, fx=1 / cell, fy=1 / cell, interpolation=cv2.INTER_AREA)
    return np.asarray(
        cv2.resize(small, (mask.shape[1], mask.shape[0]), interpolation=cv2.INTER_LINEAR)
    )


def by_colour(crop: Array) -> Array:
    """A stand-in for the segmentation network: everything coloured like the person, coarsely."""
    red = crop[..., 0].astype(np.float32) - crop[..., 1]
    return np.asarray(cv2.blur(np.clip((red - 40) / 60, 0, 1), (9, 9)))
