"""What generators that draw from single pictures are told of a pose: maps, masks and boxes of OpenPose's 18 joints.

Ma et al.: Pose Guided Person Image Generation (NeurIPS 2017) and Disentangled Person Image Generation
(CVPR 2018); Zhu et al.: Progressive Pose Attention (CVPR 2019), whose maps XingGAN takes. Joints are xy (18, 2)
in pixels, (x, y), with scores (18,); score 0 = not seen. Maps of joints are drawn by `draw.gaussians` and `draw.discs`.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from dance import skeleton as sk
from dance.types import Array, Pose, Size

JOINTS = 18
_SURE = 0.1  # the least a map holds where its joint is

# The limbs PG2's mask of the body is drawn along: more than the skeleton has, so that the torso is filled.
_MASK_LIMBS: tuple[tuple[int, int], ...] = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13),
    (1, 0), (0, 14), (14, 16), (0, 15), (15, 17), (1, 16), (1, 17), (8, 11), (11, 5), (8, 2), (16, 17),
)  # fmt: skip
_CLOSING = 5  # pixels of the square that closes the mask's gaps

HEAD, UPPER, LOWER = (0, 1, 2, 5, 14, 15, 16, 17), (2, 3, 4, 5, 6, 7, 8, 11), tuple(range(8, 14))
LEFT_ARM, RIGHT_ARM, LEFT_LEG, RIGHT_LEG = (5, 6, 7), (2, 3, 4), (11, 12, 13), (8, 9, 10)
BODY_PARTS: tuple[tuple[int, ...], ...] = (
    HEAD, UPPER, LOWER, LEFT_ARM, RIGHT_ARM, LEFT_LEG, RIGHT_LEG,
)  # fmt: skip
"""DPIG's seven parts: the joints whose box each is."""
ALL_PARTS: tuple[tuple[int, ...], ...] = (
    *BODY_PARTS, (2, 5, 8, 11),
    (5, 6), (6, 7), (2, 3), (3, 4), (11, 12), (12, 13), (8, 9), (9, 10), tuple(range(JOINTS)),
    *((joint,) for joint in range(JOINTS)), (*RIGHT_ARM, *RIGHT_LEG), (*LEFT_ARM, *LEFT_LEG),
)  # fmt: skip
"""The 37 parts that DPIG's data set records: those seven, the torso, halves of limbs, the whole, joints, sides."""


def joints(pose: Pose) -> tuple[Array, Array]:
    """The pose's 18 joints, (18, 2) pixels, and their scores, (18,)."""
    return sk.to_openpose(pose.xy, pose.score, sk.OPENPOSE_18)


def points(xy: Array, score: Array, size: Size) -> Array:
    """One map per joint (18, H, W) float32: 1 at the joint's pixel, else 0; empty for joints unseen or outside.

    What the released DeepFashion script of PATN and XingGAN makes of its Gaussians by keeping them as whole numbers.
    """
    maps = np.zeros((len(xy), *size), np.float32)
    at = np.floor(np.asarray(xy, np.float64) + 0.5).astype(int)
    inside = (np.asarray(score) > 0) & (at >= 0).all(-1) & (at < size[::-1]).all(-1)
    channel = np.flatnonzero(inside)
    maps[channel, at[channel, 1], at[channel, 0]] = 1
    return maps


def peaks(maps: Array) -> tuple[Array, Array]:
    """Where the maps (J, H, W) have their maxima, (J, 2) float32 pixels, and scores: 0 below 0.1, else 1.

    Of several equal maxima the first row's counts.
    """
    flat = maps.reshape(len(maps), -1)
    best = flat.argmax(-1)
    y, x = np.divmod(best, maps.shape[-1])
    seen = flat[np.arange(len(maps)), best] > _SURE
    return np.stack([x, y], -1).astype(np.float32), seen.astype(np.float32)


def body_mask(xy: Array, score: Array, size: Size, radius: float) -> Array:
    """PG2's mask of the body, (H, W) bool: discs along its limbs, their gaps closed; limbs with an unseen end are left out."""
    mask = np.zeros(size, np.uint8)
    for a, b in _MASK_LIMBS:
        if score[a] > 0 and score[b] > 0:
            start, end = np.asarray(xy[a], np.float64), np.asarray(xy[b], np.float64)
            steps = max(1, int(np.hypot(*(end - start)) / radius))
            for i in range(steps + 1):
                _fill_disc(mask, np.floor(start + (end - start) * (i / steps)), radius)
    square = np.ones((_CLOSING, _CLOSING), np.uint8)
    return np.asarray(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, square) > 0)


def _fill_disc(mask: Array, centre: Array, radius: float) -> None:
    x, y = (float(value) for value in centre)
    height, width = mask.shape
    top, bottom = max(0, int(y - radius)), min(height, int(y + radius) + 2)
    left, right = max(0, int(x - radius)), min(width, int(x + radius) + 2)
    if top < bottom and left < right:
        rows, columns = np.ogrid[top:bottom, left:right]
        inside = (rows - y) ** 2 + (columns - x) ** 2 <= radius * radius
        mask[top:bottom, left:right] |= inside.astype(np.uint8)


def part_boxes(
    xy: Array,
    score: Array,
    size: Size,
    parts: Sequence[Sequence[int]] = BODY_PARTS,
    *,
    margin: float = 6.0,
    lone_margin: float = 10.0,
) -> tuple[Array, Array]:
    """DPIG's boxes about parts of the body, (P, 4) float32 (top, left, bottom, right), and whether any joint is seen, (P,).

    lone_margin: about a part of which one joint is seen.  A part without any has the box (0, 0, 1, 1).
    """
    boxes = np.tile(np.array([0, 0, 1, 1], np.float32), (len(parts), 1))
    visible = np.zeros(len(parts), np.float32)
    last = np.array(size, np.float64) - 1
    for i, part in enumerate(parts):
        seen = [joint for joint in part if score[joint] > 0]
        if seen:
            rows_columns = np.asarray(xy, np.float64)[seen, ::-1]
            room = lone_margin if len(seen) == 1 else margin
            boxes[i, :2] = np.clip(rows_columns.min(0) - room, 0, last)
            boxes[i, 2:] = np.clip(rows_columns.max(0) + room, 0, last)
            visible[i] = 1
    return boxes, visible


def to_vector(xy: Array, score: Array, size: Size) -> Array:
    """DPIG's pose vector, (18, 3) float64: row and column in [-1, 1) and whether seen; -1, -1, 0 for unseen joints."""
    seen = np.asarray(score) > 0
    rows_columns = np.asarray(xy, np.float64)[:, ::-1] / np.array(size, np.float64) * 2 - 1
    rows_columns[~seen] = -1
    return np.concatenate([rows_columns, seen[:, None]], -1)


def from_vector(vector: Array, size: Size) -> tuple[Array, Array]:
    """The inverse of `to_vector`: joints (18, 2) in whole pixels inside the picture, and scores (18,) of 0 or 1."""
    height, width = size
    places = (np.asarray(vector, np.float64)[:, :2] + 1) / 2 * (height, width)
    places = np.trunc(np.clip(places, 0, (height - 1, width - 1)))
    return places[:, ::-1].astype(np.float32), (vector[:, 2] > 0.5).astype(np.float32)
