"""How people's joints are likely to be turned, and what shapes people have: plain ranges, written by hand.

Angles in radians, rotation vectors in a bone's own axes at rest (`body`): x right, y down, z away for somebody who
looks into the camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from dance.surface._chain import COUNT, FREEDOMS, HINGES, Frames, logs
from dance.surface._normal import Normal
from dance.surface.body import BONES, PHENOTYPES, SCALE_LIMIT, SHAPE
from dance.types import Array

# Usual turn and its spread about a bone's axes: x, y, z for trunk, head, legs; along the arm, about the elbow's
# hinge, and about the third for arms and hands. Trunk and head share theirs among their bones.
_USUAL: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "spine": ((0.0, 0.0, 0.0), (0.2, 0.3, 0.25)),
    "head": ((0.0, 0.0, 0.0), (0.3, 0.6, 0.35)),
    "clavicle": ((0.0, 0.0, 0.0), (0.1, 0.12, 0.15)),
    "upper_arm": ((0.0, 0.0, 0.6), (0.7, 1.0, 1.0)),
    "hand": ((0.0, 0.0, 0.0), (0.6, 0.3, 0.3)),
    "thigh": ((-0.1, 0.0, 0.0), (0.7, 0.35, 0.4)),
    "foot": ((0.0, 0.0, 0.0), (0.35, 0.25, 0.2)),
}
# Usual bend, its spread, and the range of hinges.
_BENDS = {"forearm": (0.4, 0.8, 0.0, 2.6), "shin": (0.15, 0.7, 0.0, 2.6)}
_BEYOND = 0.06  # how far hinges may be bent beyond their range
_UPRIGHT = 0.7  # how far people usually lean, sideways and forwards
# Estimators see people who stand straight with knees bent by 17 degrees and the chest forwards by 10. How far knees
# and chest usually are off, and how many times that they are bent on purpose.
_STRAIGHT, _UPSTANDING, _MEANT = 0.2, 0.15, 2.0
# A dancer is not usual: of several strengths this one left the least errors in clips with known joints.
_STRENGTH = 0.3

_SPREADS = {
    "gender": 0.35, "age": 0.13, "muscle": 0.2, "weight": 0.2, "height": 0.2, "proportions": 0.25,
    "legs": 0.07, "arms": 0.07, "torso": 0.07, "shoulders": 0.12, "head": 0.08, "hips": 0.12,
    "trunk": 0.12, "arm_girth": 0.15, "leg_girth": 0.12,
}  # fmt: skip
# Clothes are as much part of an outline as the body: seen from outside, people vary more.
_OUTER = {
    "weight": 0.35,
    "muscle": 0.3,
    "hips": 0.25,
    "trunk": 0.25,
    "arm_girth": 0.3,
    "leg_girth": 0.25,
}


def spread(*, outlined: bool) -> Array:
    """How far shape parameters usually are from `body.AVERAGE`, (S,), of bodies or of what is worn over them."""
    return np.array([(_OUTER if outlined else {}).get(name, _SPREADS[name]) for name in SHAPE])


@dataclass(frozen=True, slots=True)
class Usual:
    """One freedom's usual rotation vector (3,) and the inverse square root (3, 3) of its spread."""

    mean: Array
    root: Array


def _usual() -> dict[str, Usual]:
    out = {}
    for freedom in FREEDOMS:
        side, _, bone = freedom.name.partition("_")
        kind = bone or side
        if kind not in _USUAL:
            continue
        mean, spread = (np.array(v) / len(freedom.bones) for v in _USUAL[kind])
        axes = np.eye(3)
        if kind in ("upper_arm", "hand"):
            x = 1.0 if side == "left" else -1.0
            arm = np.array([x, 1.0, 0.0]) / np.sqrt(2)
            hinge = np.array(HINGES[f"{side}_forearm"])
            axes = np.stack([arm, hinge, np.cross(arm, hinge)])
        if side == "right":
            mean = mean * [1, -1, -1]
        out[freedom.name] = Usual(mean, axes / spread[:, None])
    return out


_PRIORS = _usual()


