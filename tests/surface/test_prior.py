"""What is taken for likely of people who have their picture taken."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from dance.surface._chain import COUNT, Frames
from dance.surface._normal import Normal
from dance.surface._prior import add_pose, usual_frames
from dance.surface.body import BONES


def bent(knee: float, lean: float, *, photo: bool) -> tuple[float, float]:
    """Knee bend and pelvis lean after the pose prior alone, all else known well, has had its say."""
    frames = usual_frames(1)
    own = frames.own.copy()
    own[0, BONES.index("left_shin")] = Rotation.from_rotvec([knee, 0, 0]).as_matrix()
    own[0, 0] = Rotation.from_rotvec([lean, 0, 0]).as_matrix()
    frames = Frames(own, frames.root)
    for _ in range(30):
        normal = Normal.empty(1, COUNT)
        add_pose(normal, frames, photo=photo)
        frames = frames.moved(normal.solve(np.full(COUNT, 100.0)))
    turns = frames.turns[0]
    return float(turns[BONES.index("left_shin"), 0]), float(turns[0, 0])


def test_nearly_straight_people_stand_straighter_in_photos_than_in_clips() -> None:
    photo, clip = bent(0.3, 0.2, photo=True), bent(0.3, 0.2, photo=False)
    assert photo[0] < 0.5 * clip[0]
    assert abs(photo[1]) < 0.5 * abs(clip[1])


def test_who_bends_deeply_is_left_to_bend_in_photos() -> None:
    knee, _ = bent(1.5, 0.0, photo=True)
    assert knee > 1.2
