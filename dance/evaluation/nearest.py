"""The nearest frame by pose: what Everybody Dance Now compares itself with, given its best chance.

Chan, Ginosar, Zhou, Efros: Everybody Dance Now (ICCV 2019), the baseline "nearest neighbors": for every pose
the frame of the training video whose normalised pose is nearest. A pose is normalised here by the scale and shift
that bring it nearest to the wanted one, and the picture found can be moved in the same way, which the paper's is
not: on real clips both make the baseline better than the torso's length and place do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dance import skeleton
from dance.geometry import torso_size
from dance.types import Array, Pose

COMPARED = slice(0, skeleton.FEET_SLICE.stop)
"""The joints that are compared: body and feet."""

NOBODY = -1
_ENOUGH = 0.5  # of the wanted joints a known pose must show


def nearest(wanted: Sequence[Pose], known: Sequence[Pose]) -> tuple[Array, Array]:
    """For every wanted pose the number of the nearest known one, (T,) int, and how far it is, (T,), in torso lengths.

    The distance is the mean over the joints seen in both, weighted by their scores, once the known pose has been
    moved by `fit`; a pose that shows less than half of the wanted joints is not compared. Of equals the first.
    Where none can be compared the number is `NOBODY` and the distance, as without a torso, not a number.
    """
    assert known, "there must be a frame to be the nearest"
    there = np.stack([pose.xy[COMPARED] for pose in known]).astype(np.float64)
    scores = np.stack([pose.score[COMPARED] for pose in known])
    numbers, apart = np.full(len(wanted), NOBODY), np.full(len(wanted), np.nan)
    for t, pose in enumerate(wanted):
        xy, weight = pose.xy[COMPARED].astype(np.float64), scores * pose.score[COMPARED]
        shared = (weight > 0).sum(1)
        usable = shared >= max(1.0, _ENOUGH * (pose.score[COMPARED] > 0).sum())
        if not usable.any():
            continue
        scale, shift = _fits(there, xy, weight)
        moved = scale[:, None, None] * there + shift[:, None]
        distance = np.where(weight > 0, np.linalg.norm(moved - xy, axis=-1), 0)
        mean = (distance * weight).sum(1) / np.where(usable, weight.sum(1), 1)
        numbers[t] = int(np.where(usable, mean, np.inf).argmin())
        apart[t] = mean[numbers[t]] / (torso_size(pose) or np.nan)
    return numbers, apart


def fit(known: Pose, wanted: Pose) -> Array:
    """The (2, 3) map, a scale and a shift, that brings the known pose nearest to the wanted one.

    Least squares over the joints of body and feet seen in both, weighted by their scores; it neither mirrors nor
    turns. Where nothing is in both it is the identity.
    """
    weight = (known.score * wanted.score)[COMPARED]
    if not weight.any():
        return np.eye(2, 3)
    a, b = (pose.xy[COMPARED].astype(np.float64) for pose in (known, wanted))
    scale, shift = _fits(a[None], b, weight[None])
    return np.column_stack([scale[0] * np.eye(2), shift[0]])


def _fits(known: Array, wanted: Array, weight: Array) -> tuple[Array, Array]:
    """Scales (N,) and shifts (N, 2) of many poses (N, J, 2) to one (J, 2), for weights (N, J)."""
    share = (weight / np.maximum(weight.sum(1, keepdims=True), 1e-9))[..., None]
    # What is not seen may be anywhere, even not a number.
    a, b = (np.where(share > 0, xy, 0) for xy in (known, np.broadcast_to(wanted, known.shape)))
    middle_a, middle_b = ((share * xy).sum(1) for xy in (a, b))
    from_a, from_b = a - middle_a[:, None], b - middle_b[:, None]
    spread = (share * from_a**2).sum((1, 2))
    along = (share * from_a * from_b).sum((1, 2))
    good = (spread > 0) & (along > 0)
    scale = np.where(good, along / np.where(good, spread, 1), 1.0)
    return scale, middle_b - scale[:, None] * middle_a
