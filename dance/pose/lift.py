"""A person's joints in 3-D, in front of the camera that filmed them.

Every joint stays on its ray, so nothing the picture shows is lost; how far along it lies comes from the bone's
own full length, with the estimator's metric landmarks deciding the sign and filling what the length cannot tell.
The unit is the person's metre (`lengths`); x right, y down, z away from the camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dance import skeleton as sk
from dance.pose.lengths import (
    GROUP,
    MEASURES,
    MID_EAR,
    MID_HIP,
    MID_SHOULDER,
    POINTS,
    Build,
    Sight,
)
from dance.types import Array


@dataclass(frozen=True, slots=True)
class Bone:
    """From a parent point to a child; `metres` is an average adult's length, 0 where it says nothing.

    rest: the unit direction it has in a person who stands and faces the camera.
    """

    child: int
    parent: int
    group: int
    metres: float
    rest: tuple[float, float, float]


def _bones() -> tuple[Bone, ...]:
    lengths = {(m.first, m.second): m.metres for m in MEASURES}
    down, up, toes = (0.0, 1.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.6, -0.8)

    def bone(parent: int, child: int, group: str, rest: tuple[float, float, float]) -> Bone:
        return Bone(child, parent, GROUP[group], lengths.get((parent, child), 0.0), rest)

    bones = [
        bone(MID_HIP, MID_SHOULDER, "trunk", up),
        bone(MID_SHOULDER, MID_EAR, "neck", up),
    ]
    sides = (
        (1.0, sk.LEFT_HIP, sk.LEFT_SHOULDER, slice(17, 20)),
        (-1.0, sk.RIGHT_HIP, sk.RIGHT_SHOULDER, slice(20, 23)),
    )
    for x, hip, shoulder, foot in sides:
        knee, ankle, elbow, wrist = hip + 2, hip + 4, shoulder + 2, shoulder + 4
        bones += [
            Bone(hip, MID_HIP, GROUP["hips"], 0.115, (x, 0.0, 0.0)),
            Bone(shoulder, MID_SHOULDER, GROUP["shoulders"], 0.164, (x, 0.0, 0.0)),
            bone(shoulder, elbow, "upper arms", down),
            bone(elbow, wrist, "forearms", down),
            bone(hip, knee, "thighs", down),
            bone(knee, ankle, "shins", down),
        ]
        toe, small_toe, heel = range(133)[foot]
        bones += [
            bone(ankle, toe, "feet", toes),
            Bone(small_toe, ankle, GROUP["feet"], 0.15, (0.3 * x, 0.5, -0.8)),
            Bone(heel, ankle, GROUP["feet"], 0.045, (0.0, 0.8, 0.6)),
        ]
    for wrist, hand in (
        (sk.LEFT_WRIST, sk.LEFT_HAND_SLICE),
        (sk.RIGHT_WRIST, sk.RIGHT_HAND_SLICE),
    ):
        bones += [bone(wrist, joint, "hands", down) for joint in range(133)[hand]]
    bones += [
        bone(MID_EAR, joint, "head", (0.0, 0.0, -1.0))
        for joint in (*range(5), *range(sk.FACE_SLICE.start, sk.FACE_SLICE.stop))
    ]
    return tuple(bones)


BONES: tuple[Bone, ...] = _bones()
"""All bones, parents before their children; the root is MID_HIP. Trunk, limbs and feet come first."""

SKELETON: int = next(i for i, bone in enumerate(BONES) if bone.group == GROUP["hands"])
"""How many of BONES are trunk, neck, limbs and feet; the rest are hands and head."""

_TRUNK, _NECK = 0, 1

# Fractions of a bone's length: what it looks too long or short by, joints being a few hundredths of a torso off
# at both its ends, and what the estimated depth may be off by.
_LENGTH_ERROR = 0.1
_DEPTH_ERROR = 0.22
_STEPS = np.linspace(-1.15, 1.15, 47)


@dataclass(frozen=True, slots=True)
class Figure:
    """One person over T frames in 3-D.

    root: (T, 3) the mid-hip in front of the camera.  bones: (T, B, 3) vectors of the first B of BONES, from
    parent to child.
    seen: (T, B) whether the bone's child was seen.  found: (T,) whether anything was.
    """

    root: Array
    bones: Array
    seen: Array
    found: Array

    def joints(self) -> Array:
        """All points, (T, 136, 3)."""
        out = np.zeros((len(self.root), POINTS, 3))
        out[:, MID_HIP] = self.root
        for i, bone in enumerate(BONES[: self.bones.shape[1]]):
            out[:, bone.child] = out[:, bone.parent] + self.bones[:, i]
        return out


def lift(
    sight: Sight, build: Build, depth: Array, scene: Array, *, count: int = len(BONES)
) -> Figure:
    """The person in 3-D, whole in every frame; of BONES only the first `count`.

    depth: (T,) how far the mid-hip is, in the person's metres.  scene: (T,) the number of each frame's scene.
    Bones nobody saw are those of the nearest frames of the scene that did see them (between two sightings
    they turn evenly), else at rest; without the hips the figure hangs on its shoulders or its head.
    """
    joints = np.zeros((len(depth), POINTS, 3))
    for point in (MID_HIP, MID_SHOULDER, MID_EAR):
        joints[:, point] = _on_ray(sight, point, depth)
    placed = sight.placed
    scenes = [scene == number for number in np.unique(scene)]
    spine = []
    for i in (_TRUNK, _NECK):
        bone = BONES[i]
        vector = _vector(sight, build, bone, joints[:, bone.parent], depth)
        both = placed[:, bone.child] & placed[:, bone.parent]
        spine.append(_filled(vector, both, bone, build, scenes))
        upper = joints[:, bone.parent] + vector
        joints[:, bone.child] = np.where(both[:, None], upper, joints[:, bone.child])
    root = _root(joints, spine, placed, scenes)
    joints[:, MID_HIP] = root
    vectors = np.zeros((len(depth), count, 3))
    for i, bone in enumerate(BONES[:count]):
        parent = joints[:, bone.parent]
        if placed[:, bone.child].any():
            vector = _vector(sight, build, bone, parent, depth)
        else:
            vector = np.zeros_like(parent)
        vectors[:, i] = _filled(vector, placed[:, bone.child], bone, build, scenes)
        joints[:, bone.child] = parent + vectors[:, i]
    seen = np.stack([placed[:, bone.child] for bone in BONES[:count]], 1)
    return Figure(root, vectors, seen, sight.found)


def _vector(sight: Sight, build: Build, bone: Bone, parent: Array, depth: Array) -> Array:
    """From the parent's place (T, 3) to the child's on its ray."""
    lean = _lean(sight, build, bone, depth)
    if bone.metres:
        length = bone.metres * np.exp(build.logs[bone.group])
        away = _away(sight.rays[:, bone.child], parent, length, lean)
    else:
        away = np.where(np.isfinite(lean), lean, 0.0)
    return _on_ray(sight, bone.child, parent[:, 2] + away) - parent


def _root(joints: Array, spine: list[Array], placed: Array, scenes: list[Array]) -> Array:
    """The mid-hip in every frame, (T, 3): seen, or below the shoulders or the head, or between its neighbours."""
    root = joints[:, MID_HIP].copy()
    known = placed[:, MID_HIP].copy()
    hung = np.zeros_like(root)
    for point, vector in zip((MID_SHOULDER, MID_EAR), spine, strict=True):
        hung = hung + vector
        use = ~known & placed[:, point]
        root[use] = (joints[:, point] - hung)[use]
        known |= use
    return _between(root, known, scenes)


def _filled(vector: Array, seen: Array, bone: Bone, build: Build, scenes: list[Array]) -> Array:
    """The vectors (T, 3) of a bone, those of unseen frames guessed."""
    if seen.all():
        return vector
    rest = np.array(bone.rest) / np.linalg.norm(bone.rest)
    rest = rest * (bone.metres or 0.05) * np.exp(build.logs[bone.group])
    return _between(np.where(seen[:, None], vector, rest), seen, scenes)


def _between(values: Array, known: Array, scenes: list[Array]) -> Array:
    """The values (T, 3), unknown ones between their nearest known neighbours of the scene, where it has any."""
    values, frames = values.copy(), np.arange(len(known))
    for inside in scenes:
        good, bad = known & inside, ~known & inside
        if good.any() and bad.any():
            for axis in range(3):
                values[bad, axis] = np.interp(frames[bad], frames[good], values[good, axis])
    return values


def _on_ray(sight: Sight, point: int, z: Array) -> Array:
    return np.concatenate([sight.rays[:, point] * z[:, None], z[:, None]], 1)


def _lean(sight: Sight, build: Build, bone: Bone, depth: Array) -> Array:
    """How much farther the child is than the parent as the estimator has it, (T,); NaN where it does not say."""
    vector = sight.world[:, bone.child] - sight.world[:, bone.parent]
    if bone.metres:
        # Only the direction is believed: the metric landmarks have an average person's lengths.
        metric = vector[:, 2] / np.maximum(np.linalg.norm(vector, axis=-1), 1e-9)
        metric = metric * bone.metres * np.exp(build.logs[bone.group])
    else:
        metric = vector[:, 2] * np.exp(build.logs[bone.group])
    flat = (sight.lean[:, bone.child] - sight.lean[:, bone.parent]) * depth
    return np.where(np.isfinite(metric), metric, flat)


def _away(rays: Array, parent: Array, length: float, lean: Array) -> Array:
    """How much farther the child lies on its ray, (T,): the likeliest by the bone's length and its lean."""
    steps = length * _STEPS
    z = parent[:, 2:3] + steps
    x = rays[:, :1] * z - parent[:, :1]
    y = rays[:, 1:] * z - parent[:, 1:2]
    stretch = (np.sqrt(x**2 + y**2 + steps**2) - length) / (_LENGTH_ERROR * length)
    off = (steps - np.nan_to_num(lean)[:, None]) / (_DEPTH_ERROR * length)
    # Without any word on the lean the nearer of the two solutions is as good as the farther: stay flat.
    off = np.where(np.isfinite(lean)[:, None], off, off * 0.3)
    cost = stretch**2 + off**2
    best = np.clip(cost.argmin(1), 1, len(_STEPS) - 2)
    rows = np.arange(len(best))
    before, at, after = cost[rows, best - 1], cost[rows, best], cost[rows, best + 1]
    bend = np.maximum(before - 2 * at + after, 1e-12)
    shift = np.clip(0.5 * (before - after) / bend, -0.5, 0.5)
    return np.asarray(length * (_STEPS[best] + shift * (_STEPS[1] - _STEPS[0])))
