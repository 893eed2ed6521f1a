"""A soft shadow under the feet, so that the person stands on the floor instead of floating before it.

Only contact is drawn (what the feet and the body above keep from the sky's light): where the lamps of the scene stand is not known.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np

from dance import skeleton
from dance.types import Array, Moment, Pose

_FEET = (
    (skeleton.LEFT_ANKLE, skeleton.LEFT_HEEL, skeleton.LEFT_BIG_TOE),
    (skeleton.RIGHT_ANKLE, skeleton.RIGHT_HEEL, skeleton.RIGHT_BIG_TOE),
)
_LEGS = (
    (skeleton.LEFT_HIP, skeleton.LEFT_KNEE, skeleton.LEFT_ANKLE),
    (skeleton.RIGHT_HIP, skeleton.RIGHT_KNEE, skeleton.RIGHT_ANKLE),
)
_FALL = 0.25  # how far the floor may rise in the picture, in leg lengths a second: walking away, not a jump
_FLAT = (
    0.3  # height of a circle on the floor over its width, as seen by a camera held about chest-high
)


@dataclass(frozen=True, slots=True)
class Floor:
    """Where the floor is under the person: its row in pixels, a leg's length in pixels, and when that was found."""

    row: float
    leg: float
    time: Fraction


def follow_floor(floor: Floor | None, moment: Moment) -> Floor | None:
    """The floor after one more moment: it goes down with the lower foot at once and up slowly, so that a jump leaves it."""
    pose = moment.pose
    feet = [pose.xy[joint, 1] for foot in _FEET for joint in foot if pose.score[joint] > 0]
    legs = [
        np.linalg.norm(np.diff(pose.xy[list(leg)], axis=0), axis=1).sum()
        for leg in _LEGS
        if (pose.score[list(leg)] > 0).all()
    ]
    if not feet or not legs:
        return None if moment.cut else floor
    row, leg = float(max(feet)), float(max(legs))
    if floor is None or moment.cut:
        return Floor(row, leg, moment.time)
    gone = float(moment.time - floor.time)
    # A leg bent towards the camera looks shorter than it is, so a shorter length is believed slowly too.
    return Floor(
        max(row, floor.row - _FALL * floor.leg * gone),
        max(leg, floor.leg * (1 - _FALL * gone)),
        moment.time,
    )


def cast(rgb: Array, pose: Pose, floor: Floor | None, strength: float) -> None:
    """Darkens the floor under the feet in the picture (H, W, 3) uint8, in place; strength in [0, 1]."""
    if floor is None:
        return
    spots = _spots(pose, floor)
    if not spots:
        return
    left = max(0, int(min(x - r for x, _, r, _ in spots)))
    right = min(rgb.shape[1], int(max(x + r for x, _, r, _ in spots)) + 2)
    top = max(0, int(min(y - r * _FLAT for _, y, r, _ in spots)))
    bottom = min(rgb.shape[0], int(max(y + r * _FLAT for _, y, r, _ in spots)) + 2)
    if left >= right or top >= bottom:
        return
    x, y = np.arange(left, right, dtype=np.float32), np.arange(top, bottom, dtype=np.float32)
    dark = np.zeros((bottom - top, right - left), np.float32)
    for spot_x, spot_y, radius, weight in spots:
        away = ((x - spot_x) / radius) ** 2 + (((y - spot_y) / (radius * _FLAT)) ** 2)[:, None]
        # Bell-shaped, and exactly nothing at the radius: on a plain floor the smallest step would show.
        np.maximum(dark, weight * np.clip(1 - away, 0, 1) ** 2, out=dark)
    darken(rgb[top:bottom, left:right], strength * dark)


def darken(rgb: Array, dark: Array) -> None:
    """Takes the share `dark` (H, W) in [0, 1] of its light from a picture or a part of one, in place."""
    under = np.ascontiguousarray(rgb)
    rgb[:] = cv2.blendLinear(under, np.zeros_like(under), 1 - dark, dark)


def darken_by_half(rgb: Array, dark: Array) -> None:
    """The same by a map half as high and wide as the picture: shadows are soft, every other pixel tells them."""
    rows, columns = np.flatnonzero((dark > 0).any(1)), np.flatnonzero((dark > 0).any(0))
    if not len(rows) or not len(columns):
        return
    top, bottom = 2 * rows[0], min(rgb.shape[0], 2 * rows[-1] + 2)
    left, right = 2 * columns[0], min(rgb.shape[1], 2 * columns[-1] + 2)
    part = dark[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    whole = cv2.resize(part, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
    darken(rgb[top:bottom, left:right], whole)


def _spots(pose: Pose, floor: Floor) -> list[tuple[float, float, float, float]]:
    """(x, y, radius, weight) of the dark spots: a small one under each foot, a wide faint one under the body."""
    spots = []
    for ankle, heel, toe in _FEET:
        seen = [joint for joint in (ankle, heel, toe) if pose.score[joint] > 0]
        if not seen:
            continue
        low = max(float(pose.xy[joint, 1]) for joint in seen)
        sole = [joint for joint in (heel, toe) if pose.score[joint] > 0] or [ankle]
        x = float(pose.xy[sole, 0].mean())
        length = float(np.ptp(pose.xy[sole, 0])) if len(sole) > 1 else 0.0
        # One foot behind the other is higher in the picture too, so a little height is no lift.
        lift = max(0.0, (floor.row - low) / floor.leg - 0.08)
        radius = max(1.1 * length, 0.22 * floor.leg) * (1 + 2 * lift)
        y = low + 0.8 * lift * floor.leg
        spots.append((x, y, radius, float(np.exp(-lift / 0.1))))
    if len(spots) == 2:
        (xa, ya, ra, wa), (xb, yb, rb, wb) = spots
        wide = abs(xa - xb) / 2 + 1.3 * max(ra, rb)
        spots.append(((xa + xb) / 2, (ya + yb) / 2, wide, 0.4 * max(wa, wb)))
    return spots
