"""The compiled loops of `inpaint`: comparing patches, and adding up what they say."""

from __future__ import annotations

import numpy as np
from numba import njit

from dance.types import Array


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def costs(flat: Array, centres: Array, places: Array, offsets: Array) -> Array:
    """The mean squared difference, (n,) float32, of the patches at `centres` and at `places`.

    flat: (pixels, 3) float32 of a picture.  centres, places: (n,) pixel numbers.  offsets: (k,) from the
    middle of a patch to its pixels.
    """
    found = np.empty(len(centres), np.float32)
    share = np.float32(1 / (3 * len(offsets)))
    for i in range(len(centres)):
        total = np.float32(0)
        for offset in offsets:
            here, there = centres[i] + offset, places[i] + offset
            for c in range(3):
                apart = flat[here, c] - flat[there, c]
                total += apart * apart
        found[i] = total * share
    return found


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def add_votes(
    total: Array, weights: Array, flat: Array, centres: Array, match: Array, trust: Array,
    offsets: Array, nearness: Array,
) -> None:  # fmt: skip
    """Adds what the matched patches say of the pixels they cover to `total` (pixels, C) and `weights` (pixels,), in place.

    flat: (pixels, C) float32, what is said.  centres, match, trust: (n,) of the patches.  offsets,
    nearness: (k,) from the middle of a patch to its pixels, and how much each of them counts.
    """
    channels = flat.shape[1]
    for i in range(len(centres)):
        for k in range(len(offsets)):
            share = trust[i] * nearness[k]
            here, there = centres[i] + offsets[k], match[i] + offsets[k]
            weights[here] += share
            for c in range(channels):
                total[here, c] += share * flat[there, c]


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def relax(
    current: Array, right: Array, down: Array, pull_right: Array, pull_down: Array, hole: Array,
    rounds: int,
) -> Array:  # fmt: skip
    """The picture (h, w, C) float32 drawn to differ from pixel to pixel by `right` and `down`, in the hole.

    pull_right, pull_down: (h, w) how strongly a pixel and the next one hold each other.  hole: (h, w)
    bool; outside it nothing changes.  Every round moves all pixels at once, most of the way.
    """
    height, width, channels = current.shape
    other = current.copy()
    for _ in range(rounds):
        for y in range(height):
            for x in range(width):
                if not hole[y, x]:
                    continue
                before_x = pull_right[y, x - 1] if x > 0 else np.float32(0)
                before_y = pull_down[y - 1, x] if y > 0 else np.float32(0)
                after_x = pull_right[y, x] if x < width - 1 else np.float32(0)
                after_y = pull_down[y, x] if y < height - 1 else np.float32(0)
                sure = max(before_x + before_y + after_x + after_y, np.float32(1e-6))
                for c in range(channels):
                    pull = np.float32(0)
                    if x > 0:
                        pull += before_x * (current[y, x - 1, c] + right[y, x - 1, c])
                    if y > 0:
                        pull += before_y * (current[y - 1, x, c] + down[y - 1, x, c])
                    if x < width - 1:
                        pull += after_x * (current[y, x + 1, c] - right[y, x, c])
                    if y < height - 1:
                        pull += after_y * (current[y + 1, x, c] - down[y, x, c])
                    other[y, x, c] = (
                        np.float32(0.15) * current[y, x, c] + np.float32(0.85) * pull / sure
                    )
        current, other = other, current
    return current
