"""A small drawn person, in any pose, with an exact matte."""

from __future__ import annotations

import cv2
import numpy as np

from dance import skeleton as sk
from dance.types import Array, Pose

SIZE = 192, 144

# Where a standing person's joints are, for the left side; the right is the mirror image about x = 72.
_LEFT = {
    sk.LEFT_EYE: (75, 29), sk.LEFT_EAR: (79, 31), sk.LEFT_SHOULDER: (88, 54), sk.LEFT_ELBOW: (98, 76),
    sk.LEFT_WRIST: (104, 98), sk.LEFT_HIP: (80, 96), sk.LEFT_KNEE: (82, 130), sk.LEFT_ANKLE: (84, 162),
    sk.LEFT_BIG_TOE: (88, 171), sk.LEFT_SMALL_TOE: (91, 170), sk.LEFT_HEEL: (83, 166),
}  # fmt: skip
_COLOURS = {
    "trunk": (200, 40, 40),
    "left": (40, 170, 60),
    "right": (50, 70, 200),
    "legs": (70, 60, 60),
}


def standing(shift: tuple[float, float] = (0, 0), scale: float = 1.0) -> Pose:
    """A frontal person, arms a little away from the body, all body joints seen."""
    xy = np.zeros((133, 2), np.float32)
    score = np.zeros(133, np.float32)
    xy[sk.NOSE] = 72, 33
    for joint, (x, y) in _LEFT.items():
        xy[joint] = x, y
        xy[sk.FLIP[joint]] = 144 - x, y
    score[:23] = 1
    xy = (xy - (72, 100)) * np.float32(scale) + (72, 100) + np.float32(shift)
    return Pose(xy.astype(np.float32), score, np.zeros(133, np.float32))


def bent(pose: Pose, joints: dict[int, tuple[float, float]]) -> Pose:
    """The pose with some joints moved to other places."""
    xy = pose.xy.copy()
    for joint, place in joints.items():
        xy[joint] = place
    return Pose(xy, pose.score, pose.depth)


def draw_person(pose: Pose) -> tuple[Array, Array]:
    """A picture of a plain figure in the pose before a grey wall, and its matte; nothing of it is soft."""
    rgb = np.full((*SIZE, 3), 128, np.uint8)
    mask = np.zeros(SIZE, np.uint8)

    def limb(joints: list[int], width: int, colour: tuple[int, int, int]) -> None:
        points = [np.rint(pose.xy[joints]).astype(np.int32).reshape(-1, 1, 2)]
        cv2.polylines(rgb, points, False, colour, width)
        cv2.polylines(mask, points, False, 1, width)

    for side in ("left", "right"):
        names = [f"{side}_{part}" for part in ("hip", "knee", "ankle", "big_toe")]
        limb([sk.INDEX[name] for name in names], 12, _COLOURS["legs"])
    trunk = [sk.LEFT_SHOULDER, sk.RIGHT_SHOULDER, sk.RIGHT_HIP, sk.LEFT_HIP]
    corners = np.rint(pose.xy[trunk]).astype(np.int32)
    cv2.fillPoly(rgb, [corners], _COLOURS["trunk"])
    cv2.fillPoly(mask, [corners], 1)
    for side in ("left", "right"):
        names = [f"{side}_{part}" for part in ("shoulder", "elbow", "wrist")]
        limb([sk.INDEX[name] for name in names], 9, _COLOURS[side])
    neck = (pose.xy[sk.LEFT_SHOULDER] + pose.xy[sk.RIGHT_SHOULDER]) / 2
    head = pose.xy[sk.NOSE] - (0, 2)
    ends = [tuple(int(v) for v in np.rint(p)) for p in (neck, head)]
    cv2.line(rgb, ends[0], ends[1], (220, 180, 150), 8)
    cv2.line(mask, ends[0], ends[1], 1, 8)
    cv2.circle(rgb, ends[1], 13, (220, 180, 150), -1)
    cv2.circle(mask, ends[1], 13, 1, -1)
    return rgb, mask.astype(np.float32)
