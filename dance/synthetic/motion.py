"""How people move: clips of motion capture and invented dances, on any body, with its feet on the floor.

T frames, B bones (`surface.body.BONES`). World axes as in `scene`: x right, y down, z away, the floor at y = 0;
somebody without turns looks at the camera's side.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d, minimum_filter1d
from scipy.spatial.transform import Rotation

from dance.surface import body as bodies
from dance.surface.body import BONES, PARENTS, Body
from dance.synthetic.assets import Bvh
from dance.synthetic.wear import Figure, posed, soles
from dance.types import Array, InputError

RATE = 25.0
"""Frames a second of all motion here."""

_AIR = 0.04  # metres above the floor that are a jump and no slip of the capture
_STANCE = 0.02  # metres: a foot so much higher than the other has let go of the floor
_REST_ARM = np.array([0.5**0.5, 0.5**0.5, 0.0])

# Our bones' names in the two conversions of CMU's clips to BVH; "S" stands for the side.
_CMU: dict[str, tuple[str, str]] = {
    "pelvis": ("Hips", "Hips"), "spine": ("lowerback", "LowerBack"), "chest": ("Chest", "Spine"),
    "upper_chest": ("Chest2", "Spine1"), "neck": ("Neck", "Neck1"), "head": ("Head", "Head"),
    "clavicle": ("SCollar", "SShoulder"), "upper_arm": ("SShoulder", "SArm"),
    "forearm": ("SElbow", "SForeArm"), "hand": ("SWrist", "SHand"), "fingers": ("SWrist", "SHand"),
    "thigh": ("SHip", "SUpLeg"), "shin": ("SKnee", "SLeg"), "foot": ("SAnkle", "SFoot"),
    "toes": ("SToe", "SToeBase"),
}  # fmt: skip
# Limbs, whose direction at rest is not the same there: the bone they point to.
_LIMBS = {"upper_arm": "forearm", "forearm": "hand", "thigh": "shin", "shin": "foot"}
_AS = {"hand": "forearm", "fingers": "forearm"}  # what is turned at rest as another is


@dataclass(frozen=True, slots=True)
class Motion:
    """A motion without a body.

    turns: (T, B, 3, 3), each bone's rotation from the world's axes.
    way: (T, 3) where the pelvis goes, in lengths of a leg; None where the feet decide, which stay where they stand.
    """

    turns: Array
    way: Array | None = None

    def __len__(self) -> int:
        return len(self.turns)


def from_clip(bvh: Bvh, name: str, first: float, frames: int) -> Motion:
    """So many frames of a clip from `first` on, a share of what of it can be chosen."""
    there = len(bvh.turns) / bvh.rate
    spare = there - (frames - 1) / RATE - 1 / bvh.rate
    if spare < 0:
        raise InputError(f"{name}: lasts {there:.1f} s, {frames / RATE:.1f} s are needed")
    number = np.rint((first * spare + np.arange(frames) / RATE) * bvh.rate).astype(int)
    rows = _rows(bvh, name)
    turns = bvh.turns[number][:, rows] @ _from_rest(bvh, rows)
    leg = sum(
        np.linalg.norm(bvh.rest[rows[BONES.index(a)]] - bvh.rest[rows[BONES.index(b)]])
        for a, b in (("left_thigh", "left_shin"), ("left_shin", "left_foot"))
    )
    return Motion(turns, bvh.root[number] / leg)


def turned(motion: Motion, angle: float) -> Motion:
    """The motion turned about the upright axis, in radians; positive is towards the picture's left."""
    about = Rotation.from_rotvec([0.0, angle, 0.0]).as_matrix()
    way = None if motion.way is None else motion.way @ about.T
    return replace(motion, turns=about @ motion.turns, way=way)


def place(body: Body, figure: Figure, motion: Motion) -> Array:
    """Where the pelvis is (T, 3) in world metres, the lowest sole on the floor but for jumps; the first frame at the origin."""
    own = transforms(body, figure, motion.turns, np.zeros((len(motion), 3)))
    rows = soles(figure)
    feet = replace(figure, points=figure.points[rows], weights=figure.weights[rows])
    ground = np.array([posed(feet, bones)[:, 1].max() for bones in own])
    if motion.way is None:
        flight = np.zeros(len(motion))
        path = _stepping(own)
    else:
        way = motion.way * leg_length(figure)
        path = way[:, [0, 2]]
        # How high the capture has the soles above where they were lowest within a second.
        high = -(ground + way[:, 1])
        above = high - minimum_filter1d(high, int(RATE) + 1, mode="nearest")
        flight = gaussian_filter1d(np.maximum(above - _AIR, 0), 1.0)
    path = path - path[0]
    return np.stack([path[:, 0], -flight - ground, path[:, 1]], 1)


