"""The points a puppet hangs on, and what is measured on them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dance.skeleton import (
    INDEX,
    LEFT_ANKLE,
    LEFT_BIG_TOE,
    LEFT_EAR,
    LEFT_ELBOW,
    LEFT_EYE,
    LEFT_HEEL,
    LEFT_HIP,
    LEFT_KNEE,
    LEFT_SHOULDER,
    LEFT_SMALL_TOE,
    LEFT_WRIST,
    NOSE,
    RIGHT_ANKLE,
    RIGHT_BIG_TOE,
    RIGHT_EAR,
    RIGHT_ELBOW,
    RIGHT_EYE,
    RIGHT_HEEL,
    RIGHT_HIP,
    RIGHT_KNEE,
    RIGHT_SHOULDER,
    RIGHT_SMALL_TOE,
    RIGHT_WRIST,
)
from dance.types import Array, Pose

LEFT_HAND, RIGHT_HAND = 23, 24
POINTS = 25

CHEST, PELVIS, HEAD = 0, 1, 2
UPPER, FORE, HAND, THIGH, SHIN, FOOT = range(6)
COLLARS = 15, 16  # what the left and the right arm hang on: moves with the chest, at the shoulder
BONES = 17


def limb(side: int, bone: int) -> int:
    """The number of a limb's bone; side 0 is the person's left, 1 the right."""
    return 3 + 6 * side + bone


# For each limb bone of the left and the right side: the point it starts at and the point it ends at.
ENDS: tuple[tuple[int, int], ...] = (
    (LEFT_SHOULDER, LEFT_ELBOW), (LEFT_ELBOW, LEFT_WRIST), (LEFT_WRIST, LEFT_HAND),
    (LEFT_HIP, LEFT_KNEE), (LEFT_KNEE, LEFT_ANKLE), (LEFT_ANKLE, LEFT_BIG_TOE),
    (RIGHT_SHOULDER, RIGHT_ELBOW), (RIGHT_ELBOW, RIGHT_WRIST), (RIGHT_WRIST, RIGHT_HAND),
    (RIGHT_HIP, RIGHT_KNEE), (RIGHT_KNEE, RIGHT_ANKLE), (RIGHT_ANKLE, RIGHT_BIG_TOE),
)  # fmt: skip

# A standing person, arms a little away from the body, for points nobody saw: x, y in torso lengths
# from the middle of the hips, for the person's left; the right is its mirror image.
_STANDING = {
    NOSE: (0.0, -1.45), LEFT_EYE: (0.06, -1.52), LEFT_EAR: (0.13, -1.48),
    LEFT_SHOULDER: (0.36, -1.0), LEFT_ELBOW: (0.5, -0.45), LEFT_WRIST: (0.58, 0.03), LEFT_HAND: (0.6, 0.2),
    LEFT_HIP: (0.2, 0.0), LEFT_KNEE: (0.22, 0.8), LEFT_ANKLE: (0.24, 1.55),
    LEFT_BIG_TOE: (0.3, 1.72), LEFT_SMALL_TOE: (0.38, 1.7), LEFT_HEEL: (0.24, 1.63),
}  # fmt: skip
_MIRROR = {
    LEFT_EYE: RIGHT_EYE, LEFT_EAR: RIGHT_EAR, LEFT_SHOULDER: RIGHT_SHOULDER, LEFT_ELBOW: RIGHT_ELBOW,
    LEFT_WRIST: RIGHT_WRIST, LEFT_HAND: RIGHT_HAND, LEFT_HIP: RIGHT_HIP, LEFT_KNEE: RIGHT_KNEE,
    LEFT_ANKLE: RIGHT_ANKLE, LEFT_BIG_TOE: RIGHT_BIG_TOE, LEFT_SMALL_TOE: RIGHT_SMALL_TOE,
    LEFT_HEEL: RIGHT_HEEL,
}  # fmt: skip

# Which point stands in for the place of an unseen one, parents first.
_PARENTS: tuple[tuple[int, int], ...] = (
    (LEFT_ELBOW, LEFT_SHOULDER), (LEFT_WRIST, LEFT_ELBOW), (LEFT_HAND, LEFT_WRIST),
    (RIGHT_ELBOW, RIGHT_SHOULDER), (RIGHT_WRIST, RIGHT_ELBOW), (RIGHT_HAND, RIGHT_WRIST),
    (LEFT_KNEE, LEFT_HIP), (LEFT_ANKLE, LEFT_KNEE),
    (LEFT_BIG_TOE, LEFT_ANKLE), (LEFT_SMALL_TOE, LEFT_ANKLE), (LEFT_HEEL, LEFT_ANKLE),
    (RIGHT_KNEE, RIGHT_HIP), (RIGHT_ANKLE, RIGHT_KNEE),
    (RIGHT_BIG_TOE, RIGHT_ANKLE), (RIGHT_SMALL_TOE, RIGHT_ANKLE), (RIGHT_HEEL, RIGHT_ANKLE),
)  # fmt: skip
_TRUNK = (LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP)
_FACE = (NOSE, LEFT_EYE, RIGHT_EYE, LEFT_EAR, RIGHT_EAR)

# Pairs of points whose distance in space hardly changes as a person moves.
_RODS: tuple[tuple[int, int], ...] = (
    (LEFT_SHOULDER, LEFT_HIP), (RIGHT_SHOULDER, RIGHT_HIP), (LEFT_SHOULDER, RIGHT_SHOULDER),
    (LEFT_HIP, LEFT_KNEE), (RIGHT_HIP, RIGHT_KNEE), (LEFT_KNEE, LEFT_ANKLE), (RIGHT_KNEE, RIGHT_ANKLE),
    (LEFT_SHOULDER, LEFT_ELBOW), (RIGHT_SHOULDER, RIGHT_ELBOW),
    (LEFT_ELBOW, LEFT_WRIST), (RIGHT_ELBOW, RIGHT_WRIST),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Figure:
    """The 25 points: COCO-17, six of the feet, the tips of both hands.

    xyz: (25, 3) float64, pixels and depth (smaller is nearer), every point filled in.
    seen: (25,) bool, which points the pose has.  flat: whether depths are unknown (then they are 0).
    world: (25, 3) metres, where the estimator gave them.
    """

    xyz: Array
    seen: Array
    flat: bool
    world: Array | None = None


def standing() -> Array:
    """The points (25, 3) of a person standing upright, in torso lengths, depth 0."""
    points = np.zeros((POINTS, 3))
    for left, (x, y) in _STANDING.items():
        points[left, :2] = x, y
        if left in _MIRROR:
            points[_MIRROR[left], :2] = -x, y
    return points


def read(pose: Pose, like: Array) -> Figure:
    """The figure of a pose that has at least one seen point of body or feet.

    like: (25, 3) points whose proportions fill in what the pose has not seen.
    """
    xyz, seen = np.zeros((POINTS, 3)), np.zeros(POINTS, bool)
    xyz[:23, :2], seen[:23] = pose.xy[:23], pose.score[:23] > 0
    if pose.depth is not None:
        xyz[:23, 2] = pose.depth[:23]
    for tip, side in ((LEFT_HAND, "left"), (RIGHT_HAND, "right")):
        wrist = LEFT_WRIST if side == "left" else RIGHT_WRIST
        knuckles = [INDEX[f"{side}_{finger}_1"] for finger in ("index", "middle", "ring", "pinky")]
        known = [k for k in knuckles if pose.score[k] > 0]
        if len(known) >= 2 and seen[wrist]:
            xyz[tip, :2], seen[tip] = pose.xy[known].mean(0), True
            xyz[tip, 2] = xyz[wrist, 2]
    world = None
    if pose.world is not None:
        world = np.zeros((POINTS, 3))
        world[:23] = pose.world[:23]
    return Figure(_fill(xyz, seen, like), seen, pose.depth is None, world)


def _fill(xyz: Array, seen: Array, like: Array) -> Array:
    """The points with the unseen ones put where `like`, scaled and shifted onto the seen ones, has them."""
    xyz = np.where(seen[:, None], xyz, 0.0)
    known = np.flatnonzero(seen[:23])
    if not len(known):
        return like.copy()
    spread = like[known, :2] - like[known, :2].mean(0)
    own = xyz[known, :2] - xyz[known, :2].mean(0)
    norm = float((spread**2).sum())
    scale = float(np.sqrt((own**2).sum() / norm)) if norm > 0 and len(known) > 1 else 1.0
    guess = (like - [*like[known, :2].mean(0), 0]) * scale + [*xyz[known, :2].mean(0), 0]
    for pair in (_TRUNK[:2], _TRUNK[2:]):
        for a, b in (pair, pair[::-1]):
            if not seen[a]:
                xyz[a] = xyz[b] + scale * (like[a] - like[b]) if seen[b] else guess[a]
    face = [i for i in _FACE if seen[i]]
    middle = (xyz[LEFT_SHOULDER] + xyz[RIGHT_SHOULDER]) / 2
    like_middle = (like[LEFT_SHOULDER] + like[RIGHT_SHOULDER]) / 2
    for i in _FACE:
        if not seen[i]:
            xyz[i] = (
                xyz[face].mean(0) + scale * (like[i] - like[face].mean(0))
                if face
                else middle + scale * (like[i] - like_middle)
            )
    for child, parent in _PARENTS:
        if not seen[child]:
            xyz[child] = xyz[parent] + scale * (like[child] - like[parent])
    return xyz


@dataclass(frozen=True, slots=True)
class Rest:
    """The figure in the source picture and what is measured on it once.

    start: (17, 2) where each bone begins.  angle, length: (17,) of each bone in the picture.
    torso: the length of the trunk in pixels.  rods: the lengths in space of `_RODS`, in pixels.
    shoulders, hips: complex width + i * (depth towards
    the camera) from the right to the left one.
    """

    figure: Figure
    start: Array
    angle: Array
    length: Array
    torso: float
    rods: Array
    shoulders: complex
    hips: complex
    mirrored: bool


def middle(xyz: Array, a: int, b: int) -> Array:
    return np.asarray((xyz[a] + xyz[b]) / 2)


def neck(xyz: Array) -> Array:
    """The point (2,) the head turns about."""
    shoulders = middle(xyz, LEFT_SHOULDER, RIGHT_SHOULDER)[:2]
    ears = middle(xyz, LEFT_EAR, RIGHT_EAR)[:2]
    return np.asarray(shoulders + 0.35 * (ears - shoulders))


def measure(figure: Figure, mirrored: bool = False, breadth: float | None = None) -> Rest:
    """The rest of a figure.

    mirrored: of its mirror image about x = 0, left and right staying as they are.
    breadth: the width of the shoulders in trunk lengths, where other pictures tell it better.
    """
    xyz = figure.xyz * np.array([-1.0 if mirrored else 1.0, 1.0, 1.0])
    start, end = np.zeros((BONES, 2)), np.zeros((BONES, 2))
    shoulders = middle(xyz, LEFT_SHOULDER, RIGHT_SHOULDER)
    hips = middle(xyz, LEFT_HIP, RIGHT_HIP)
    start[CHEST], end[CHEST] = shoulders[:2], hips[:2]
    start[PELVIS], end[PELVIS] = hips[:2], shoulders[:2]
    start[HEAD], end[HEAD] = middle(xyz, LEFT_EAR, RIGHT_EAR)[:2], neck(xyz)
    for i, (a, b) in enumerate(ENDS):
        start[3 + i], end[3 + i] = xyz[a, :2], xyz[b, :2]
    for collar, shoulder in zip(COLLARS, (LEFT_SHOULDER, RIGHT_SHOULDER), strict=True):
        start[collar], end[collar] = xyz[shoulder, :2], hips[:2]
    along = end - start
    length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-3)
    angle = np.arctan2(along[:, 1], along[:, 0])
    rods = _rods(figure)
    torso = float(rods[:2].mean())
    if breadth is not None:
        rods[2] = max(float(rods[2]), breadth * torso)
    across_shoulders, across_hips = trunk_lines(xyz, float(rods[2]))
    return Rest(
        replace(figure, xyz=xyz), start, angle, length, torso, rods,
        across_shoulders, across_hips, mirrored,
    )  # fmt: skip


def trunk_lines(xyz: Array, width: float) -> tuple[complex, complex]:
    """The lines of the shoulders and of the hips (see `across`), for shoulders of that width in space."""
    lines = []
    for left, right, share in ((LEFT_SHOULDER, RIGHT_SHOULDER, 1.0), (LEFT_HIP, RIGHT_HIP, 0.62)):
        line = across(xyz, left, right)
        # Depths overshoot; what is seen across leaves only so much for them.
        room = float(np.sqrt(max(0.0, (share * width) ** 2 - line.real**2))) + 0.15 * share * width
        lines.append(complex(line.real, float(np.clip(line.imag, -room, room))))
    return lines[0], lines[1]


def across(xyz: Array, left: int, right: int) -> complex:
    """From the right to the left point: the part across the trunk + i * how much nearer the left one is."""
    down = middle(xyz, LEFT_HIP, RIGHT_HIP)[:2] - middle(xyz, LEFT_SHOULDER, RIGHT_SHOULDER)[:2]
    aside = np.array([down[1], -down[0]]) / max(float(np.hypot(*down)), 1e-6)
    between = xyz[left] - xyz[right]
    return complex(float(aside @ between[:2]), -float(between[2]))


def looking(xyz: Array) -> tuple[complex, float]:
    """Where the head looks: (ear to ear + i * how far the nose is aside) and how far the nose is below the ears."""
    ears = middle(xyz, LEFT_EAR, RIGHT_EAR)[:2]
    aside = head_aside(xyz)
    below = np.array([-aside[1], aside[0]])
    nose = xyz[NOSE, :2] - ears
    width = float(aside @ (xyz[LEFT_EAR, :2] - xyz[RIGHT_EAR, :2]))
    return complex(width, float(aside @ nose)), float(below @ nose)


def head_aside(xyz: Array) -> Array:
    """The direction (2,) across an upright face as seen, from the neck's direction and the line of the eyes."""
    up = middle(xyz, LEFT_EAR, RIGHT_EAR)[:2] - middle(xyz, LEFT_SHOULDER, RIGHT_SHOULDER)[:2]
    aside = np.array([-up[1], up[0]]) / max(float(np.hypot(*up)), 1e-6)
    line = xyz[LEFT_EAR, :2] - xyz[RIGHT_EAR, :2] + xyz[LEFT_EYE, :2] - xyz[RIGHT_EYE, :2]
    # A turned face has a short line that points anywhere: the neck then says what is upright.
    line = line * (1.0 if float(line @ aside) >= 0 else -1.0)
    mixed = line + aside * 0.12 * max(float(np.hypot(*up)), 1e-6)
    return np.asarray(mixed / max(float(np.hypot(*mixed)), 1e-6))


