"""How long a person's limbs are, from all pictures of them: what foreshortening and distance hide is put back.

A person's build is how much each group of limbs differs from an average person's, as logarithms, and how
large one metre of theirs appears in each picture. One 2-D bone is only a lower bound of its length, so every
frame's evidence is corrected by how far the bone leans out of the picture, and weighted by how little it does.
Points are the 133 joints and three centres: mid-hip, mid-shoulder, mid-ear.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dance import skeleton as sk
from dance.types import JOINTS, Array, Pose, Size

MID_HIP, MID_SHOULDER, MID_EAR = JOINTS, JOINTS + 1, JOINTS + 2
POINTS = JOINTS + 3

CENTRES: dict[int, tuple[int, int]] = {
    MID_HIP: (sk.LEFT_HIP, sk.RIGHT_HIP),
    MID_SHOULDER: (sk.LEFT_SHOULDER, sk.RIGHT_SHOULDER),
    MID_EAR: (sk.LEFT_EAR, sk.RIGHT_EAR),
}

GROUPS = (
    "trunk", "hips", "shoulders", "upper arms", "forearms", "thighs", "shins", "neck", "head", "feet", "hands",
)  # fmt: skip
GROUP: dict[str, int] = {name: i for i, name in enumerate(GROUPS)}


@dataclass(frozen=True, slots=True)
class Measure:
    """A distance between two points that tells of a group; `metres` is an average adult's."""

    group: int
    first: int
    second: int
    metres: float


# The distances are the means of BlazePose's metric landmarks over some thirty clips and photos, so that
# they mean the same points of the body as the estimator does.
MEASURES: tuple[Measure, ...] = tuple(
    Measure(GROUP[group], first, second, metres)
    for group, first, second, metres in (
        ("trunk", MID_HIP, MID_SHOULDER, 0.461),
        ("hips", sk.LEFT_HIP, sk.RIGHT_HIP, 0.230),
        ("shoulders", sk.LEFT_SHOULDER, sk.RIGHT_SHOULDER, 0.328),
        ("upper arms", sk.LEFT_SHOULDER, sk.LEFT_ELBOW, 0.238),
        ("upper arms", sk.RIGHT_SHOULDER, sk.RIGHT_ELBOW, 0.238),
        ("forearms", sk.LEFT_ELBOW, sk.LEFT_WRIST, 0.236),
        ("forearms", sk.RIGHT_ELBOW, sk.RIGHT_WRIST, 0.236),
        ("thighs", sk.LEFT_HIP, sk.LEFT_KNEE, 0.402),
        ("thighs", sk.RIGHT_HIP, sk.RIGHT_KNEE, 0.402),
        ("shins", sk.LEFT_KNEE, sk.LEFT_ANKLE, 0.375),
        ("shins", sk.RIGHT_KNEE, sk.RIGHT_ANKLE, 0.375),
        ("neck", MID_SHOULDER, MID_EAR, 0.199),
        ("head", sk.LEFT_EAR, sk.RIGHT_EAR, 0.147),
        ("head", MID_EAR, sk.NOSE, 0.123),
        ("head", sk.LEFT_EYE, sk.LEFT_EAR, 0.120),
        ("head", sk.RIGHT_EYE, sk.RIGHT_EAR, 0.120),
        ("feet", sk.LEFT_ANKLE, sk.LEFT_BIG_TOE, 0.164),
        ("feet", sk.RIGHT_ANKLE, sk.RIGHT_BIG_TOE, 0.164),
        ("hands", sk.LEFT_WRIST, sk.INDEX["left_index_1"], 0.092),
        ("hands", sk.RIGHT_WRIST, sk.INDEX["right_index_1"], 0.092),
        ("hands", sk.LEFT_WRIST, sk.INDEX["left_pinky_1"], 0.077),
        ("hands", sk.RIGHT_WRIST, sk.INDEX["right_pinky_1"], 0.077),
    )
)
_GROUP_OF = np.array([m.group for m in MEASURES])
_FIRST = np.array([m.first for m in MEASURES])
_SECOND = np.array([m.second for m in MEASURES])
_METRES = np.array([m.metres for m in MEASURES])
# What large, well seen bones say about the size of a person; heads, feet and hands are too small for it.
_SIZING = np.isin(_GROUP_OF, [GROUP[g] for g in GROUPS[:8]])

