"""The shadow of a person without a 3-D body: learnt from the source picture and cast again as they dance.

A far light and a flat floor map every point of the silhouette at height h above the floor's row to the point
`aside` x h beside it and `down` x h below that row: two numbers, found by laying the silhouette over the darkness.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from dance.finish.shadow import Floor, darken_by_half, follow_floor
from dance.surface.light import correlation, taken
from dance.types import Array, Moment, Person

_ASIDE = np.arange(-2.4, 2.41, 0.1)
_DOWN = np.concatenate([np.arange(-0.7, -0.04, 0.05), np.arange(0.05, 0.45, 0.05)])
_FIT = 0.45  # correlation of silhouette and darkness below which no shadow is believed
_SOLE = 0.07  # how far above the lowest toe the middle of the soles is, in leg lengths
_WIDE = 160  # pixels of the longer side when learning


@dataclass(frozen=True, slots=True)
class Slant:
    """Where the shadow falls, per pixel of height, and the share of light, in [0, 1], that it takes away."""

    aside: float
    down: float
    strength: float


def learn(person: Person) -> Slant | None:
    """The slant of the light in the source's first view; None where no shadow of theirs is seen on the floor."""
    view = person.views[0]
    floor = follow_floor(None, Moment(view.pose, view.frame.time))
    if floor is None or view.frame.size != person.size:
        return None
    scale = _WIDE / max(person.size)
    size = (max(1, round(person.size[1] * scale)), max(1, round(person.size[0] * scale)))
    seen, clean, alpha = (
        cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        for picture in (view.frame.rgb, person.plate, view.alpha)
    )
    dark = np.clip(1 - (seen.sum(2) + 1) / (clean.sum(2) + 1), 0, 1)
    small = Floor(floor.row * scale, floor.leg * scale, floor.time)
    rows = np.arange(size[1], dtype=np.float32)[:, None]
    # A shadow on the floor: not far above the feet, and not where the person hides it.
    free = (alpha < 0.05) & (rows > small.row - 0.7 * small.leg)
    if not free.any():
        return None
    best, slant = _FIT, None
    for aside in _ASIDE:
        for down in _DOWN:
            cast = _cast(alpha, Slant(float(aside), float(down), 1.0), small)
            inside = cast[free]
            fit = correlation(inside, dark[free])
            if fit > best:
                best, slant = fit, Slant(float(aside), float(down), taken(inside, dark[free]))
    return slant if slant is not None and slant.strength > 0.1 else None


def cast(rgb: Array, alpha: Array, slant: Slant, floor: Floor) -> None:
    """Darkens the picture (H, W, 3) uint8, in place, where the shadow of the person `alpha` (H, W) falls."""
    height, width = alpha.shape
    half = cv2.resize(
        alpha, (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA
    )
    shadow = _cast(half, slant, Floor(floor.row / 2, floor.leg / 2, floor.time))
    blurred = cv2.GaussianBlur(shadow, (0, 0), max(0.8, 0.01 * floor.leg))
    darken_by_half(rgb, slant.strength * blurred)


def _cast(alpha: Array, slant: Slant, floor: Floor) -> Array:
    """The silhouette laid down on the floor, (H, W) in [0, 1]."""
    row = floor.row - _SOLE * floor.leg
    matrix = np.array(
        [[1, -slant.aside, slant.aside * row], [0, -slant.down, row + slant.down * row]]
    )
    return np.asarray(cv2.warpAffine(alpha, matrix, alpha.shape[::-1], flags=cv2.INTER_LINEAR))
