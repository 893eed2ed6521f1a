"""What other systems do to fit a driver's pose to a person, as far as a comparison needs it."""

from __future__ import annotations

import numpy as np

from dance import skeleton as sk
from dance.types import Array, Track


def linear_fit(driver: Track, source: Track) -> Array:
    """All joints of the driver under one linear map for the whole clip, (T, 133, 2), pixels of the source.

    After MimicMotion's rescaling: driver's y on the source's y by least squares over the 14 joints of neck, arms,
    legs and nose the source shows, the same gain for x (in pixels both aspects are 1), x centred on the source.
    Needs one joint in both; raises ValueError without.
    """
    xy, _ = sk.to_openpose(driver.xy, driver.score, sk.OPENPOSE_18)
    own, own_score = sk.to_openpose(source.xy[:1], source.score[:1], sk.OPENPOSE_18)
    use = np.arange(14)[own_score[0, :14] > 0.3]
    found = (driver.score > 0).any(1)
    if not len(use) or not found.any():
        raise ValueError(f"no joint is in both: {len(use)} of the source, {found.sum()} frames")
    theirs = xy[found][:, use]
    mine = np.broadcast_to(own[0, use], theirs.shape)
    gain, y_shift = np.polyfit(theirs[..., 1].ravel(), mine[..., 1].ravel(), 1)
    x_shift = float((mine[..., 0] - gain * theirs[..., 0]).mean())
    return np.asarray(driver.xy * gain + [x_shift, y_shift])
