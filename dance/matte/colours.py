"""The person's own colours in the pixels they share with the background."""

from __future__ import annotations

import cv2
import numpy as np

from dance.types import Array


def foreground(rgb: Array, alpha: Array) -> Array:
    """The person's own colours, (H, W, 3) uint8: without the background's share in the edge pixels.

    Outside the matte the person's edge colours are continued, so that a cut-out may be warped and
    resampled without a halo. Two passes of Forte's blur fusion (Approximate fast foreground colour
    estimation, 2021), the second over a small window.
    """
    picture = rgb.astype(np.float32)
    a = np.asarray(alpha, np.float32)[..., None]
    fore = back = picture
    for radius in (45, 4):
        kernel = (2 * radius + 1, 2 * radius + 1)
        inside = cv2.blur(a, kernel)[..., None]
        fore_mean = cv2.blur(fore * a, kernel) / (inside + 1e-4)
        back_mean = cv2.blur(back * (1 - a), kernel) / (1 - inside + 1e-4)
        fore = fore_mean + a * (picture - a * fore_mean - (1 - a) * back_mean)
        fore, back = np.clip(fore, 0, 255), np.clip(back_mean, 0, 255)
    return np.where(a > 0.999, rgb, np.round(fore).astype(np.uint8)).astype(np.uint8)