# Of people's proportions about the average, as a logarithm.
_SPREAD = np.array([0.15 if name != "head" else 0.08 for name in GROUPS])
# Radians by which an estimated lean out of the picture is off: that of the torso is known better.
_LEAN_ERROR = np.array([0.2 if g in (0, 1, 2, 7) else 0.3 for g in _GROUP_OF])
# The quantile of the evidence taken for each group: limbs are seen bent more often than the lean tells.
_SHARE = np.array([0.5, 0.8, 0.8, 0.6, 0.6, 0.85, 0.85, 0.8, 0.5, 0.6, 0.6])
# Of one measurement, as a logarithm: ears and eyes are near each other, arms lean most.
_NOISE = dict.fromkeys(GROUPS, 0.05) | {
    "upper arms": 0.1, "forearms": 0.15, "shins": 0.07, "head": 0.3, "feet": 0.15, "hands": 0.2,
}  # fmt: skip
_NOISE_OF = np.array([_NOISE[GROUPS[group]] for group in _GROUP_OF])
# What many measurements of one bone still have wrong together; ears and eyes are too near each other.
_FLOOR = np.array([0.03 if name != "head" else 0.12 for name in GROUPS])


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen of one person over T frames, in numbers that do not depend on the picture's size.

    rays: (T, 136, 2) x / z and y / z of the camera through each point.  weight: (T, 136) in [0, 1], 0 where
    unseen or outside the picture.  world: (T, 136, 3) metres, NaN where there is none.
    lean: (T, 136) depth in the units of `rays`, NaN where there is none.  found: (T,) bool.
    placed: (T, 136) bool, the estimator gave the point a place, inside the picture or not.
    """

    rays: Array
    weight: Array
    placed: Array
    world: Array
    lean: Array
    found: Array


def with_centres(values: Array) -> Array:
    """The values (T, 133, ...) of all joints with those of the three centres after them, (T, 136, ...)."""
    middles = [(values[:, a] + values[:, b]) / 2 for a, b in CENTRES.values()]
    return np.concatenate([values, np.stack(middles, 1)], 1)


def middle(size: Size) -> Array:
    """The point (x, y) in the middle of a picture, in pixels."""
    return np.array([(size[1] - 1) / 2, (size[0] - 1) / 2])


def look(poses: Sequence[Pose], size: Size, focal: float, centre: Array | None = None) -> Sight:
    """The poses, in pixels of pictures of that size, as seen by a camera of `focal` times the longer side.

    centre: (x, y) of the pixel the camera looks at; without it the picture's middle.
    """
    height, width = size
    pixels = focal * max(size)
    centre = middle(size) if centre is None else centre
    xy = np.array([p.xy for p in poses], np.float64).reshape(-1, JOINTS, 2)
    score = np.array([p.score for p in poses], np.float64).reshape(-1, JOINTS)
    nothing = np.full(JOINTS, np.nan)
    depth = np.array([nothing if p.depth is None else p.depth for p in poses]).reshape(-1, JOINTS)
    no_world = np.full((JOINTS, 3), np.nan)
    world = np.array([no_world if p.world is None else p.world for p in poses], np.float64)
    world = world.reshape(-1, JOINTS, 3).copy()
    # Joints other networks added (fingers, face points) have no metric place: it is left all zero.
    world[(world == 0).all(-1)] = np.nan
    world[score <= 0] = np.nan
    outside = (xy < -0.02 * max(size)).any(-1) | (
        xy > np.array([width, height]) + 0.02 * max(size)
    ).any(-1)
    seen = with_centres(score)
    for point, (a, b) in CENTRES.items():
        # A middle is only as good as the worse of its two ends.
        seen[:, point] = np.minimum(score[:, a], score[:, b])
    inside = np.asarray(with_centres(np.asarray(1.0 - outside)) == 1)
    rays = with_centres((xy - centre) / pixels)
    return Sight(
        rays, seen * inside, np.asarray(seen > 0), with_centres(world), with_centres(depth / pixels),
        np.asarray((score > 0).any(1)),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Build:
    """A person's proportions.

    logs: (11,) how much longer than an average adult's each of GROUPS is, as a logarithm, all relative to
    the person's size.  trust: (11,) the variance of each, as far as the pictures tell.
    guessed: names of the groups that no picture showed and that are an average person's.
    """

    logs: Array
    trust: Array
    guessed: tuple[str, ...]

    def metres(self, group: str) -> float:
        """The factor on an average adult's measures of that group."""
        return float(np.exp(self.logs[GROUP[group]]))

    @property
    def leg(self) -> float:
        """The length of thigh and shin."""
        return 0.402 * self.metres("thighs") + 0.375 * self.metres("shins")

    @property
    def stature(self) -> float:
        """About the height from the ankles to the ears."""
        return self.leg + 0.461 * self.metres("trunk") + 0.199 * self.metres("neck")


