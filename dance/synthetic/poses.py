"""Invented poses and dances: people who stand, step, crouch and wave, within what joints can do.

A pose is local rotations (B, 3, 3), each bone's from its parent's; only the feet know where the floor is.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from scipy.spatial.transform import Rotation, Slerp

from dance.surface import body as bodies
from dance.surface.body import AVERAGE, BONES, PARENTS, Body
from dance.synthetic.motion import RATE, Motion, global_turns, rest_direction, shortest
from dance.types import Array

_TRIES = 40
_CROUCHING = 0.12  # of all poses
_BEAT = (0.45, 0.9)  # seconds from one pose of a dance to the next
_TRUNK = ("spine", "chest", "upper_chest")
# Metres that parts of an average body keep from each other, from joint to joint or limb.
_FROM_TRUNK, _FROM_HEAD, _FROM_LEG, _APART = 0.19, 0.17, 0.14, 0.11


def still(body: Body, rng: np.random.Generator, frames: int = 1) -> Motion:
    """One pose drawn by lot, held."""
    turns = global_turns(pose(body, rng)[None])
    return Motion(np.repeat(turns, frames, 0))


def dance(body: Body, rng: np.random.Generator, frames: int) -> Motion:
    """From one pose to the next in beats, resting on each for a moment, with a bounce in the knees' rhythm."""
    beat = float(rng.uniform(*_BEAT))
    count = int(np.ceil(frames / RATE / beat)) + 2
    keys = [pose(body, rng) for _ in range(count)]
    time = float(rng.uniform(0, 1)) + np.arange(frames) / RATE / beat
    whole = np.floor(time)
    # Quick between poses, slow at them.
    part = time - whole
    eased = np.clip(whole + part**2 * (3 - 2 * part), 0, count - 1)
    local = np.stack(
        [
            Slerp(np.arange(count), Rotation.from_matrix([key[b] for key in keys]))(
                eased
            ).as_matrix()
            for b in range(len(BONES))
        ],
        1,
    )
    return Motion(global_turns(local))


def pose(body: Body, rng: np.random.Generator) -> Array:
    """Local rotations (B, 3, 3) of a pose in which limbs keep out of the trunk, the head and each other."""
    local = _pose(rng)
    for _ in range(_TRIES):
        if _free(_places(body, local)):
            break
        local = _pose(rng)
    return local


def _pose(rng: np.random.Generator) -> Array:
    turns = {}
    crouching = rng.random() < _CROUCHING
    turns["pelvis"] = _euler(rng.normal(0, 4), rng.normal(0, 8), rng.normal(0, 4))
    forward = rng.uniform(10, 40) if crouching else rng.normal(4, 7)
    side, twist = rng.normal(0, 6), rng.normal(0, 14)
    for bone in _TRUNK:
        turns[bone] = _euler(forward / 3, twist / 3, side / 3)
    nod, shake, tilt = rng.normal(0, 8), rng.normal(0, 20), rng.normal(0, 6)
    for bone in ("neck", "head"):
        turns[bone] = _euler((nod - forward / 3) / 2, np.clip(shake, -50, 50) / 2, tilt / 2)
    standing = rng.integers(2)
    for number, name in enumerate(("left", "right")):
        sign = 1 if name == "left" else -1
        turns |= _arm(name, sign, rng)
        turns |= _leg(name, sign, rng, stands=number == standing, crouching=crouching)
    return np.stack([turns.get(bone, np.eye(3)) for bone in BONES])


def _arm(name: str, sign: int, rng: np.random.Generator) -> dict[str, Array]:
    raised = rng.random() < 0.2
    up = np.radians(rng.uniform(85, 150) if raised else rng.gamma(2.2, 14) + 8)
    ahead = np.radians(rng.uniform(-15, 100))
    way = np.array([sign * np.sin(up) * np.cos(ahead), np.cos(up), -np.sin(up) * np.sin(ahead)])
    rest = rest_direction(f"{name}_upper_arm")
    twist = Rotation.from_rotvec(rest * sign * np.radians(rng.uniform(-50, 50))).as_matrix()
    bend = np.radians(np.clip(rng.gamma(2.0, 28), 3, 135))
    hinge = np.cross(rest, [0.0, 0.0, -1.0])
    return {
        f"{name}_clavicle": _euler(0, 0, sign * -min(np.degrees(up) / 8, 12)),
        f"{name}_upper_arm": shortest(rest, way) @ twist,
        f"{name}_forearm": Rotation.from_rotvec(hinge * bend).as_matrix(),
        f"{name}_hand": _euler(*rng.normal(0, 10, 3)),
    }


