"""What NTED is shown of a pose."""

from __future__ import annotations

import numpy as np
from drawn_person import SIZE, standing

from dance import joint_maps
from dance.generators import _nted_label as labels

POINTS = np.array([[20.0 + 3 * i, 10.0 + 6 * i, 1] for i in range(18)])


def test_a_pose_is_a_figure_and_seventeen_distances() -> None:
    xy, score = joint_maps.joints(standing())
    label = labels.label(np.concatenate([xy, score[:, None]], 1), SIZE)
    assert label.shape == (20, *SIZE) and label.dtype == np.uint8
    assert label[:3].any()
    # On every limb the distance is 0, and it grows by a pixel a pixel.
    assert (label[3:].reshape(17, -1).min(1) == 0).all()
    steps = np.abs(np.diff(label[3:].astype(int), axis=2))
    assert steps.max() <= 1


def test_nobody_is_black_and_far_from_everywhere() -> None:
    label = labels.label(np.zeros((18, 3)), (64, 48))
    assert not label[:3].any() and (label[3:] == 255).all()


def test_only_limbs_of_a_joint_that_is_not_seen_are_missing() -> None:
    points = POINTS.copy()
    points[4] = -1, -1, 0
    missing = [i for i, d in enumerate(labels.label(points, (128, 96))[3:]) if d.min() == 255]
    assert missing == [3]  # right elbow to right wrist


def test_joints_far_outside_do_no_harm() -> None:
    points = POINTS.copy()
    points[:, :2] *= 1e7
    assert (labels.label(points, (64, 64))[3:] > 0).all()


def test_annotations_stand_in_a_square_with_a_border() -> None:
    rows = np.full((18, 2), -1.0)
    rows[14], rows[15] = (128, 64), (40, 0)
    points = labels.annotated(rows, (512, 352))
    assert points[14].tolist() == [176, 128, 1] and points[15].tolist() == [0, 0, 1]
    assert points[0].tolist() == [-1, -1, 0]
    assert labels.eyes(points).tolist() == [176, 128, 0, 0]
    points[14, 2] = 0
    assert labels.eyes(points).tolist() == [-1] * 4
