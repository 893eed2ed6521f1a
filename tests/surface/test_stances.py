"""Stances of a clip: what the camera sees of them, and whether they belong to their poses."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from dance.surface import body, stances
from dance.types import Camera, Physique, Pose, Stance, Track

SIZE = (480, 640)
ADULT = Physique(np.array(body.AVERAGE, np.float32), Camera(768.0, (319.5, 239.5)))
CHILD = replace(ADULT, shape=np.array([0.5, 1 / 3, *body.AVERAGE[2:]], np.float32))


def standing(z: float = 4.0, x: float = 0.0) -> Stance:
    count = len(body.BONES)
    root = np.array([x, 0.0, z], np.float32)
    return Stance(np.zeros((count, 3), np.float32), root, np.ones(count, np.float32))


def track(physique: Physique = ADULT) -> Track:
    found = Pose(np.zeros((133, 2), np.float32), np.full(133, 0.8, np.float32))
    given = [standing(4.0), None, standing(3.5, 0.3)]
    poses = stances.seen([found, Pose.unseen(), found], given, physique, guessed=0.1)
    return Track(poses, [Fraction(i, 25) for i in range(3)], SIZE)


def test_the_body_is_seen_upright_where_it_stands() -> None:
    first, nobody, last = track().poses
    assert not nobody.found
    assert first.xy[0, 1] < first.xy[11, 1] < first.xy[15, 1]
    assert first.xy[5, 0] > first.xy[6, 0]  # the left shoulder is to the right in the picture
    hips = first.xy[11:13].mean(0)
    assert np.allclose(hips, ADULT.camera.centre, atol=25)
    assert last.xy[11, 0] > first.xy[11, 0] + 40
    assert np.ptp(last.xy[:23, 1]) > 1.1 * np.ptp(first.xy[:23, 1])


def test_stances_belong_to_the_poses_made_of_them_and_not_to_others() -> None:
    own = track()
    assert stances.belong(own, ADULT)
    assert not stances.belong(own, CHILD)
    moved = replace(own, poses=[replace(p, xy=p.xy + 40) for p in own.poses])
    assert not stances.belong(moved, ADULT)


def test_poses_without_a_body_or_with_another_kind_of_body_do_not_belong() -> None:
    own = track()
    without = replace(own, poses=[own.poses[0], own.poses[1], replace(own.poses[2], stance=None)])
    assert not stances.belong(without, ADULT)
    fewer = replace(standing(), turns=np.zeros((20, 3), np.float32))
    other = replace(own, poses=[replace(own.poses[0], stance=fewer), *own.poses[1:]])
    assert not stances.belong(other, ADULT)


def test_unseen_joints_of_body_and_feet_are_guessed_and_others_stay_unseen() -> None:
    score = np.full(133, 0.8, np.float32)
    score[[9, 20, 50]] = 0
    pose = Pose(np.zeros((133, 2), np.float32), score)
    (made,) = stances.seen([pose], [standing()], ADULT, guessed=0.1)
    assert made.score[[9, 20]] == pytest.approx(0.1)
    assert made.score[50] == 0 and made.score[0] == pytest.approx(0.8)


def test_the_body_at_rest_is_as_large_as_it_should_be() -> None:
    points = stances.resting(ADULT)
    assert 1.4 < np.ptp(points[:23, 1]) < 1.8
    assert np.ptp(stances.resting(CHILD)[:23, 1]) < 0.9 * np.ptp(points[:23, 1])
