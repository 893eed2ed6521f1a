"""Everybody Dance Now's pose normalisation: one scale and one vertical shift per frame, from where the lower foot is.

After Chan, Ginosar, Zhou, Efros: Everybody Dance Now (ICCV 2019), and the published code's behaviour, slips included
(`published`); `fixed` mends them: the left ankle is tested instead of the left ear, heights near the ends of the
range are never nothing and are compared as numbers, and a foot outside the range seen counts as at its end.
Poses here are BODY_23: neck, right and left arm (3 each), mid-hip, right leg with two toes (5), left leg (5),
nose, right eye and ear, left eye and ear; rows of (x, y, confidence).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dance import skeleton as sk
from dance.types import Array

Variant = Literal["published", "fixed"]

RIGHT_ANKLE, LEFT_ANKLE, NOSE, RIGHT_EAR, LEFT_EAR = 10, 15, 18, 20, 22
WINDOW = 7


def body_23(xy: Array, score: Array) -> Array:
    """Joints (T, 133, 2) and scores (T, 133) as BODY_23, (T, 23, 3)."""
    points, scores = sk.to_openpose(xy, score, sk.OPENPOSE_25)
    return np.asarray(
        np.concatenate([points, scores[..., None]], -1)[:, sk.BODY_23_FROM_25], np.float64
    )


def statistics(poses: Array, variant: Variant = "published") -> Array:
    """Height, higher and lower ankle's y of every pose (T, 23, 3), as (T, 3); NaN where a pose does not tell."""
    tested = LEFT_EAR if variant == "published" else LEFT_ANKLE
    right, left = poses[:, RIGHT_ANKLE], poses[:, LEFT_ANKLE]
    nose = poses[:, NOSE]
    ears = (poses[:, RIGHT_EAR, :2] + poses[:, LEFT_EAR, :2]) / 2
    head = np.where(nose[:, 2:] > 0, nose[:, :2], ears)
    height = np.linalg.norm(head - (right[:, :2] + left[:, :2]) / 2, axis=1)
    toes = np.stack([right[:, 1], left[:, 1]])
    good = (right[:, 2] > 0) & (poses[:, tested, 2] > 0)
    if variant == "fixed":
        has_head = (nose[:, 2] > 0) | ((poses[:, [RIGHT_EAR, LEFT_EAR], 2] > 0).all(1))
        good = good & has_head
    return np.where(good[:, None], np.stack([height, toes.min(0), toes.max(0)], 1), np.nan)


@dataclass(frozen=True, slots=True)
class Norm:
    """How the driver's range of foot heights (y, pixels) maps to the person's, with a scale at either end."""

    scale_close: float
    scale_far: float
    max_toe: float
    horizon: float
    driver_max_toe: float
    driver_horizon: float

    def at(self, toe: float, variant: Variant = "published") -> tuple[float, float]:
        """The vertical shift and the scale for a frame whose lower foot is at y = toe."""
        span = self.driver_max_toe - self.driver_horizon
        share = (toe - self.driver_horizon) / span if span else 0.0
        if variant == "fixed":
            share = min(max(share, 0.0), 1.0)
        target = self.horizon + share * (self.max_toe - self.horizon)
        return target - toe, self.scale_far + share * (self.scale_close - self.scale_far)


def norm(
    person: Array, driver: Array, variant: Variant = "published", fraction: float = 0.5
) -> Norm:
    """The mapping from statistics (N, 3) without NaN of both people.

    fraction: how far above the median foot, as a share of the way from the median down to the lowest, still counts.
    """
    max_toe, horizon = _range(person[:, 2], fraction)
    driver_max_toe, driver_horizon = _range(driver[:, 2], fraction)
    length = driver_max_toe - driver_horizon
    if length < max_toe - horizon:
        middle = (max_toe + horizon) / 2
        max_toe, horizon = middle + length / 2, middle - length / 2
    close, far = _heights(person, max_toe, horizon, variant)
    driver_close, driver_far = _heights(driver, driver_max_toe, driver_horizon, variant)
    return Norm(
        close / driver_close, far / driver_far, max_toe, horizon, driver_max_toe, driver_horizon
    )


def _range(toe: Array, fraction: float) -> tuple[float, float]:
    """The lowest foot's y, and the highest that is not too far above the median (the horizon)."""
    lowest, median = float(toe.max()), float(np.median(toe))
    above = median - toe
    usable = toe[(above > 0) & (above < fraction * (lowest - median))]
    return lowest, float(usable.min()) if len(usable) else median


