"""Joint names, limbs and flips of the 133-joint whole-body skeleton, and its relation to others.

The skeleton is COCO-WholeBody: 17 body joints, 6 foot joints, 68 face points (iBUG order), 21 points
of the left and 21 of the right hand. Left and right are the person's own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dance.types import JOINTS

Array = np.ndarray[Any, Any]

BODY = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip",
    "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
FEET = (
    "left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel",
)  # fmt: skip
FINGERS = ("thumb", "index", "middle", "ring", "pinky")

NAMES: tuple[str, ...] = (
    *BODY,
    *FEET,
    *(f"face_{i}" for i in range(68)),
    *(
        f"{side}_{part}"
        for side in ("left", "right")
        for part in ("hand", *(f"{finger}_{k}" for finger in FINGERS for k in range(1, 5)))
    ),
)
INDEX: dict[str, int] = {name: i for i, name in enumerate(NAMES)}

BODY_SLICE = slice(0, 17)
FEET_SLICE = slice(17, 23)
FACE_SLICE = slice(23, 91)
LEFT_HAND_SLICE = slice(91, 112)
RIGHT_HAND_SLICE = slice(112, 133)

(
    NOSE, LEFT_EYE, RIGHT_EYE, LEFT_EAR, RIGHT_EAR, LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_ELBOW,
    RIGHT_ELBOW, LEFT_WRIST, RIGHT_WRIST, LEFT_HIP, RIGHT_HIP, LEFT_KNEE, RIGHT_KNEE, LEFT_ANKLE,
    RIGHT_ANKLE, LEFT_BIG_TOE, LEFT_SMALL_TOE, LEFT_HEEL, RIGHT_BIG_TOE, RIGHT_SMALL_TOE, RIGHT_HEEL,
) = range(23)  # fmt: skip

# (parent, child) pairs of body and feet, from the root outwards.
LIMBS: tuple[tuple[int, int], ...] = (
    (LEFT_HIP, RIGHT_HIP), (LEFT_SHOULDER, RIGHT_SHOULDER),
    (LEFT_HIP, LEFT_SHOULDER), (RIGHT_HIP, RIGHT_SHOULDER),
    (LEFT_SHOULDER, LEFT_ELBOW), (LEFT_ELBOW, LEFT_WRIST),
    (RIGHT_SHOULDER, RIGHT_ELBOW), (RIGHT_ELBOW, RIGHT_WRIST),
    (LEFT_HIP, LEFT_KNEE), (LEFT_KNEE, LEFT_ANKLE), (RIGHT_HIP, RIGHT_KNEE), (RIGHT_KNEE, RIGHT_ANKLE),
    (LEFT_ANKLE, LEFT_HEEL), (LEFT_ANKLE, LEFT_BIG_TOE), (LEFT_ANKLE, LEFT_SMALL_TOE),
    (RIGHT_ANKLE, RIGHT_HEEL), (RIGHT_ANKLE, RIGHT_BIG_TOE), (RIGHT_ANKLE, RIGHT_SMALL_TOE),
    (NOSE, LEFT_EYE), (NOSE, RIGHT_EYE), (LEFT_EYE, LEFT_EAR), (RIGHT_EYE, RIGHT_EAR),
)  # fmt: skip

# Bones inside one hand, relative to its first point (the wrist end).
HAND_LIMBS: tuple[tuple[int, int], ...] = tuple(
    (0 if k == 0 else 4 * finger + k, 4 * finger + k + 1) for finger in range(5) for k in range(4)
)


def _flip() -> tuple[int, ...]:
    # iBUG-68 mirrored: jaw, brows, nose, eyes and mouth swap sides in their own order.
    face = [
        *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1),
        45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
        *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), *range(67, 64, -1),
    ]  # fmt: skip
    order = []
    for i, name in enumerate(NAMES):
        if name.startswith("face_"):
            order.append(23 + face[i - 23])
        else:
            side = "left_" if name.startswith("left_") else "right_"
            other = "right_" if side == "left_" else "left_"
            order.append(INDEX[name.replace(side, other, 1)] if name.startswith(side) else i)
    return tuple(order)


FLIP: tuple[int, ...] = _flip()
"""For each joint the joint that takes its place in a mirrored picture."""

# BlazePose's 33 landmarks: where each of ours comes from. Its two "pinky", "index" and "thumb"
# landmarks are the knuckles (thumb: the second joint); its foot index is the big toe.
BLAZEPOSE: dict[str, int] = {
    "nose": 0, "left_eye": 2, "right_eye": 5, "left_ear": 7, "right_ear": 8,
    "left_shoulder": 11, "right_shoulder": 12, "left_elbow": 13, "right_elbow": 14,
    "left_wrist": 15, "right_wrist": 16, "left_hip": 23, "right_hip": 24,
    "left_knee": 25, "right_knee": 26, "left_ankle": 27, "right_ankle": 28,
    "left_heel": 29, "right_heel": 30, "left_big_toe": 31, "right_big_toe": 32,
    # face: corners of the eyes and of the mouth
    "face_36": 6, "face_39": 4, "face_42": 1, "face_45": 3, "face_48": 10, "face_54": 9,
    "left_hand": 15, "left_thumb_2": 21, "left_index_1": 19, "left_pinky_1": 17,
    "right_hand": 16, "right_thumb_2": 22, "right_index_1": 20, "right_pinky_1": 18,
}  # fmt: skip


def from_blazepose(values: Array) -> Array:
    """BlazePose's (33, ...) values in our order, (133, ...); joints it does not have are zero."""
    out = np.zeros((JOINTS, *values.shape[1:]), values.dtype)
    for name, i in BLAZEPOSE.items():
        out[INDEX[name]] = values[i]
    return out


