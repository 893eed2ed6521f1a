"""A first guess of how bones are turned: straight from the directions the estimator's metric landmarks have."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from dance import skeleton as sk
from dance.surface._chain import FREEDOMS, HINGES, Build, Frames, logs, pose
from dance.surface._prior import usual_frames
from dance.surface.body import BONES, PARENTS
from dance.types import Array

_CHAINS = (
    ("left_upper_arm", "left_forearm", sk.LEFT_SHOULDER),
    ("right_upper_arm", "right_forearm", sk.RIGHT_SHOULDER),
    ("left_thigh", "left_shin", sk.LEFT_HIP),
    ("right_thigh", "right_shin", sk.RIGHT_HIP),
)
_TRUNK = [sk.LEFT_SHOULDER, sk.RIGHT_SHOULDER, sk.LEFT_HIP, sk.RIGHT_HIP]

# Pictures so many seconds before and after must agree which way somebody faces, within so many radians.
_WINDOW, _TURN = 0.21, 1.5


def start(world: Array | None, xy: Array, score: Array) -> Frames:
    """How T pictures' bones are turned, their roots at the origin.

    world: (T, 133, 3) metres, or None; then everybody stands as usual, turned away where left and right are
    changed about.  xy (T, 133, 2), score (T, 133): as in `Pose`.
    """
    frames = usual_frames(len(xy))
    if world is None:
        return _facing(frames, xy, score)
    own = frames.own
    points = _completed(world.astype(np.float64), score > 0)
    hips = points[:, sk.LEFT_HIP] - points[:, sk.RIGHT_HIP]
    shoulders = points[:, sk.LEFT_SHOULDER] - points[:, sk.RIGHT_SHOULDER]
    middle = (points[:, sk.LEFT_SHOULDER] + points[:, sk.RIGHT_SHOULDER]) / 2
    down = (points[:, sk.LEFT_HIP] + points[:, sk.RIGHT_HIP]) / 2 - middle
    ears = points[:, sk.LEFT_EAR] - points[:, sk.RIGHT_EAR]
    nose = points[:, sk.NOSE] - (points[:, sk.LEFT_EAR] + points[:, sk.RIGHT_EAR]) / 2
    pelvis, chest = _upright(hips, down), _upright(shoulders, down)
    own[:, 0] = pelvis
    face = _towards(ears, nose)
    _share(own, "spine", pelvis.transpose(0, 2, 1) @ chest)
    _share(own, "head", chest.transpose(0, 2, 1) @ face)
    rotation = _world(own)
    for upper, lower, first in _CHAINS:
        limb = [points[:, first + 2 * k] for k in range(3)]
        _turn_limb(own, rotation, upper, lower, limb[1] - limb[0], limb[2] - limb[1])
    return frames


# Where a joint hangs that was not seen, metres from another, of a person who stands and faces the camera; in this
# order, so that arms and legs hang on what was hung before.
_HANGING: tuple[tuple[int, int, tuple[float, float, float]], ...] = (
    (sk.LEFT_SHOULDER, sk.RIGHT_SHOULDER, (0.33, 0.0, 0.0)),
    (sk.RIGHT_SHOULDER, sk.LEFT_SHOULDER, (-0.33, 0.0, 0.0)),
    (sk.LEFT_HIP, sk.RIGHT_HIP, (0.22, 0.0, 0.0)),
    (sk.RIGHT_HIP, sk.LEFT_HIP, (-0.22, 0.0, 0.0)),
    (sk.LEFT_HIP, sk.LEFT_SHOULDER, (-0.06, 0.46, 0.0)),
    (sk.RIGHT_HIP, sk.RIGHT_SHOULDER, (0.06, 0.46, 0.0)),
    (sk.LEFT_SHOULDER, sk.LEFT_HIP, (0.06, -0.46, 0.0)),
    (sk.RIGHT_SHOULDER, sk.RIGHT_HIP, (-0.06, -0.46, 0.0)),
    *(
        (joint, anchor, (sign * x, y, 0.0))
        for sign, first in ((1.0, sk.LEFT_SHOULDER), (-1.0, sk.RIGHT_SHOULDER))
        for joint, anchor, x, y in (
            (first + 2, first, 0.06, 0.24), (first + 4, first + 2, 0.03, 0.24),
            (first + 8, first + 6, 0.0, 0.4), (first + 10, first + 8, 0.0, 0.38),
            (first - 2, first, -0.09, -0.2),
        )
    ),
    (sk.NOSE, sk.LEFT_EAR, (-0.07, 0.0, -0.12)),
)  # fmt: skip


def _completed(points: Array, seen: Array) -> Array:
    """The points (T, 133, 3) with joints that were not seen, (T, 133) bool, hung on those that were."""
    out = np.where(seen[..., None], points, np.nan)
    # Of whom nothing of this is seen, the shoulders are as good a beginning as any.
    nobody = np.isnan(out[:, _TRUNK]).all((1, 2))
    out[nobody, sk.LEFT_SHOULDER] = (0.165, -0.46, 0.0)
    for joint, anchor, offset in _HANGING:
        missing = np.isnan(out[:, joint]).any(1)
        out[missing, joint] = out[missing, anchor] + offset
    return np.nan_to_num(out)


def agreed(frames: Frames, seconds: Array) -> tuple[Frames, Array]:
    """Pictures in which the person is turned about for a moment start as their neighbours do; and which, (T,) bool.

    seconds: (T,) when pictures were taken, scenes far apart. Mixed up left and right look like a half turn, which
    nobody makes and unmakes within a few tenths of a second.
    """
    own, root = frames.own.copy(), frames.root.copy()
    odd = np.zeros(len(seconds), bool)
    for t in range(len(seconds)):
        near = np.flatnonzero(np.abs(seconds - seconds[t]) <= _WINDOW)
        apart = _angles(frames.own[near, 0], frames.own[t, 0])
        if (apart < _TURN).mean() > 1 / 3:
            continue
        # Whom most of the neighbours agree with, the nearest in time.
        votes = [(_angles(frames.own[near, 0], frames.own[n, 0]) < _TURN).sum() for n in near]
        best = near[np.array(votes) >= max(votes) - 1]
        chosen = best[np.abs(best - t).argmin()]
        odd[t], own[t], root[t] = True, frames.own[chosen], frames.root[chosen]
    return Frames(own, root), odd


def _angles(rotations: Array, other: Array) -> Array:
    """How far each of (N, 3, 3) is from one rotation, (N,) radians."""
    trace = np.einsum("nij,ij->n", rotations, other)
    return np.asarray(np.arccos(((trace - 1) / 2).clip(-1, 1)))


def _facing(frames: Frames, xy: Array, score: Array) -> Frames:
    own = frames.own
    across = xy[:, sk.LEFT_SHOULDER, 0] - xy[:, sk.RIGHT_SHOULDER, 0]
    both = np.minimum(score[:, sk.LEFT_SHOULDER], score[:, sk.RIGHT_SHOULDER]) > 0
    face = score[:, sk.NOSE] > 0.5
    own[both & (across < 0) & ~face, 0] = np.diag([-1.0, 1.0, -1.0])
    return Frames(own, frames.root)


def _upright(across: Array, down: Array) -> Array:
    """Axes (T, 3, 3), in columns: x along `across` (T, 3), y as near to `down` as that allows."""
    x = _unit(across)
    y = _unit(down - (down * x).sum(1, keepdims=True) * x)
    return np.stack([x, y, np.cross(x, y)], 2)


def _towards(across: Array, forward: Array) -> Array:
    """Axes (T, 3, 3), in columns: x along `across`, z as near to the opposite of `forward` as that allows."""
    x = _unit(across)
    z = _unit(-forward + (forward * x).sum(1, keepdims=True) * x)
    return np.stack([x, np.cross(z, x), z], 2)


def _unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6))


def _share(own: Array, name: str, turn: Array) -> None:
    """Shares a turn (T, 3, 3) among the bones of a freedom."""
    freedom = next(f for f in FREEDOMS if f.name == name)
    part = Rotation.from_rotvec(logs(turn) / len(freedom.bones)).as_matrix()
    for b in freedom.bones:
        own[:, b] = part


def _world(own: Array) -> Array:
    rotation = own.copy()
    for b, parent in list(enumerate(PARENTS))[1:]:
        rotation[:, b] = rotation[:, parent] @ own[:, b]
    return rotation


def _turn_limb(
    own: Array, rotation: Array, upper: str, lower: str, first: Array, second: Array
) -> None:
    """Turns a limb's upper bone along `first` with its hinge across both, and bends the hinge to `second`."""
    u, v = BONES.index(upper), BONES.index(lower)
    hinge = np.array(HINGES[lower])
    along = np.array([0.0, 1.0, 0.0])
    if upper.endswith("arm"):
        along = np.array([1.0 if upper.startswith("left") else -1.0, 1.0, 0.0]) / np.sqrt(2)
    rest = np.stack([along, hinge, np.cross(along, hinge)], 1)
    a, b = _unit(first), _unit(second)
    # A straight limb does not tell how it is turned about itself: then its hinge stays as it hangs.
    parent = rotation[:, PARENTS[u]]
    hanging = (parent @ own[:, u]) @ hinge
    across = np.cross(a, b) + 0.25 * hanging
    across = across - (across * a).sum(1, keepdims=True) * a
    h = _unit(across)
    turned = np.stack([a, h, np.cross(a, h)], 2) @ rest.T
    own[:, u] = parent.transpose(0, 2, 1) @ turned
    bend = np.arctan2((np.cross(h, a) * b).sum(1), (a * b).sum(1)).clip(0, 2.5)
    own[:, v] = Rotation.from_rotvec(bend[:, None] * hinge).as_matrix()


def place(frames: Frames, made: Build, rays: Array, weight: Array, usual: float) -> Frames:
    """Puts the roots where the joints come nearest to their rays; the turns stay.

    rays: (T, J, 2) x / z and y / z.  weight: (T, J).  usual: how far away somebody is of whom too little is seen.
    """
    joints = pose(frames, made).joints
    zero = np.zeros(rays.shape[:2])
    rows = np.stack(
        [
            np.stack([zero + 1, zero, -rays[..., 0]], -1),
            np.stack([zero, zero + 1, -rays[..., 1]], -1),
        ],
        2,
    )
    aims = rays * joints[..., 2:] - joints[..., :2]
    strength = weight[..., None, None]
    left = np.einsum("tjri,tjrk->tik", rows * strength, rows)
    right = np.einsum("tjri,tjr->ti", rows * strength, aims)
    # A hint of the usual distance keeps it positive where one joint is all that is seen.
    left[:, 2, 2] += 1e-4
    right[:, 2] += 1e-4 * usual
    left += 1e-9 * np.eye(3)
    root = np.linalg.solve(left, right[..., None])[..., 0]
    bad = root[:, 2] < 0.2 * usual
    root[bad, 2] = usual
    return Frames(frames.own, root)