def _rods(figure: Figure) -> Array:
    """The lengths in space of the source's rods.

    One picture's own depths are rough (and grow towards hands and feet), its metres are better: they
    are brought to pixels by the rods that lie across the view.
    """
    picture = np.array([np.hypot(*(figure.xyz[a] - figure.xyz[b])[:2]) for a, b in _RODS])
    if figure.world is None:
        return picture
    solid = np.array([np.linalg.norm(figure.world[a] - figure.world[b]) for a, b in _RODS])
    across_view = np.array([np.hypot(*(figure.world[a] - figure.world[b])[:2]) for a, b in _RODS])
    sure = across_view > 0.12
    if not sure.any():
        return picture
    rate = _weighted_median(picture[sure] / across_view[sure], across_view[sure], 0.5)
    return np.asarray(np.maximum(solid * rate, 0.9 * picture))


def _weighted_median(values: Array, weights: Array, share: float) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, share * total[-1])])


def growth(rest: Rest, figure: Figure) -> float:
    """How much larger the figure is drawn than the rest, told by the rods' lengths in space."""
    was = rest.rods
    now = np.array([np.linalg.norm(figure.xyz[a] - figure.xyz[b]) for a, b in _RODS])
    both = rest.figure.seen & figure.seen
    known = np.array([both[a] and both[b] for a, b in _RODS]) & (was > 0.05 * rest.torso)
    if not known.any():
        return 1.0
    # Without depths a rod's length in the picture is a lower bound, so the longer ones tell the truth.
    return _weighted_median(now[known] / was[known], was[known], 0.75 if figure.flat else 0.5)