# OpenPose BODY_25 and COCO-18 from ours; -1 is the neck, -2 the mid-hip, both made from two joints.
OPENPOSE_25: tuple[int, ...] = (
    NOSE, -1, RIGHT_SHOULDER, RIGHT_ELBOW, RIGHT_WRIST, LEFT_SHOULDER, LEFT_ELBOW, LEFT_WRIST, -2,
    RIGHT_HIP, RIGHT_KNEE, RIGHT_ANKLE, LEFT_HIP, LEFT_KNEE, LEFT_ANKLE,
    RIGHT_EYE, LEFT_EYE, RIGHT_EAR, LEFT_EAR,
    LEFT_BIG_TOE, LEFT_SMALL_TOE, LEFT_HEEL, RIGHT_BIG_TOE, RIGHT_SMALL_TOE, RIGHT_HEEL,
)  # fmt: skip
OPENPOSE_18: tuple[int, ...] = (
    NOSE, -1, RIGHT_SHOULDER, RIGHT_ELBOW, RIGHT_WRIST, LEFT_SHOULDER, LEFT_ELBOW, LEFT_WRIST,
    RIGHT_HIP, RIGHT_KNEE, RIGHT_ANKLE, LEFT_HIP, LEFT_KNEE, LEFT_ANKLE,
    RIGHT_EYE, LEFT_EYE, RIGHT_EAR, LEFT_EAR,
)  # fmt: skip
# BODY_25 without the heels, in BODY_23's order: Everybody Dance Now's joints.
BODY_23_FROM_25: tuple[int, ...] = (
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 22, 23, 12, 13, 14, 19, 20, 0, 15, 17, 16, 18,
)  # fmt: skip
_PAIRS = {-1: (LEFT_SHOULDER, RIGHT_SHOULDER), -2: (LEFT_HIP, RIGHT_HIP)}


def to_openpose(xy: Array, score: Array, order: tuple[int, ...]) -> tuple[Array, Array]:
    """Joints (..., 133, 2) and scores (..., 133) in OPENPOSE_25 or OPENPOSE_18 order.

    Neck and mid-hip are the middle of the two shoulders or hips, with the lower of the two scores.
    """
    points, scores = [], []
    for joint in order:
        if joint >= 0:
            points.append(xy[..., joint, :])
            scores.append(score[..., joint])
        else:
            a, b = _PAIRS[joint]
            points.append((xy[..., a, :] + xy[..., b, :]) / 2)
            scores.append(np.minimum(score[..., a], score[..., b]))
    return np.stack(points, -2), np.stack(scores, -1)


def from_openpose(xy: Array, score: Array, order: tuple[int, ...]) -> tuple[Array, Array]:
    """The inverse of `to_openpose`; joints the other skeleton lacks get score 0."""
    out = np.zeros((*xy.shape[:-2], JOINTS, 2), np.float32)
    scores = np.zeros((*score.shape[:-1], JOINTS), np.float32)
    for i, joint in enumerate(order):
        if joint >= 0:
            out[..., joint, :] = xy[..., i, :]
            scores[..., joint] = score[..., i]
    return out, scores
