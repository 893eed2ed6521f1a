"""Sticks, words and heat maps."""

import numpy as np
import pytest

from dance import draw, skeleton
from dance.types import JOINTS, Array, Pose

BLACK = np.zeros((120, 160, 3), np.uint8)


def posed(*joints: tuple[int, float, float], depth: Array | None = None) -> Pose:
    xy = np.zeros((JOINTS, 2), np.float32)
    score = np.zeros(JOINTS, np.float32)
    for joint, x, y in joints:
        xy[joint], score[joint] = (x, y), 1
    return Pose(xy, score, depth)


def test_a_limb_is_drawn_in_its_sides_colour_and_the_picture_given_stays() -> None:
    left = posed((skeleton.LEFT_ELBOW, 20, 30), (skeleton.LEFT_WRIST, 120, 30))
    right = posed((skeleton.RIGHT_KNEE, 20, 30), (skeleton.RIGHT_ANKLE, 120, 30))
    assert tuple(draw.sticks(BLACK, left)[30, 70]) == draw.LEFT_ARM
    assert tuple(draw.sticks(BLACK, right)[30, 70]) == draw.RIGHT_LEG
    assert not BLACK.any()


def test_left_and_right_differ_for_colour_blind_readers() -> None:
    """Warm against cold: red minus blue says the side, whatever green does."""
    for left, right in ((draw.LEFT_ARM, draw.RIGHT_ARM), (draw.LEFT_LEG, draw.RIGHT_LEG)):
        assert left[0] - left[2] > 150
        assert right[0] - right[2] < -100


def test_unseen_joints_are_not_drawn() -> None:
    lonely = posed((skeleton.LEFT_ELBOW, 20, 30))
    assert not draw.sticks(BLACK, lonely)[25:35, 60:160].any()
    assert not draw.sticks(BLACK, Pose.unseen()).any()


def test_the_nearer_limb_covers_the_farther() -> None:
    depth = np.zeros(JOINTS, np.float32)
    cross = [(skeleton.LEFT_ELBOW, 20, 60), (skeleton.LEFT_WRIST, 140, 60)]
    cross += [(skeleton.RIGHT_ELBOW, 80, 10), (skeleton.RIGHT_WRIST, 80, 110)]
    for near, colour in (("left", draw.LEFT_ARM), ("right", draw.RIGHT_ARM)):
        for joint, *_ in cross:
            depth[joint] = -50 if skeleton.NAMES[joint].startswith(near) else 50
        assert tuple(draw.sticks(BLACK, posed(*cross, depth=depth))[60, 80]) == colour


def test_hands_and_face_are_drawn_where_they_are_scored() -> None:
    thumb = skeleton.LEFT_HAND_SLICE.start + 3
    hand = posed((thumb, 20, 30), (thumb + 1, 60, 30))
    assert draw.sticks(BLACK, hand)[30, 40].any()
    first = skeleton.FACE_SLICE.start
    jaw = posed(*((first + i, 20 + 5 * i, 50) for i in range(17)))
    assert draw.sticks(BLACK, jaw)[50, 22:98].any(-1).all()


def test_joints_far_outside_the_picture_are_harmless() -> None:
    far = posed((skeleton.LEFT_ELBOW, -1e9, 30), (skeleton.LEFT_WRIST, 1e9, 30))
    assert tuple(draw.sticks(BLACK, far)[30, 70]) == draw.LEFT_ARM


def test_sticks_grow_with_the_picture() -> None:
    limb = posed((skeleton.LEFT_ELBOW, 20, 60), (skeleton.LEFT_WRIST, 120, 60))
    small = draw.sticks(BLACK, limb)[:, 70].any(-1).sum()
    large = draw.sticks(np.zeros((1200, 1600, 3), np.uint8), limb)[:, 70].any(-1).sum()
    assert large > small


def test_words_are_white_with_a_dark_outline_on_any_ground() -> None:
    for ground in (0, 128, 255):
        picture = np.full((60, 200, 3), ground, np.uint8)
        out = draw.text(picture, "Driver", height=14)
        assert (out == 255).all(-1).sum() > 60
        assert ground == 0 or (out < 60).all(-1).sum() > 60
        assert (picture == ground).all()


def test_words_too_long_are_set_smaller_and_none_falls_outside() -> None:
    out = draw.text(BLACK, "m" * 200, height=14)
    columns = np.flatnonzero(out.any((0, 2)))
    assert columns.max() < BLACK.shape[1] - 4
    assert columns.max() > BLACK.shape[1] - 30
    tiny = np.zeros((6, 8, 3), np.uint8)
    assert draw.text(tiny, "much too large").shape == tiny.shape


def test_letters_beyond_ascii_become_question_marks() -> None:
    assert (draw.text(BLACK, "ü") == draw.text(BLACK, "?")).all()


def test_words_stand_where_they_are_put() -> None:
    out = draw.text(BLACK, "x", at=(80, 40), height=12)
    y, x = np.nonzero(out.any(-1))
    assert 80 <= x.min() < 95
    assert 40 <= y.min() < 65


def test_discs_are_one_within_the_radius_and_empty_for_unseen_joints() -> None:
    xy = np.array([[10.0, 5.0], [3.0, 3.0]])
    maps = draw.discs(xy, np.array([0.7, 0.0]), (12, 20), 2.5)
    assert maps.shape == (2, 12, 20)
    assert maps.dtype == np.float32
    y, x = np.mgrid[:12, :20]
    assert (maps[0] == (np.hypot(x - 10, y - 5) <= 2.5)).all()
    assert not maps[1].any()


def test_discs_with_an_edge_fall_off_evenly_about_their_radius() -> None:
    maps = draw.discs(np.array([[10.0, 5.0]]), np.ones(1), (12, 20), 3.0, 4.0)
    np.testing.assert_allclose(maps[0, 5, 10:17], [1, 1, 0.75, 0.5, 0.25, 0, 0], atol=1e-6)


def test_gaussians_peak_at_the_joint_and_fall_as_they_should() -> None:
    maps = draw.gaussians(np.array([[10.0, 5.0]]), np.ones(1), (12, 20), 3.0)
    assert maps.dtype == np.float32
    assert maps[0, 5, 10] == 1
    assert maps[0, 5, 13] == pytest.approx(np.exp(-0.5), rel=1e-5)