def add_pose(normal: Normal, frames: Frames, *, photo: bool = False) -> None:
    """Pulls all joints towards where people usually have them, hard where a hinge is bent the wrong way.

    photo: whether a single picture is all there is: who has it taken stands straight, if they nearly do.
    """
    turns = {f.name: logs(frames.own[:, f.bones[0]]) for f in FREEDOMS}
    for freedom in FREEDOMS:
        vector = turns[freedom.name]
        if freedom.name in _PRIORS:
            usual = _PRIORS[freedom.name]
            residual = (vector - usual.mean) @ usual.root.T
            slope = usual.root @ _log_slope(vector) / len(freedom.bones)
            jacobian = np.zeros((len(vector), 3, COUNT))
            jacobian[:, :, freedom.columns] = slope
            normal.add(jacobian * _STRENGTH**0.5, residual * _STRENGTH**0.5)
        elif freedom.name in HINGES:
            mean, spread, least, most = _BENDS[freedom.name.partition("_")[2]]
            bend = vector @ freedom.axes[0]
            over = np.where(bend < least, bend - least, np.where(bend > most, bend - most, 0.0))
            for residual, strength in (
                (bend - mean, np.full(len(bend), _STRENGTH / spread**2)),
                (over, (over != 0) / _BEYOND**2),
                *(_straight(bend, freedom.name) if photo else ()),
            ):
                normal.add_diagonal(freedom.columns, strength[:, None], residual[:, None])
    _add_upright(normal, frames)
    if photo:
        _add_upstanding(normal, frames)


def _straight(bend: Array, name: str) -> list[tuple[Array, Array]]:
    """Residuals and weights (T,) of knees that are nearly straight; elbows hang bent."""
    if not name.endswith("shin"):
        return []
    trust = 1 / (1 + (bend / _STRAIGHT / _MEANT) ** 2)
    return [(bend, trust**2 / _STRAIGHT**2)]


def _add_upstanding(normal: Normal, frames: Frames) -> None:
    """Chests that lean forwards or backwards a little do not lean."""
    trunk = [f for f in FREEDOMS if f.name in ("pelvis", "spine")]
    chain = [b for freedom in trunk for b in freedom.bones]
    rotations = [frames.own[:, chain[0]]]
    for b in chain[1:]:
        rotations.append(rotations[-1] @ frames.own[:, b])
    down = rotations[-1][:, :, 1]
    residual = down[:, 2] / _UPSTANDING
    root = 1 / (1 + (residual / _MEANT) ** 2)
    jacobian = np.zeros((len(down), 1, COUNT))
    for freedom in trunk:
        for b in freedom.bones:
            # A turn v about a bone's axes moves what it carries by R (v x R^T d).
            turned = rotations[chain.index(b)]
            moved = np.cross(turned.transpose(0, 2, 1), down[:, None])
            jacobian[:, 0, freedom.columns] += moved[:, :, 2] / len(freedom.bones)
    jacobian *= (root / _UPSTANDING)[:, None, None]
    normal.add(jacobian, (residual * root)[:, None])


def _add_upright(normal: Normal, frames: Frames) -> None:
    """The pelvis' own vertical, seen from the camera, is where the camera's is."""
    down = frames.own[:, 0, :, 1]
    residual = down[:, [0, 2]] / _UPRIGHT
    # A turn v about the bone's axes moves R y to R (v x y).
    slope = np.stack(
        [
            np.cross(axis, [0.0, 1.0, 0.0]) @ frames.own[:, 0].transpose(0, 2, 1)
            for axis in np.eye(3)
        ],
        2,
    )
    jacobian = np.zeros((len(down), 2, COUNT))
    jacobian[:, :, 3:6] = slope[:, [0, 2]] / _UPRIGHT
    normal.add(jacobian * _STRENGTH**0.5, residual * _STRENGTH**0.5)


def _log_slope(vector: Array) -> Array:
    """How the rotation vector (T, 3) changes with a small turn about the turned axes, (T, 3, 3)."""
    angle = np.linalg.norm(vector, axis=1)
    half = np.maximum(angle, 1e-6) / 2
    # Near a full turn the slope has no bounds; nobody's joint is there.
    factor = (1 - half / np.tan(np.minimum(half, 1.5))) / np.maximum(angle, 1e-6) ** 2
    x, y, z = vector.T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).reshape(-1, 3, 3)
    return np.asarray(np.eye(3) + cross / 2 + factor[:, None, None] * (cross @ cross))


def usual_frames(count: int) -> Frames:
    """Everybody as people usually stand, looking into the camera, at its origin."""
    own = np.tile(np.eye(3), (count, len(BONES), 1, 1))
    for freedom in FREEDOMS:
        if freedom.name in _PRIORS:
            turn = Rotation.from_rotvec(_PRIORS[freedom.name].mean).as_matrix()
            for b in freedom.bones:
                own[:, b] = turn
        elif freedom.name in HINGES:
            bend = _BENDS[freedom.name.partition("_")[2]][0]
            own[:, freedom.bones[0]] = Rotation.from_rotvec(bend * freedom.axes[0]).as_matrix()
    return Frames(own, np.zeros((count, 3)))


def within(shape: Array) -> Array:
    """The shape with its phenotypes kept in [0, 1] and its scales in their range."""
    out = shape.copy()
    out[: len(PHENOTYPES)] = out[: len(PHENOTYPES)].clip(0, 1)
    out[len(PHENOTYPES) :] = out[len(PHENOTYPES) :].clip(-SCALE_LIMIT, SCALE_LIMIT)
    return out
