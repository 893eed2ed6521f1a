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
        (1.0, sk.LEFT_HIP, sk.LEFT_SHOULDER, slice(17, 20), sk.LEFT_HAND_SLICE),
        (-1.0, sk.RIGHT_HIP, sk.RIGHT_SHOULDER, slice(20, 23), sk.RIGHT_HAND_SLICE),
    )
    for x, hip, shoulder, foot, hand in sides:
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
        bones += [bone(wrist, joint, "hands", down) for joint in range(133)[hand]]
    bones += [
        bone(MID_EAR, joint, "head", (0.0, 0.0, -1.0))
        for joint in (*range(5), *range(sk.FACE_SLICE.start, sk.FACE_SLICE.stop))
    ]
    return tuple(bones)


BONES: tuple[Bone, ...] = _bones()
"""All bones, parents before their children; the root is MID_HIP."""

# Fractions of a bone's length: what its own length may be off by, and what the estimated depth may.
_LENGTH_ERROR = 0.07
_DEPTH_ERROR = 0.22
_STEPS = np.linspace(-1.15, 1.15, 47)


@dataclass(frozen=True, slots=True)
class Figure:
    """One person over T frames in 3-D.

    root: (T, 3) the mid-hip in front of the camera.  bones: (T, len(BONES), 3) vectors from parent to child.
    seen: (T, len(BONES)) whether both ends of the bone were seen.  found: (T,) whether anything was.
    """

    root: Array
    bones: Array
    seen: Array
    found: Array

    def joints(self) -> Array:
        """All points, (T, 136, 3)."""
        out = np.zeros((len(self.root), POINTS, 3))
        out[:, MID_HIP] = self.root
        for i, bone in enumerate(BONES):
            out[:, bone.child] = out[:, bone.parent] + self.bones[:, i]
        return out


def lift(sight: Sight, build: Build, depth: Array, scene: Array) -> Figure:
    """The person in 3-D, whole in every frame.

    depth: (T,) how far the mid-hip is, in the person's metres.  scene: (T,) the number of each frame's scene.
    Bones nobody saw are those of the nearest frames of the scene that did see them (between two sightings
    they turn evenly), else at rest; without the hips the figure hangs on its shoulders or its head.
    """
    joints = np.zeros((len(depth), POINTS, 3))
    for point in (MID_HIP, MID_SHOULDER, MID_EAR):
        joints[:, point] = _on_ray(sight, point, depth)
    vectors = np.zeros((len(depth), len(BONES), 3))
    seen = np.zeros((len(depth), len(BONES)), bool)
    for i, bone in enumerate(BONES):
        parent = joints[:, bone.parent]
        lean = _lean(sight, build, bone, depth)
        length = bone.metres * np.exp(build.logs[bone.group])
        if bone.metres:
            away = _away(sight.rays[:, bone.child], parent, length, lean)
        else:
            away = np.nan_to_num(lean)
        seen[:, i] = sight.placed[:, bone.child] & sight.placed[:, bone.parent]
        child = _on_ray(sight, bone.child, parent[:, 2] + away)
        # A centre whose parent is unseen keeps its own place at the person's depth.
        keep = ~seen[:, i] if bone.child > MID_HIP else np.zeros(len(depth), bool)
        joints[:, bone.child] = np.where(keep[:, None], joints[:, bone.child], child)
        vectors[:, i] = child - parent
    vectors = _filled(vectors, seen, build, scene)
    return Figure(_root(joints, vectors, sight.placed, scene), vectors, seen, sight.found)


_TRUNK, _NECK = 0, 1


def _root(joints: Array, vectors: Array, placed: Array, scene: Array) -> Array:
    """The mid-hip in every frame, (T, 3): seen, or below the shoulders or the head, or between its neighbours."""
    root = joints[:, MID_HIP].copy()
    known = placed[:, MID_HIP].copy()
    hung = vectors[:, _TRUNK]
    for point, extra in ((MID_SHOULDER, np.zeros(3)), (MID_EAR, vectors[:, _NECK])):
        use = ~known & placed[:, point]
        root[use] = (joints[:, point] - hung - extra)[use]
        known |= use
    frames = np.arange(len(root))
    for number in np.unique(scene):
        good, bad = known & (scene == number), ~known & (scene == number)
        if good.any():
            for axis in range(3):
                root[bad, axis] = np.interp(frames[bad], frames[good], root[good, axis])
    return root


def _filled(vectors: Array, seen: Array, build: Build, scene: Array) -> Array:
    """The vectors with those of unseen bones guessed."""
    vectors, frames = vectors.copy(), np.arange(len(scene))
    for i, bone in enumerate(BONES):
        if seen[:, i].all():
            continue
        rest = np.array(bone.rest) / np.linalg.norm(bone.rest)
        rest *= (bone.metres or 0.05) * np.exp(build.logs[bone.group])
        for number in np.unique(scene):
            good, bad = seen[:, i] & (scene == number), ~seen[:, i] & (scene == number)
            if not good.any():
                vectors[bad, i] = rest
                continue
            for axis in range(3):
                vectors[bad, i, axis] = np.interp(frames[bad], frames[good], vectors[good, i, axis])
    return vectors


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
