"""Clips of 3-D bodies whose exact dance is known, before one camera."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np

from dance.surface import body, stances
from dance.types import Array, Camera, Physique, Pose, Size, Stance, Track

SIZE: Size = (720, 960)
CAMERA = Camera(1.2 * 960, (479.5, 359.5))
FLOOR = 1.1  # metres below the camera
_SEEN = Pose(np.zeros((133, 2), np.float32), np.full(133, 0.9, np.float32))


def person(**shape: float) -> Physique:
    """An average adult with some shape parameters changed."""
    values = dict(zip(body.SHAPE, body.AVERAGE, strict=True)) | shape
    return Physique(np.array(list(values.values()), np.float32), CAMERA)


def leg(physique: Physique) -> float:
    points = stances.resting(physique)
    return float(np.linalg.norm(points[11] - points[13]) + np.linalg.norm(points[13] - points[15]))


def wave(t: int) -> dict[str, tuple[float, float, float]]:
    """Turns of some bones in radians: arms go up and down, one leg steps out, the body turns a little."""
    s, c = float(np.sin(t / 5)), float(np.cos(t / 7))
    return {
        "pelvis": (0.1 * c, 0.3 * s, 0.0), "spine": (0.1 * s, 0.0, 0.05), "head": (0.0, 0.2 * c, 0.0),
        "left_upper_arm": (0.0, 0.2 * c, -0.6 - 0.5 * s), "right_upper_arm": (0.3 * s, 0.0, 0.5),
        "left_forearm": (0.0, 0.0, -0.7 * abs(c)), "left_thigh": (-0.3 - 0.2 * s, 0.0, 0.0),
        "left_shin": (0.4, 0.0, 0.0),
    }  # fmt: skip


def stand(_: int) -> dict[str, tuple[float, float, float]]:
    return {}


def clip(
    physique: Physique,
    turns: Callable[[int], dict[str, tuple[float, float, float]]],
    way: Callable[[int], tuple[float, float]] = lambda _: (0.0, 4.0),
    frames: int = 20,
) -> Track:
    """The person on the floor with the mid-hip at way(t) = (sideways, away) metres, the lower foot standing."""
    poses = []
    for t in range(frames):
        bend = np.zeros((len(body.BONES), 3), np.float32)
        for name, turn in turns(t).items():
            bend[body.BONES.index(name)] = turn
        stance = Stance(bend, np.zeros(3, np.float32), np.ones(len(body.BONES), np.float32))
        points = stances.joints([stance], physique)[0]
        x, z = way(t)
        low = points[17:23, 1].max()
        hip = points[11:13].mean(0)
        root = np.array([x - hip[0], FLOOR - low, z - hip[2]], np.float32)
        poses += stances.seen([_SEEN], [replace(stance, root=root)], physique, guessed=0.1)
    return Track(poses, [Fraction(t, 25) for t in range(frames)], SIZE)


def unlike(track: Track, answer: Track) -> Array:
    """The distance of body and feet joints to the answer's, (T, 23), in the answer's torso lengths."""
    torso = np.linalg.norm(answer.xy[:, 5:7].mean(1) - answer.xy[:, 11:13].mean(1), axis=-1)
    return np.linalg.norm(track.xy[:, :23] - answer.xy[:, :23], axis=-1) / torso[:, None]