def _leg(
    name: str, sign: int, rng: np.random.Generator, *, stands: bool, crouching: bool
) -> dict[str, Array]:
    apart = sign * abs(rng.normal(4, 5))
    if crouching:
        ahead, bend = rng.uniform(35, 80), 0.0
        bend = ahead * rng.uniform(1.2, 1.6)
        apart = sign * rng.uniform(4, 25)
    elif stands:
        ahead, bend = abs(rng.normal(0, 5)), 0.0
        bend = ahead * 1.8 + 2
    else:
        ahead = rng.uniform(-12, 40) if rng.random() < 0.5 else rng.normal(3, 8)
        bend = max(2.0, ahead * rng.uniform(0.6, 2.2) + rng.uniform(0, 25))
        apart = sign * rng.gamma(2.0, 5)
    # The sole stays level where the foot stands; a lifted one hangs.
    level = ahead - bend + (0 if stands or crouching else rng.uniform(0, 25))
    return {
        f"{name}_thigh": _euler(-ahead, sign * -abs(rng.normal(6, 6)), -apart),
        f"{name}_shin": _euler(bend, 0, 0),
        f"{name}_foot": _euler(level, 0, apart * 0.7),
    }


def _euler(pitch: float, yaw: float, roll: float) -> Array:
    """A rotation by degrees: pitch forwards, yaw to the picture's left, roll to the picture's right, for somebody upright."""
    # Seen in camera axes, bowing forwards is towards the camera.
    return np.asarray(Rotation.from_euler("YXZ", [yaw, pitch, roll], degrees=True).as_matrix())


def _free(places: Array) -> bool:
    at = dict(zip(BONES, places, strict=True))
    for side, other in (("left", "right"), ("right", "left")):
        for end, slack in (("hand", 0.0), ("fingers", 0.0), ("forearm", 0.03)):
            joint = at[f"{side}_{end}"]
            if _distance(joint, at["pelvis"], at["neck"]) < _FROM_TRUNK - slack:
                return False
            if np.linalg.norm(joint - at["head"] - [0, -0.08, 0]) < _FROM_HEAD:
                return False
            for leg in (side, other):
                if _distance(joint, at[f"{leg}_thigh"], at[f"{leg}_shin"]) < _FROM_LEG:
                    return False
        if _distance(at[f"{side}_hand"], at[f"{other}_forearm"], at[f"{other}_hand"]) < _APART:
            return False
        for end in ("shin", "foot"):
            if (
                _distance(at[f"{side}_{end}"], at[f"{other}_shin"], at[f"{other}_foot"]) < _APART
                or _distance(at[f"{side}_{end}"], at[f"{other}_thigh"], at[f"{other}_shin"])
                < _APART
            ):
                return False
    return True


def _distance(point: Array, start: Array, end: Array) -> float:
    """From a point to a limb, both (3,)."""
    along = end - start
    share = np.clip((point - start) @ along / (along @ along), 0, 1)
    return float(np.linalg.norm(point - start - share * along))


def _places(body: Body, local: Array) -> Array:
    """Where an average body's bones begin, (B, 3)."""
    rest, turns = _average(body), global_turns(local[None])[0]
    out = np.zeros((len(BONES), 3))
    for b, parent in list(enumerate(PARENTS))[1:]:
        out[b] = out[parent] + turns[parent] @ (rest[b] - rest[parent])
    return out


@lru_cache(maxsize=1)
def _average(body: Body) -> Array:
    return np.asarray(bodies.shaped(body, torch.tensor(AVERAGE)).joints.numpy())
