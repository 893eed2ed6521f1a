"""Maps, masks and boxes of OpenPose's 18 joints."""

from __future__ import annotations

import numpy as np
import pytest

from dance import draw, joint_maps
from dance import skeleton as sk
from dance.types import Array, Pose

SIZE = (64, 48)


def upright() -> tuple[Array, Array]:
    """A small person in the middle of the picture, all joints seen."""
    xy = np.array(
        [
            (24, 8), (24, 16), (18, 16), (15, 24), (13, 32), (30, 16), (33, 24), (35, 32), (20, 34),
            (20, 46), (20, 58), (28, 34), (28, 46), (28, 58), (22, 6), (26, 6), (20, 7), (28, 7),
        ],
        np.float32,
    )  # fmt: skip
    return xy, np.ones(18, np.float32)


def test_joints_are_openpose_with_a_neck_between_the_shoulders() -> None:
    xy, score = np.zeros((133, 2), np.float32), np.zeros(133, np.float32)
    xy[sk.LEFT_SHOULDER], xy[sk.RIGHT_SHOULDER] = (30, 16), (18, 16)
    score[[sk.LEFT_SHOULDER, sk.RIGHT_SHOULDER]] = 0.5, 0.9
    found, seen = joint_maps.joints(Pose(xy, score))
    assert found[1].tolist() == [24, 16] and seen[1] == 0.5
    assert found[2].tolist() == [18, 16] and found[5].tolist() == [30, 16]
    assert (seen > 0).sum() == 3


def test_points_are_one_pixel_each_and_none_for_joints_unseen_or_outside() -> None:
    xy, score = upright()
    xy[0], xy[3], score[7] = (23.6, 8.4), (48.2, 10), 0
    maps = joint_maps.points(xy, score, SIZE)
    assert maps.shape == (18, *SIZE) and maps.dtype == np.float32
    assert maps[0].sum() == 1 and maps[0, 8, 24] == 1
    assert maps[3].sum() == 0 and maps[7].sum() == 0 and maps.sum() == 16


def test_peaks_find_the_joints_that_maps_were_drawn_for() -> None:
    xy, score = upright()
    score[4] = 0
    found, seen = joint_maps.peaks(draw.gaussians(xy, score, SIZE, 3))
    assert seen.tolist() == score.tolist()
    assert np.array_equal(found[seen > 0], xy[score > 0])


def test_the_mask_covers_the_limbs_and_fills_the_torso() -> None:
    xy, score = upright()
    mask = joint_maps.body_mask(xy, score, SIZE, 3)
    assert mask.dtype == bool and mask.shape == SIZE
    assert all(mask[int(y), int(x)] for x, y in xy)
    assert mask[25, 24] and mask[20, 24] and mask[52, 20]
    assert not mask[:, :8].any() and not mask[62, 24]
    thicker = joint_maps.body_mask(xy, score, SIZE, 5)
    assert (thicker >= mask).all() and thicker.sum() > mask.sum()


def test_limbs_with_an_unseen_end_are_not_in_the_mask() -> None:
    xy, score = upright()
    score[10] = 0
    mask = joint_maps.body_mask(xy, score, SIZE, 3)
    assert not mask[55, 20] and mask[55, 28]
    lone = np.zeros(18, np.float32)
    lone[4] = 1
    assert not joint_maps.body_mask(xy, lone, SIZE, 3).any()


def test_a_body_half_beyond_the_picture_keeps_the_mask_of_its_half() -> None:
    xy, score = upright()
    mask = joint_maps.body_mask(xy - np.array([0, 20]), score, SIZE, 3)
    whole = joint_maps.body_mask(xy, score, SIZE, 3)
    assert (mask[2:44] == whole[22:]).mean() > 0.98 and not mask[44:].any()


def test_boxes_hold_their_joints_with_a_margin_and_end_at_the_picture() -> None:
    xy, score = upright()
    boxes, visible = joint_maps.part_boxes(xy, score, SIZE)
    assert boxes.shape == (7, 4) and visible.tolist() == [1] * 7
    assert boxes[3].tolist() == [10, 24, 38, 41]  # left arm: rows 16..32, columns 30..35
    assert boxes[5].tolist() == [28, 22, 63, 34]  # left leg reaches the picture's last row
    assert len(joint_maps.ALL_PARTS) == 37 and joint_maps.ALL_PARTS[:7] == joint_maps.BODY_PARTS


def test_a_lone_joint_has_a_wider_margin_and_an_unseen_part_no_place() -> None:
    xy, score = upright()
    score[[5, 6, 11, 12, 13]] = 0
    boxes, visible = joint_maps.part_boxes(xy, score, SIZE)
    assert boxes[3].tolist() == [22, 25, 42, 45]
    assert boxes[5].tolist() == [0, 0, 1, 1] and visible[5] == 0 and visible[3] == 1


@pytest.mark.parametrize("size", [(128, 64), (64, 48), (96, 80)])
def test_a_pose_vector_leads_back_to_its_joints(size: tuple[int, int]) -> None:
    xy, score = upright()
    score[9] = 0
    vector = joint_maps.to_vector(xy, score, size)
    assert vector.shape == (18, 3) and vector[9].tolist() == [-1, -1, 0]
    assert (np.abs(vector[:, :2]) <= 1).all()
    again, seen = joint_maps.from_vector(vector + 1e-9, size)
    assert np.array_equal(seen, score) and np.array_equal(again[score > 0], xy[score > 0])


def test_a_vector_from_outside_the_picture_is_brought_inside() -> None:
    vector = np.array([[2.0, -3.0, 1.0]])
    xy, seen = joint_maps.from_vector(vector, SIZE)
    assert xy.tolist() == [[0, 63]] and seen.tolist() == [1]
