"""A made-up dancer whose joints are known exactly, for the tests of following and smoothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from dance import skeleton as sk
from dance.types import Moment, Pose, Region

Array = np.ndarray[Any, Any]

TORSO = 100.0
"""Length of the dancer's torso in pixels."""

# A standing person, metres: x right as seen, y down, z away from the camera, from the mid-hip.
_STAND = {
    "nose": (0, -0.72, -0.1), "left_eye": (0.03, -0.75, -0.08), "right_eye": (-0.03, -0.75, -0.08),
    "left_ear": (0.08, -0.73, 0), "right_ear": (-0.08, -0.73, 0),
    "left_shoulder": (0.18, -0.5, 0), "right_shoulder": (-0.18, -0.5, 0),
    "left_elbow": (0.25, -0.24, 0), "right_elbow": (-0.25, -0.24, 0),
    "left_wrist": (0.27, 0.0, 0), "right_wrist": (-0.27, 0.0, 0),
    "left_hip": (0.1, 0, 0), "right_hip": (-0.1, 0, 0),
    "left_knee": (0.11, 0.42, 0), "right_knee": (-0.11, 0.42, 0),
    "left_ankle": (0.12, 0.82, 0), "right_ankle": (-0.12, 0.82, 0),
    "left_big_toe": (0.14, 0.88, -0.15), "right_big_toe": (-0.14, 0.88, -0.15),
    "left_small_toe": (0.17, 0.88, -0.12), "right_small_toe": (-0.17, 0.88, -0.12),
    "left_heel": (0.12, 0.87, 0.05), "right_heel": (-0.12, 0.87, 0.05),
}  # fmt: skip
SEEN = np.array([sk.INDEX[name] for name in _STAND])


def dance(count: int, *, rate: float = 25.0, turn: float = 0.0) -> list[Moment]:
    """A dancer who waves, steps, sways and turns by `turn` radians a second, exactly known."""
    return [
        moment_of(_figure(t / rate, turn), Fraction(t) / Fraction(rate).limit_denominator(1000))
        for t in range(count)
    ]


def _figure(t: float, turn: float) -> Array:
    body = np.zeros((133, 3))
    for name, place in _STAND.items():
        body[sk.INDEX[name]] = place
    for side, phase in (("left", 0.0), ("right", 2.0)):
        swing = np.sin(4 * t + phase)
        body[sk.INDEX[f"{side}_elbow"]] += (0, -0.15 * (1 + swing), -0.1 * swing)
        body[sk.INDEX[f"{side}_wrist"]] += (0.05 * swing, -0.3 * (1 + swing), -0.2 * swing)
        lift = np.clip(np.sin(3 * t + phase), 0, 1)
        body[sk.INDEX[f"{side}_knee"]] += (0, -0.1 * lift, -0.2 * lift)
        for part in ("ankle", "heel", "big_toe", "small_toe"):
            body[sk.INDEX[f"{side}_{part}"]] += (0, -0.2 * lift, -0.1 * lift)
    angle = turn * t
    spin = np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )
    return body @ spin.T + (0.15 * np.sin(1.5 * t), 0, 0)


def moment_of(body: Array, time: Fraction) -> Moment:
    """The moment of a body (133, 3) in metres seen from the front."""
    score = np.zeros(133, np.float32)
    score[SEEN] = 0.95
    pixels = 2 * TORSO
    return Moment(
        Pose(
            (body[:, :2] * pixels + (300, 250)).astype(np.float32),
            score,
            (body[:, 2] * pixels).astype(np.float32),
            body.astype(np.float32),
            Region(300, 250, 5 * TORSO),
        ),
        time,
    )


def noisy(moments: Sequence[Moment], share: float, seed: int = 0) -> list[Moment]:
    """The moments with every coordinate off by a normal error of that share of a torso."""
    rng = np.random.default_rng(seed)

    def shake(pose: Pose) -> Pose:
        assert pose.depth is not None and pose.world is not None
        return replace(
            pose,
            xy=pose.xy + rng.normal(0, share * TORSO, pose.xy.shape).astype(np.float32),
            depth=pose.depth + rng.normal(0, share * TORSO, 133).astype(np.float32),
            world=pose.world + rng.normal(0, share / 2, (133, 3)).astype(np.float32),
        )

    return [replace(moment, pose=shake(moment.pose)) for moment in moments]


def hidden(pose: Pose, joints: Sequence[int] | Array) -> Pose:
    """The pose with some joints unseen."""
    score, xy = pose.score.copy(), pose.xy.copy()
    score[joints] = 0
    xy[joints] = -1e6
    return replace(pose, score=score, xy=xy)


def all_xy(moments: Sequence[Moment]) -> Array:
    return np.stack([m.pose.xy for m in moments]).astype(float)


def all_scores(moments: Sequence[Moment]) -> Array:
    return np.stack([m.pose.score for m in moments])


def error(moments: Sequence[Moment], truth: Sequence[Moment]) -> Array:
    """Distances (T, joints) to the truth in torso lengths, of the joints a dancer has."""
    off = np.linalg.norm(all_xy(moments) - all_xy(truth), axis=2)[:, SEEN]
    return np.asarray(off / TORSO)
