"""The first guess of a stance where much of the person was not seen."""

from __future__ import annotations

import body_people as people
import numpy as np
import pytest

from dance import skeleton as sk
from dance.surface import body
from dance.surface._start import start

LEGS = [*range(sk.LEFT_HIP, sk.RIGHT_HEEL + 1)]
TRUNK = [sk.LEFT_SHOULDER, sk.RIGHT_SHOULDER, sk.LEFT_HIP, sk.RIGHT_HIP]


def guessed(*unseen: int) -> np.ndarray:
    """The bones' rotations (B, 3, 3) from their parents', of somebody who waves and of whom joints were not seen."""
    (pose,) = people.clip(people.person(), people.wave, frames=1).poses
    world, score = pose.world[None].copy(), pose.score[None].copy()
    world[:, list(unseen)], score[:, list(unseen)] = 0, 0
    return start(world, pose.xy[None], score).own[0]


@pytest.mark.parametrize(
    "unseen",
    [LEGS, [sk.LEFT_HIP], [sk.RIGHT_SHOULDER, *LEGS], TRUNK, list(range(5)), list(range(133))],
)
def test_every_bone_has_a_rotation_whatever_was_not_seen(unseen: list[int]) -> None:
    own = guessed(*unseen)
    assert np.allclose(own @ own.transpose(0, 2, 1), np.eye(3), atol=1e-6)
    assert np.allclose(np.linalg.det(own), 1)


def test_legs_that_were_not_seen_hang_and_arms_that_were_stay() -> None:
    whole, half = guessed(), guessed(*LEGS)
    arm, thigh = (body.BONES.index(f"left_{bone}") for bone in ("forearm", "thigh"))
    assert np.allclose(half[arm], whole[arm], atol=0.05)
    knee_bent = np.arccos(np.clip((np.trace(half[thigh + 2]) - 1) / 2, -1, 1))
    assert knee_bent < 0.2