@dataclass(frozen=True, slots=True)
class Evidence:
    """Logarithms of every measure of MEASURES in every frame, (T, 22), and their weights 1 / variance."""

    logs: Array
    weight: Array


def evidence(sight: Sight, log_size: Array | None = None) -> Evidence:
    """What every frame says: log of (measured in rays, put back to full length) over an average adult's metres.

    log_size: (T,) log of the size of one metre in rays, where it is known already: corrects for the
    perspective of limbs that are nearer or farther than the hips.
    """
    across = np.linalg.norm(sight.rays[:, _SECOND] - sight.rays[:, _FIRST], axis=-1)
    bone = sight.world[:, _SECOND] - sight.world[:, _FIRST]
    flat = np.linalg.norm(bone[..., :2], axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        tangent = np.abs(bone[..., 2]) / flat
        lean = np.abs(sight.lean[:, _SECOND] - sight.lean[:, _FIRST]) / across
        logs = np.log(across)
    tangent = np.where(np.isfinite(tangent), tangent, lean)
    known = np.isfinite(tangent)
    tangent = np.where(known, tangent, 0.0)
    # An error in the lean only ever makes a limb look longer; what it adds on average is taken off again.
    leaning = np.maximum(tangent**2 - _LEAN_ERROR**2, 0.0)
    logs = logs + 0.5 * np.log1p(leaning) - np.log(_METRES)
    if log_size is not None:
        middle = (sight.world[:, _SECOND, 2] + sight.world[:, _FIRST, 2]) / 2
        nearness = np.nan_to_num(middle) * np.exp(log_size)[:, None]
        logs = logs + np.log1p(np.clip(nearness, -0.5, 0.5))
    variance = np.where(known, _NOISE_OF**2 + (_LEAN_ERROR * tangent) ** 2, 0.15**2)
    score = np.minimum(sight.weight[:, _FIRST], sight.weight[:, _SECOND])
    good = np.isfinite(logs)
    return Evidence(np.where(good, logs, 0.0), np.where(good, score**2 / variance, 0.0))


def measure(sight: Sight) -> tuple[Build, Array, Array]:
    """The person's build, and the log of one metre's size in rays in each frame, (T,), with its variance.

    A frame that tells nothing has size NaN and infinite variance. The build is one for all frames; groups
    seen little or foreshortened lean on an average person's proportions.
    """
    clues = evidence(sight)
    build = _pooled(clues, _sizes(clues, np.zeros(len(GROUPS)))[0])
    for _ in range(3):
        size, _ = _sizes(clues, build.logs)
        clues = evidence(sight, np.nan_to_num(size, nan=-1.0))
        size, _ = _sizes(clues, build.logs)
        build = _pooled(clues, size)
    size, variance = _sizes(clues, build.logs)
    return build, size, variance


def _sizes(clues: Evidence, logs: Array) -> tuple[Array, Array]:
    """The log size of one metre in every frame, given the build, and its variance."""
    rest = (clues.logs - logs[_GROUP_OF])[:, _SIZING]
    weight = clues.weight[:, _SIZING]
    size = _medians(rest, weight)
    for _ in range(3):
        off = np.abs(rest - size[:, None]) * np.sqrt(weight)
        firm = weight / np.maximum(1.0, off / 1.5)
        with np.errstate(invalid="ignore"):
            size = (firm * rest).sum(1) / firm.sum(1)
    total = weight.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        # Where the limbs disagree more than their variances say, the size is that much worse known.
        scatter = (weight * (rest - size[:, None]) ** 2).sum(1) / np.maximum((weight > 0).sum(1), 1)
        variance = np.where(total > 0, np.maximum(1.0, scatter) / total, np.inf)
    return size, variance


def _medians(values: Array, weights: Array) -> Array:
    """The weighted median of every row; NaN where a row's weights are all zero."""
    order = np.argsort(values, axis=1, kind="stable")
    values, weights = np.take_along_axis(values, order, 1), np.take_along_axis(weights, order, 1)
    total = weights.sum(1)
    places = np.cumsum(weights, 1) - weights / 2
    # The two neighbours of the middle of the weight, and how far between them it lies.
    after = np.clip((places < total[:, None] / 2).sum(1), 1, values.shape[1] - 1)
    rows = np.arange(len(values))
    low, high = places[rows, after - 1], places[rows, after]
    share = np.clip((total / 2 - low) / np.maximum(high - low, 1e-12), 0, 1)
    middle = values[rows, after - 1] * (1 - share) + values[rows, after] * share
    return np.where(total > 0, middle, np.nan)


def _pooled(clues: Evidence, size: Array) -> Build:
    """The build from all frames, given their sizes: a robust middle, drawn to the average where little is known."""
    frames = np.isfinite(size)
    rest = clues.logs[frames] - size[frames, None]
    weight = clues.weight[frames]
    raw = np.zeros(len(GROUPS))
    variance = np.full(len(GROUPS), np.inf)
    for group in range(len(GROUPS)):
        columns = group == _GROUP_OF
        values, weights = rest[:, columns].ravel(), weight[:, columns].ravel()
        if weights.sum() > 1.0:
            raw[group] = quantile(values, weights, _SHARE[group])
            # Neighbouring frames err together: about ten of them count as one.
            repeats = min(10, int((weight[:, columns].sum(1) > 0).sum()))
            variance[group] = _FLOOR[group] ** 2 + repeats / weights.sum()
    precision = np.where(np.arange(len(GROUPS)) < 8, 1 / (variance + _SPREAD**2), 0.0)
    mean = (precision * raw).sum() / precision.sum() if precision.sum() > 0 else 0.0
    guessed = ~np.isfinite(variance)
    shrink = np.where(guessed, 0.0, _SPREAD**2 / (_SPREAD**2 + np.where(guessed, 1.0, variance)))
    names = tuple(name for name, missing in zip(GROUPS, guessed, strict=True) if missing)
    return Build((raw - mean) * shrink, variance, names)


def quantile(values: Array, weights: Array, share: float) -> float:
    """The weighted quantile of the values, between neighbours; NaN where the weights are all zero."""
    use = weights > 0
    if not use.any():
        return float("nan")
    order = np.argsort(values[use], kind="stable")
    sorted_values, sorted_weights = values[use][order], weights[use][order]
    places = (np.cumsum(sorted_weights) - sorted_weights / 2) / sorted_weights.sum()
    return float(np.interp(share, places, sorted_values))
