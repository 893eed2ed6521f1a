"""How well something moves: joints against the truth, and pictures from frame to frame.

Joints are (T, J, 2) in pixels. Distances are in torso lengths: the distance between the middles of
shoulders and hips, frame by frame, of the true joints. `seen`, (T, J) bool, leaves joints out; NaN is
what nothing at all gives.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from dance import skeleton
from dance.types import Array

LIMB_JOINTS: tuple[int, ...] = tuple(range(skeleton.LEFT_SHOULDER, skeleton.RIGHT_ANKLE + 1))
"""The twelve joints of arms and legs: shoulders, elbows, wrists, hips, knees, ankles."""

FOOT_JOINTS: tuple[int, ...] = tuple(range(17, 23))


def torso_lengths(xy: Array) -> Array:
    """The torso's length in every frame, (T,), from joints in the order of the 133-joint skeleton."""
    shoulders = (xy[:, skeleton.LEFT_SHOULDER] + xy[:, skeleton.RIGHT_SHOULDER]) / 2
    hips = (xy[:, skeleton.LEFT_HIP] + xy[:, skeleton.RIGHT_HIP]) / 2
    return np.asarray(np.linalg.norm(shoulders - hips, axis=-1))


def joint_errors(xy: Array, truth: Array, torso: Array) -> Array:
    """Every joint's distance to its truth in torso lengths, (T, J)."""
    if xy.shape != truth.shape:
        raise ValueError(
            f"joints must have the truth's shape, got {xy.shape} instead of {truth.shape}"
        )
    return np.asarray(np.linalg.norm(xy - truth, axis=-1) / torso[:, None])


def mean_error(xy: Array, truth: Array, torso: Array, seen: Array | None = None) -> float:
    """The mean distance to the truth in torso lengths."""
    return _mean(joint_errors(xy, truth, torso), seen)


def pck(
    xy: Array, truth: Array, torso: Array, seen: Array | None = None, *, share: float = 0.2
) -> float:
    """The share of joints nearer to their truth than `share` of the torso's length."""
    return _mean((joint_errors(xy, truth, torso) < share).astype(float), seen)


def acceleration_error(xy: Array, truth: Array, torso: Array, seen: Array | None = None) -> float:
    """The mean length of the difference of accelerations, in torso lengths per frame squared.

    An acceleration needs three frames; one with a joint left out in any of them does not count.
    """
    difference = (xy - truth) / torso[:, None, None]
    wrong = difference[2:] - 2 * difference[1:-1] + difference[:-2]
    usable = None if seen is None else seen[2:] & seen[1:-1] & seen[:-2]
    return _mean(np.linalg.norm(wrong, axis=-1), usable)


def planted(truth: Array, torso: Array, *, slack: float = 0.01) -> Array:
    """Which joints stand still from one frame to the next, (T - 1, J): those that move less than `slack`."""
    steps = np.linalg.norm(np.diff(truth, axis=0), axis=-1)
    return np.asarray(steps / torso[1:, None] < slack)


def foot_sliding(xy: Array, torso: Array, still: Array) -> float:
    """How far joints that should stand still (see `planted`) move, in torso lengths per frame."""
    return _mean(np.linalg.norm(np.diff(xy, axis=0), axis=-1) / torso[1:, None], still)


def flicker(frames: Iterable[Array], truths: Iterable[Array]) -> float:
    """The mean wrong change from frame to frame, |(r[t] - r[t-1]) - (a[t] - a[t-1])|, 0..255."""
    total, count = 0.0, 0
    before: Array | None = None
    for frame, truth in zip(frames, truths, strict=True):
        difference = frame.astype(np.float32) - truth.astype(np.float32)
        if before is not None:
            total += float(np.abs(difference - before).mean())
            count += 1
        before = difference
    return total / count if count else float("nan")


def wrong_change(
    frame: Array, before: Array, truth: Array, truth_before: Array, where: Array
) -> float:
    """One step of `flicker`, |(r[t] - r[t-1]) - (a[t] - a[t-1])|, its mean over an (H, W) bool mask, 0..255.

    An empty mask gives NaN.
    """
    if not where.any():
        return float("nan")
    now, then = (
        x[where].astype(np.float32) - y[where].astype(np.float32)
        for x, y in ((frame, truth), (before, truth_before))
    )
    return float(np.abs(now - then).mean())


def warping_error(frames: Iterable[Array]) -> float:
    """The mean difference, 0..255, between each frame and the one before it moved along the optical flow.

    Needs no truth. Pixels whose way forth and back does not close within 1 px (occluded ones) are left
    out, after Lai et al., "Learning blind video temporal consistency", ECCV 2018.
    """
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    errors: list[float] = []
    before: tuple[Array, Array] | None = None
    for frame in frames:
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        if before is not None:
            last, last_grey = before
            back, forth = _flow(finder, grey, last_grey), _flow(finder, last_grey, grey)
            closes = np.linalg.norm(back + _moved(forth, back), axis=-1) < 1
            if closes.any():
                warped = _moved(last, back)
                wrong = np.abs(frame.astype(np.float32) - warped.astype(np.float32))
                errors.append(float(wrong[closes].mean()))
        before = frame, grey
    return float(np.mean(errors)) if errors else float("nan")


def _flow(finder: cv2.DISOpticalFlow, grey: Array, other: Array) -> Array:
    """Where each pixel is in the other picture, less its own place, (H, W, 2)."""
    height, width = grey.shape
    # OpenCV's DIS crashes on tiny and on slender pictures.
    below, right = max(64, width // 2) - height, max(64, height // 2) - width
    border = (0, max(0, below), 0, max(0, right))
    a, b = (cv2.copyMakeBorder(g, *border, cv2.BORDER_REPLICATE) for g in (grey, other))
    found = finder.calc(a, b, np.zeros((*a.shape, 2), np.float32))
    return np.asarray(found[:height, :width])


def _moved(picture: Array, flow: Array) -> Array:
    """The picture looked up at every pixel's place plus its flow."""
    height, width = flow.shape[:2]
    columns, rows = np.meshgrid(
        np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    )
    return cv2.remap(
        picture, columns + flow[..., 0], rows + flow[..., 1], cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip


def _mean(values: Array, usable: Array | None) -> float:
    values = values if usable is None else values[usable]
    return float(values.mean()) if values.size else float("nan")
