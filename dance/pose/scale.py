"""How large a person is in the picture, from whatever is seen of them."""

from __future__ import annotations

import math

import numpy as np

from dance.skeleton import INDEX
from dance.types import Array

# Torso lengths per length between the middles of two sets of joints: half of the names each.
_BONES: tuple[tuple[float, tuple[str, ...]], ...] = (
    (1.0, ("left_shoulder", "right_shoulder", "left_hip", "right_hip")),
    (1.3, ("left_shoulder", "right_shoulder")),
    (1.2, ("left_hip", "left_knee")),
    (1.2, ("right_hip", "right_knee")),
    (1.2, ("left_knee", "left_ankle")),
    (1.2, ("right_knee", "right_ankle")),
    (1.7, ("left_shoulder", "left_elbow")),
    (1.7, ("right_shoulder", "right_elbow")),
    (3.0, ("left_ear", "right_ear")),
)
_SURE = 0.3
_SECONDS = 0.5

_FACTORS = np.array([factor for factor, _ in _BONES])
# The joints of each bone as two at its upper and two at its lower end, (bones, 4).
_ENDS = np.array(
    [
        [INDEX[name] for name in (names if len(names) == 4 else np.repeat(names, 2))]
        for _, names in _BONES
    ]
)


def torso_lengths(xy: Array, score: Array, step: Array, before: float = math.nan) -> Array:
    """The length of the person's torso in pixels at (T,) frames, 1 or more, slowly following.

    xy: (T, 133, 2).  score: (T, 133).  step: (T,) seconds.  before: the length before the first frame,
    nan if not known. Every bone tells a least size only, as it may point to the camera; the largest
    counts. Frames that tell nothing have the length of those before them, or the first known one.
    """
    ends = xy[:, _ENDS]
    along = (ends[:, :, 0] + ends[:, :, 1] - ends[:, :, 2] - ends[:, :, 3]) / 2
    length = np.hypot(along[..., 0], along[..., 1])
    known = score[:, _ENDS].min(-1) > _SURE
    guess = (_FACTORS * length * known).max(-1)
    if not guess.any() and math.isnan(before):
        return np.full(len(xy), _spread(xy, score))
    size = before if not math.isnan(before) else float(guess[guess > 0][0])
    out = np.empty(len(xy))
    for t in range(len(xy)):
        if guess[t] > 0:
            size *= (guess[t] / size) ** (1 - math.exp(-step[t] / _SECONDS))
        out[t] = size
    return np.maximum(1.0, out)


def _spread(xy: Array, score: Array) -> float:
    """A third of the extent of what is seen: a guess where nothing of known length is."""
    extents = [np.ptp(p[s > 0], axis=0).max() for p, s in zip(xy, score, strict=True) if s.any()]
    return max(1.0, float(np.median(extents)) / 3) if extents else 1.0