def _heights(
    people: Array, max_toe: float, horizon: float, variant: Variant
) -> tuple[float, float]:
    """The largest height among frames with the foot near the lowest, and near the horizon."""
    height, toe = people[:, 0], people[:, 2]
    found = []
    for end in (max_toe, horizon):
        if variant == "fixed" and max_toe - horizon < 1e-6 * max(1.0, abs(max_toe)):
            near = height
        else:
            near = height[np.abs(toe - end) < 0.05 * (max_toe - horizon)]
        if variant == "fixed" and not len(near):
            near = height[np.abs(toe - end).argmin()][None]
        found.append(float(near.max()) if len(near) else 0.0)
    close, far = found
    if height.max() > 1.1 * close:
        # The published code compares the lists, so what wins is a list, and its first entry is taken.
        close = float(height.max() if variant == "fixed" else height[0])
    return close, far


def transforms(
    poses: Array, mapping: Norm, width: int, variant: Variant = "published"
) -> list[tuple[float, Array] | None]:
    """For every pose (T, 23, 3) the scale and the shift (x, y) that normalise it; None before the first usable one.

    Points are scaled about the middle of a picture `width` wide and the lower foot of the first usable frame;
    frames that do not tell keep the last.
    """
    found = statistics(poses, variant)
    anchor: Array | None = None
    last: tuple[float, Array] | None = None
    out: list[tuple[float, Array] | None] = []
    for _, _, toe in found:
        if not np.isnan(toe):
            if anchor is None:
                anchor = np.array([width // 2, toe])
            shift, scale = mapping.at(float(toe), variant)
            last = (scale, anchor * (1 - scale) + np.array([0.0, shift]))
        out.append(last)
    return out


def apply(transform: tuple[float, Array], xy: Array) -> Array:
    """Points (..., 2) under one frame's transform."""
    scale, shift = transform
    return xy * scale + shift


def median_filter(poses: Array, window: int = WINDOW) -> Array:
    """The median of `window` neighbouring frames of (T, J, 3), for every full window: (T - window + 1, J, 3).

    Where most are confident (median confidence above 0) only confident samples count, number by number.
    """
    out = []
    for start in range(len(poses) - window + 1):
        part = poses[start : start + window]
        plain = np.median(part, axis=0)
        sure = np.where(part[..., 2:] > 0, part, np.nan)
        some = np.asarray((part[..., 2] > 0).any(0))
        filled = np.where(some[None, :, None], sure, part)
        out.append(np.where(plain[:, 2:] > 0, np.nanmedian(filled, axis=0), plain))
    return np.array(out).reshape(-1, *poses.shape[1:])


def average_smoothing(poses: Array, window: int) -> Array:
    """Means of windows that do not overlap, (T // window, J, 3); a joint unsure in any frame becomes all zero."""
    count = len(poses) // window
    parts = poses[: count * window].reshape(count, window, *poses.shape[1:])
    sure = np.asarray((parts[..., 2] > 0).all(1))
    return np.asarray(np.where(sure[..., None], parts.mean(1), 0.0))


def into_frame(poses: Array, size: tuple[int, int], frame: tuple[int, int] = (1080, 1920)) -> Array:
    """Poses (T, J, 3) of pictures of (height, width) `size` as if scaled by one factor into the middle of `frame`."""
    if tuple(size) == tuple(frame):
        return poses
    scale = min(frame[0] / size[0], frame[1] / size[1])
    shift = np.array([(frame[1] - scale * size[1]) / 2, (frame[0] - scale * size[0]) / 2])
    return np.concatenate([poses[..., :2] * scale + shift, poses[..., 2:]], -1)


def replay(draws: Sequence[int], driver: Array, person: Array, wanted: int) -> tuple[Array, Array]:
    """The statistics (N, 3) of recorded random draws: frames of the driver until `wanted` tell, then the person's."""
    used, valid = 0, 0
    while valid < wanted:
        valid += int(not np.isnan(driver[draws[used], 0]))
        used += 1
    first, second = driver[list(draws[:used])], person[list(draws[used:])]
    return first[~np.isnan(first[:, 0])], second[~np.isnan(second[:, 0])]
