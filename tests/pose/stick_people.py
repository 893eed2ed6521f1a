"""Made-up people for tests of retargeting: exact joints in 3-D, filmed by a known camera."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

from dance import skeleton as sk
from dance.types import Array, Pose, Track

SIZE = (600, 400)
FOCAL = 1.2
CAMERA_HEIGHT = 1.3
LEVEL = np.eye(3)

Dance = Callable[[int], dict[str, float]]


def person(stature: float = 1.7, *, leg: float = 1.0, arm: float = 1.0) -> dict[str, float]:
    """Lengths in metres of a person of about that height, legs and arms longer by those factors."""
    unit = stature / 1.7
    return {
        "hips": 0.24 * unit, "shoulders": 0.34 * unit, "trunk": 0.47 * unit, "neck": 0.2 * unit,
        "head": 0.15 * unit, "upper arm": 0.25 * unit * arm, "forearm": 0.24 * unit * arm,
        "thigh": 0.41 * unit * leg, "shin": 0.4 * unit * leg, "foot": 0.17 * unit,
    }  # fmt: skip


def stand(_: int = 0) -> dict[str, float]:
    """Upright, facing the camera, arms hanging a little off the body."""
    return {}


def joints(lengths: dict[str, float], pose: dict[str, float], spot: Sequence[float]) -> Array:
    """The body and foot joints (23, 3) of a person standing at (x, z) on the floor, y = 0 there and up negative.

    pose: turn (about the vertical), arms (of both, from hanging to up), reach (of the arms towards the camera),
    crouch and step (of the legs), all radians; jump in metres.
    """
    turn, arms = pose.get("turn", 0.0), 0.15 + pose.get("arms", 0.0)
    reach, crouch, step = pose.get("reach", 0.0), pose.get("crouch", 0.0), pose.get("step", 0.0)
    out = np.zeros((23, 3))
    for side, x in ((0, 1.0), (1, -1.0)):
        spread = step if side == 0 else 0.0
        thigh = np.array([x * np.sin(spread), np.cos(crouch) * np.cos(spread), -np.sin(crouch)])
        shin = np.array([x * np.sin(spread), np.cos(crouch) * np.cos(spread), np.sin(crouch)])
        hip = np.array([x * lengths["hips"] / 2, 0, 0])
        knee = hip + thigh / np.linalg.norm(thigh) * lengths["thigh"]
        ankle = knee + shin / np.linalg.norm(shin) * lengths["shin"]
        shoulder = np.array([x * lengths["shoulders"] / 2, -lengths["trunk"], 0])
        along = np.array([x * np.sin(arms), np.cos(arms) * np.cos(reach), -np.sin(reach)])
        along /= np.linalg.norm(along)
        elbow = shoulder + along * lengths["upper arm"]
        out[[sk.LEFT_HIP + side, sk.LEFT_KNEE + side, sk.LEFT_ANKLE + side]] = hip, knee, ankle
        out[[sk.LEFT_SHOULDER + side, sk.LEFT_ELBOW + side]] = shoulder, elbow
        out[sk.LEFT_WRIST + side] = elbow + along * lengths["forearm"]
        foot = lengths["foot"]
        feet = 17 + 3 * side
        out[feet] = ankle + np.array([0.1 * x, 0.4, -0.9]) * foot
        out[feet + 1] = ankle + np.array([0.3 * x, 0.4, -0.8]) * foot
        out[feet + 2] = ankle + np.array([0.0, 0.4, 0.2]) * foot
        head = np.array([0, -lengths["trunk"] - lengths["neck"], 0])
        out[sk.LEFT_EAR + side] = head + np.array([x * lengths["head"] / 2, 0, 0])
        out[sk.LEFT_EYE + side] = head + np.array([0.2 * x, -0.2, -0.7]) * lengths["head"]
    out[sk.NOSE] = head + np.array([0, 0, -0.85]) * lengths["head"]
    cos, sin = np.cos(turn), np.sin(turn)
    out = out @ np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])
    out[:, 1] -= out[17:, 1].max() + pose.get("jump", 0.0)
    return out + np.array([spot[0], 0.0, spot[1]])


def film(points: Array, size: tuple[int, int] = SIZE, *, tilt: float = 0.0) -> Pose:
    """What a camera at CAMERA_HEIGHT, looking down by `tilt` radians, sees of joints (23, 3); world is exact."""
    cos, sin = np.cos(tilt), np.sin(tilt)
    seen = points + np.array([0.0, CAMERA_HEIGHT, 0.0])
    seen = seen @ np.array([[1, 0, 0], [0, cos, sin], [0, -sin, cos]])
    middle = (np.array([size[1], size[0]]) - 1) / 2
    xy, score, world = np.zeros((133, 2), np.float32), np.zeros(133, np.float32), np.zeros((133, 3))
    xy[:23] = seen[:, :2] / seen[:, 2:] * FOCAL * max(size) + middle
    score[:23] = 1
    world[:23] = seen - seen[[sk.LEFT_HIP, sk.RIGHT_HIP]].mean(0)
    return Pose(xy, score, None, world.astype(np.float32))


def clip(
    lengths: dict[str, float],
    dance: Dance,
    way: Callable[[int], Sequence[float]] = lambda _: (0.0, 4.0),
    frames: int = 40,
    *,
    size: tuple[int, int] = SIZE,
    tilt: float = 0.0,
) -> Track:
    """A track of somebody dancing along a way of (x, z) spots, 25 frames a second."""
    poses = [film(joints(lengths, dance(t), way(t)), size, tilt=tilt) for t in range(frames)]
    return Track(poses, [Fraction(t, 25) for t in range(frames)], size)


def wave(t: int) -> dict[str, float]:
    """A dance: arms go up and reach forwards, knees bend, one leg steps out, the body turns a little."""
    return {
        "arms": 1.2 + 1.1 * np.sin(t / 4), "reach": 0.5 * np.sin(t / 6) ** 2, "crouch": 0.35 * np.sin(t / 5) ** 2,
        "step": 0.25 * np.sin(t / 7) ** 2, "turn": 0.4 * np.sin(t / 11),
    }  # fmt: skip
