"""Stances of a whole clip: their joints, how the camera sees them, and whether they belong to the poses they are with.

T poses, J = 133 joints, B bones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from dance import skeleton as sk
from dance.surface import body
from dance.types import JOINTS, Array, Camera, Physique, Pose, Stance, Track

_BODY = np.arange(JOINTS) < sk.FEET_SLICE.stop
# Body joints of a stance may be so far from those of its pose, in torso lengths, in the middle of a clip's joints.
_ASTRAY = 0.15
_NEAREST = 0.1  # metres before the camera: what is nearer has no place in its picture


def joints(stances: Sequence[Stance | None], physique: Physique) -> Array:
    """All joints in camera axes, (T, 133, 3) float64 metres; not a number where there is no stance."""
    out = np.full((len(stances), JOINTS, 3), np.nan)
    numbers = [i for i, stance in enumerate(stances) if stance is not None]
    if numbers:
        given = [stance for stance in stances if stance is not None]
        turns, roots = (
            torch.from_numpy(np.stack([getattr(s, part) for s in given]).astype(np.float32))
            for part in ("turns", "root")
        )
        shape = torch.from_numpy(np.asarray(physique.shape, np.float32))
        with torch.no_grad():
            out[numbers] = body.joints(body.load(), shape, turns, roots).numpy()
    return out


def resting(physique: Physique) -> Array:
    """The joints of the body at rest, (133, 3) metres from where its first bone begins."""
    bones = len(body.BONES)
    still = Stance(np.zeros((bones, 3)), np.zeros(3), np.ones(bones))
    return np.asarray(joints([still], physique)[0])


def project(points: Array, camera: Camera) -> Array:
    """The pixels (..., 2) of points (..., 3) in camera axes."""
    z = np.maximum(points[..., 2:], _NEAREST)
    return np.asarray(camera.focal * points[..., :2] / z + np.asarray(camera.centre))


def seen(
    poses: Sequence[Pose], stances: Sequence[Stance | None], physique: Physique, *, guessed: float
) -> list[Pose]:
    """The poses with their joints where the bodies have them; unseen where there is no body.

    Scores stay those of the poses, but joints of body and feet that were not seen get the score `guessed`.
    """
    camera = physique.camera
    made = []
    for pose, stance, points in zip(poses, stances, joints(stances, physique), strict=True):
        if stance is None or not pose.found:
            made.append(Pose.unseen())
            continue
        away = points - points[[sk.LEFT_HIP, sk.RIGHT_HIP]].mean(0)
        z = max(float(points[0, 2] - away[0, 2]), _NEAREST)
        score = np.where(_BODY & (pose.score <= 0), np.float32(guessed), pose.score)
        made.append(
            Pose(
                project(points, camera).astype(np.float32), score.astype(np.float32),
                (away[:, 2] * camera.focal / z).astype(np.float32), away.astype(np.float32),
                stance=stance,
            )
        )  # fmt: skip
    return made


def attached(track: Track, stances: Sequence[Stance | None]) -> Track:
    """The track with these stances in place of any it had."""
    poses = [replace(p, stance=s) for p, s in zip(track.poses, stances, strict=True)]
    return replace(track, poses=poses)


def belong(track: Track, physique: Physique) -> bool:
    """Whether every found pose has a stance of this kind of body, and the bodies are where the poses are.

    They are not where joints were edited, or come from another person's run.
    """
    found = [pose for pose in track.poses if pose.found]
    bones = (len(body.BONES), 3)
    if any(pose.stance is None or pose.stance.turns.shape != bones for pose in found):
        return False
    if not found:
        return True
    there = project(joints([pose.stance for pose in found], physique), physique.camera)[:, _BODY]
    xy = np.stack([pose.xy for pose in found])[:, _BODY]
    known = np.stack([pose.score for pose in found])[:, _BODY] > 0
    hips, shoulders = (
        there[:, [a, b]].mean(1)
        for a, b in ((sk.LEFT_HIP, sk.RIGHT_HIP), (sk.LEFT_SHOULDER, sk.RIGHT_SHOULDER))
    )
    torso = np.median(np.linalg.norm(hips - shoulders, axis=-1))
    apart = np.linalg.norm(there - xy, axis=-1)[known]
    return bool(np.median(apart) < _ASTRAY * torso)
