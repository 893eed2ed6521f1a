"""Where a person is: how far from the camera, on which floor, and how far above it.

Two things tell the distance: the size of the limbs, and where the feet touch the picture of the floor. The floor is
a plane that does not roll: its points have y = height + slope * z in the camera's axes (x right, y down, z away),
so `height` is how far the camera is above it and `slope` is minus the tangent of the camera's downward tilt.
Lengths are in the person's metres (`lengths`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solveh_banded

from dance import skeleton as sk
from dance.pose.lengths import Sight, quantile
from dance.pose.lift import Figure
from dance.types import Array

SOLES: tuple[int, ...] = (
    sk.LEFT_BIG_TOE, sk.LEFT_HEEL, sk.RIGHT_BIG_TOE, sk.RIGHT_HEEL, sk.LEFT_SMALL_TOE, sk.RIGHT_SMALL_TOE,
)  # fmt: skip

# A camera is held or put at about chest height; how far that is from true.
_CAMERA_HEIGHT, _CAMERA_SPREAD = 1.15, 0.35
_SIZE_NOISE = 0.03  # of the log size of one frame, at the least
_SOLE_NOISE = 0.035  # metres: soles are not points, and their joints are 2 to 4 cm off
_FOOT_BEFORE = (
    0.1  # metres by which the legs' estimated leans misplace a foot before or behind the hips
)
_INDEPENDENT = 30  # frames at most count as many different views of the floor
_GUESSED_FEET = 0.2  # how well feet nobody saw are known
_JUMP = 3.0  # times that noise: what is farther above the floor jumps
_TOGETHER = 0.3  # seconds over which neighbouring frames err together
_RESTLESS = 0.35  # how fast the log distance changes its speed, per second to the power 3 / 2


@dataclass(frozen=True, slots=True)
class Floor:
    """y = height + slope * z; `doubt` is the standard error of the slope."""

    height: float
    slope: float
    doubt: float

    @property
    def axes(self) -> Array:
        """(3, 3): rows are right, forward along the floor, and up."""
        up = np.array([0.0, -1.0, self.slope]) / np.hypot(1.0, self.slope)
        right = np.array([1.0, 0.0, 0.0])
        return np.stack([right, np.cross(up, right), up])

    def above(self, points: Array) -> Array:
        """How high the points (..., 3) are above the floor."""
        return np.asarray(points @ self.axes[2] + self.height / np.hypot(1.0, self.slope))


def lowest(joints: Array, floor: Floor) -> Array:
    """How high the lower foot is above the floor in every frame; joints: (T, 136, 3)."""
    return np.asarray(floor.above(joints[:, SOLES]).min(1))


def distances(
    size: Array, variance: Array, seconds: Array, feet: tuple[Array, Array] | None = None
) -> Array:
    """The log of the mid-hip's distance in every frame, (T,), smooth in time.

    size, variance: the log of one metre's size in rays and its variance (NaN and infinite where unknown).
    seconds: (T,).  feet: the same log distance by where the feet stand, and its variance.
    """
    step = _steps(seconds)
    together = np.maximum(1.0, _TOGETHER / step)
    clues = [(-size, np.maximum(variance, _SIZE_NOISE**2) * together)]
    if feet is not None:
        clues.append((feet[0], feet[1] * together))
    usable = [(np.where(np.isfinite(v) & np.isfinite(c), c, 0.0), np.where(np.isfinite(v) & np.isfinite(c), 1 / v, 0.0)) for c, v in clues]  # fmt: skip
    if not any(w.any() for _, w in usable):
        return np.zeros(len(size))
    robust = [np.ones(len(size)) for _ in usable]
    smooth = np.zeros(len(size))
    for _ in range(5):
        weight = sum(w * r for (_, w), r in zip(usable, robust, strict=True))
        target = sum(w * r * c for (c, w), r in zip(usable, robust, strict=True))
        smooth = _spline(np.asarray(target), np.asarray(weight), step)
        robust = [_huber((c - smooth) * np.sqrt(w * together)) for c, w in usable]
    return smooth


def _steps(seconds: Array) -> Array:
    """The time to the neighbouring frames, (T,)."""
    if len(seconds) < 2:
        return np.full(len(seconds), 0.04)
    gaps = np.clip(np.diff(seconds), 1e-3, 1.0)
    return np.concatenate([gaps[:1], (gaps[1:] + gaps[:-1]) / 2, gaps[-1:]])


def _huber(errors: Array, bound: float = 1.5) -> Array:
    return np.asarray(bound / np.maximum(np.abs(errors), bound))


def _spline(target: Array, weight: Array, step: Array) -> Array:
    """The curve x that minimises sum(weight x^2 - 2 target x) + its bending / _RESTLESS^2."""
    count = len(target)
    bands = np.zeros((3, count))
    bands[2] = weight + 1e-9
    stiff = 1 / (_RESTLESS**2 * step[1:-1] ** 3)
    if count > 2:
        bands[2, :-2] += stiff
        bands[2, 1:-1] += 4 * stiff
        bands[2, 2:] += stiff
        bands[1, 1:-1] += -2 * stiff
        bands[1, 2:] += -2 * stiff
        bands[0, 2:] += stiff
    elif count == 2:
        bands[2] += 1e6
        bands[1, 1] -= 1e6
    return np.asarray(solveh_banded(bands, target))


def floor_under(
    figure: Figure, feet_seen: Array, *, slope: tuple[float, float] | None = None
) -> Floor:
    """The floor the person stands on, from where the lower foot is in every frame.

    feet_seen: (T,) how well.  slope: what is believed of the slope and how doubtful it is; without it only
    that cameras are about chest high. Jumps are above the floor and count little.
    """
    points = figure.joints()[:, SOLES]
    rows = np.arange(len(points))
    weight = np.where(figure.found, np.maximum(feet_seen, _GUESSED_FEET), 0.0) / _SOLE_NOISE**2
    weight = weight / max(1.0, len(weight) / _INDEPENDENT)  # neighbouring frames err together
    prior = np.array([[1 / _CAMERA_SPREAD**2, 0.0], [0.0, 1 / slope[1] ** 2 if slope else 1e-9]])
    fitted = np.array([_CAMERA_HEIGHT, slope[0] if slope else 0.0])
    wanted = prior @ fitted
    robust = np.ones(len(points))
    for _ in range(20):
        low = points[rows, (points[..., 1] - fitted[1] * points[..., 2]).argmax(1)]
        design = np.stack([np.ones(len(low)), low[:, 2]], 1)
        normal = prior + design.T @ (design * (weight * robust)[:, None])
        fitted = np.linalg.solve(normal, wanted + design.T @ (weight * robust * low[:, 1]))
        error = (low[:, 1] - design @ fitted) / _SOLE_NOISE
        # The prior may be off as a whole; what is odd is only what differs from the other frames.
        error = error - quantile(error, weight, 0.5)
        # A foot may be above the floor (y too small), never below it.
        robust = _huber(error) * np.where(
            error < -_JUMP, (_JUMP / np.maximum(-error, _JUMP)) ** 2, 1.0
        )
    doubt = float(np.sqrt(np.linalg.inv(normal)[1, 1]))
    return Floor(float(fitted[0]), float(fitted[1]), doubt)


def by_feet(figure: Figure, floor: Floor, feet_seen: Array) -> tuple[Array, Array]:
    """The log distance of the mid-hip if the lower foot stands on the floor, (T,), and its variance."""
    joints = figure.joints()
    points = joints[:, SOLES]
    rows = np.arange(len(points))
    which = floor.above(points).argmin(1)
    low = points[rows, which]
    slant = low[:, 1] / low[:, 2] - floor.slope
    with np.errstate(invalid="ignore", divide="ignore"):
        foot = floor.height / slant
        distance = foot - (low[:, 2] - figure.root[:, 2])
        log = np.log(distance)
        share = np.hypot(_SOLE_NOISE, floor.doubt * (low[:, 2] - np.median(low[:, 2])))
        share = np.hypot(share / floor.height, _FOOT_BEFORE / distance)
        variance = share**2 / np.maximum(feet_seen, 1e-6)
    jump = np.clip(floor.above(low) / _SOLE_NOISE, 0, None)
    variance = variance * np.maximum(1.0, jump / 1.5) ** 4
    good = np.isfinite(log) & (slant > 0.02) & figure.found & (feet_seen > 0.1)
    return np.where(good, log, np.nan), np.where(good, variance, np.inf)


def feet_seen(sight: Sight) -> Array:
    """How well the feet were seen in every frame, (T,) in [0, 1]: the better foot's worse sole point.

    Skeletons without toes and heels have them at rest below the ankles, which is half as good.
    """
    feet = []
    for toe, heel, ankle in (
        (sk.LEFT_BIG_TOE, sk.LEFT_HEEL, sk.LEFT_ANKLE),
        (sk.RIGHT_BIG_TOE, sk.RIGHT_HEEL, sk.RIGHT_ANKLE),
    ):
        sole = np.minimum(sight.weight[:, toe], sight.weight[:, heel])
        feet.append(np.maximum(sole, np.where(sight.placed[:, toe], 0, sight.weight[:, ankle] / 2)))
    return np.asarray(np.maximum(*feet))