def transforms(body: Body, figure: Figure, turns: Array, root: Array) -> Array:
    """The bones' transforms (T, B, 4, 4) float32 of `surface.body.bones`, from their turns (T, B, 3, 3) and root (T, 3)."""
    vectors = torch.from_numpy(local_turns(turns))
    place = torch.from_numpy(root.astype(np.float32))
    found = bodies.bones(body, torch.tensor(figure.character.shape), vectors, place)
    return np.asarray(found.numpy())


def local_turns(turns: Array) -> Array:
    """Rotation vectors (T, B, 3) float32 from each bone's parent, as `types.Stance` has them."""
    local = turns.copy()
    for b, parent in enumerate(PARENTS):
        if parent >= 0:
            local[:, b] = turns[:, parent].swapaxes(-1, -2) @ turns[:, b]
    vectors = Rotation.from_matrix(local.reshape(-1, 3, 3)).as_rotvec()
    return np.asarray(vectors.reshape(*turns.shape[:2], 3), np.float32)


def global_turns(local: Array) -> Array:
    """Each bone's rotation (T, B, 3, 3) from the world's axes, of those from its parent."""
    out = local.copy()
    for b, parent in enumerate(PARENTS):
        if parent >= 0:
            out[:, b] = out[:, parent] @ local[:, b]
    return out


def leg_length(figure: Figure) -> float:
    """From hip to ankle, metres."""
    joints = figure.shaped.joints.numpy()
    hip, knee, ankle = (joints[BONES.index(f"left_{bone}")] for bone in ("thigh", "shin", "foot"))
    return float(np.linalg.norm(hip - knee) + np.linalg.norm(knee - ankle))


def shortest(start: Array, end: Array) -> Array:
    """The rotation (3, 3) that takes one direction (3,) to another the shortest way; they are not opposite."""
    start, end = start / np.linalg.norm(start), end / np.linalg.norm(end)
    x, y, z = np.cross(start, end)
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + skew + skew @ skew / (1 + start @ end))


def _stepping(own: Array) -> Array:
    """The pelvis' way (T, 2) over the floor, x and z, such that the foot that stands does not slide; drift is taken off."""
    rows = [BONES.index(f"{side}_foot") for side in ("left", "right")]
    feet = own[..., :3, 3][:, rows]
    high = feet[..., 1].max(1, keepdims=True) - feet[..., 1]
    share = np.exp(-(high[1:] + high[:-1]) / 2 / _STANCE)
    share /= share.sum(1, keepdims=True)
    step = -(np.diff(feet[..., [0, 2]], axis=0) * share[..., None]).sum(1)
    path = np.concatenate([np.zeros((1, 2)), np.cumsum(step, 0)])
    return np.asarray(path - np.linspace(0, 1, len(path))[:, None] * path[-1])


def _rows(bvh: Bvh, name: str) -> list[int]:
    """For each of our bones the clip's joint that moves it."""
    kind = 1 if "LeftUpLeg" in bvh.names else 0
    rows = []
    for bone in BONES:
        side, _, own = bone.partition("_")
        known = _CMU[bone if bone in _CMU else own][kind]
        joint = (
            f"{side.capitalize()}{known[1:]}" if known.startswith("S") and own in _CMU else known
        )
        if joint not in bvh.names:
            raise InputError(f"{name}: has no joint {joint}, as motion from CMU's database has")
        rows.append(bvh.names.index(joint))
    return rows


def _from_rest(bvh: Bvh, rows: list[int]) -> Array:
    """Rotations (B, 3, 3) from our limbs' directions at rest to the clip's."""
    out = np.tile(np.eye(3), (len(BONES), 1, 1))
    for b, bone in enumerate(BONES):
        side, _, own = bone.partition("_")
        own = _AS.get(own, own)
        if own in _LIMBS:
            start, end = (rows[BONES.index(f"{side}_{n}")] for n in (own, _LIMBS[own]))
            out[b] = shortest(rest_direction(f"{side}_{own}"), bvh.rest[end] - bvh.rest[start])
    return out


@lru_cache(maxsize=32)
def rest_direction(bone: str) -> Array:
    """Where a limb points at rest, (3,) of length 1."""
    side, _, own = bone.partition("_")
    if own in ("thigh", "shin"):
        return np.array([0.0, 1.0, 0.0])
    return _REST_ARM * [1 if side == "left" else -1, 1, 1]
