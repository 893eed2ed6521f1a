"""What retargeting is made of: lengths, lifting to 3-D, distance and floor."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import stick_people as people

from dance import skeleton as sk
from dance.pose import ground, lengths, lift, staging
from dance.types import Track


def study(track: Track) -> staging.Studied:
    seconds = np.array([float(t) for t in track.times])
    scene = np.zeros(len(track), int)
    return staging.study(track.poses, seconds, scene, track.size, people.FOCAL)


def logs(track: Track) -> np.ndarray:
    return lengths.measure(lengths.look(track.poses, track.size, people.FOCAL))[0].logs


def test_longer_legs_are_measured_in_a_dance_and_in_one_photo() -> None:
    usual, long = people.person(), people.person(leg=1.2)
    legs = [lengths.GROUP["thighs"], lengths.GROUP["shins"]]
    arms = [lengths.GROUP["upper arms"], lengths.GROUP["forearms"]]
    for dance, frames in ((people.wave, 40), (people.stand, 1)):
        longer = logs(people.clip(long, dance, frames=frames)) - logs(
            people.clip(usual, dance, frames=frames)
        )
        assert longer[legs].mean() - longer[arms].mean() == pytest.approx(np.log(1.2), abs=0.05)


def test_foreshortened_limbs_are_not_taken_for_short_ones() -> None:
    person = people.person()
    facing = logs(people.clip(person, people.stand, frames=1))
    turned = logs(people.clip(person, lambda _: {"turn": 0.9, "reach": 0.7}, frames=1))
    assert np.abs(turned[:7] - facing[:7]).max() < 0.12


def test_one_sides_hidden_limbs_leave_the_lengths_alone() -> None:
    track = people.clip(people.person(arm=1.15), people.wave)
    poses = []
    for pose in track.poses:
        score = pose.score.copy()
        score[[sk.LEFT_ELBOW, sk.LEFT_WRIST]] = 0
        poses.append(replace(pose, score=score))
    hidden = Track(poses, track.times, track.size)
    assert np.abs(logs(hidden) - logs(track)).max() < 0.02


def test_lifted_joints_stay_on_their_rays_and_are_right_in_depth() -> None:
    track = people.clip(people.person(), people.wave)
    studied = study(track)
    joints = studied.figure.joints()[:, :23]
    rays = lengths.look(track.poses, track.size, people.FOCAL).rays[:, :23]
    np.testing.assert_allclose(joints[..., :2] / joints[..., 2:], rays, atol=1e-6)
    away = joints[..., 2] - studied.figure.root[:, None, 2]
    true = np.stack([pose.world[:23, 2] for pose in track.poses])
    assert np.abs(away - true).mean() < 0.06


def test_without_landmarks_in_metres_the_person_is_still_lifted() -> None:
    track = people.clip(people.person(), people.wave)
    flat = Track([replace(p, world=None) for p in track.poses], track.times, track.size)
    root = study(flat).figure.root
    assert np.isfinite(root).all()
    assert root[:, 2] == pytest.approx(np.full(len(root), np.median(root[:, 2])), rel=0.1)


def test_the_distance_follows_a_walk() -> None:
    track = people.clip(people.person(), people.wave, lambda t: (0.0, 5 - 0.04 * t), 50)
    depth = study(track).figure.root[:, 2]
    assert depth[-1] / depth[0] == pytest.approx(3.04 / 5, rel=0.04)
    assert np.abs(np.diff(depth, 2)).max() < 0.02


def test_the_floor_and_the_cameras_tilt_come_from_a_walk() -> None:
    track = people.clip(people.person(), people.stand, lambda t: (0.0, 5 - 0.05 * t), 50, tilt=0.15)
    floor = study(track).floors[0]
    assert floor.slope == pytest.approx(-np.tan(0.15), abs=0.05)


def test_floor_axes_are_a_right_handed_frame_with_up_pointing_up() -> None:
    axes = ground.Floor(1.2, -0.2, 0.1).axes
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert axes[2, 1] < 0 and axes[1, 2] > 0


def test_every_point_hangs_on_one_bone_after_its_parent() -> None:
    known = {lengths.MID_HIP}
    for bone in lift.BONES:
        assert bone.parent in known and bone.child not in known
        known.add(bone.child)
    assert known == set(range(lengths.POINTS))


def test_weighted_quantiles_ignore_what_weighs_nothing() -> None:
    values, weights = np.array([1.0, 100.0, 2.0, 3.0]), np.array([1.0, 0.0, 1.0, 1.0])
    assert lengths.quantile(values, weights, 0.5) == pytest.approx(2.0)
    assert np.isnan(lengths.quantile(values, np.zeros(4), 0.5))
