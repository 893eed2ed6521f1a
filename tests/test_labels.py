"""EDN's stick pictures: what is drawn, where, at any size."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from dance import labels
from dance import skeleton as sk
from dance.labels import LabelOptions
from dance.types import Pose

PICTURE = (360, 240)


def standing() -> Pose:
    """A person with everything seen, 320 high."""
    xy, score = np.zeros((133, 2), np.float32), np.ones(133, np.float32)
    body = {
        sk.NOSE: (120, 40), sk.LEFT_EYE: (126, 34), sk.RIGHT_EYE: (114, 34), sk.LEFT_EAR: (134, 38),
        sk.RIGHT_EAR: (106, 38), sk.LEFT_SHOULDER: (150, 80), sk.RIGHT_SHOULDER: (90, 80),
        sk.LEFT_ELBOW: (170, 130), sk.RIGHT_ELBOW: (70, 130), sk.LEFT_WRIST: (180, 180),
        sk.RIGHT_WRIST: (60, 180), sk.LEFT_HIP: (138, 190), sk.RIGHT_HIP: (102, 190),
        sk.LEFT_KNEE: (140, 260), sk.RIGHT_KNEE: (100, 260), sk.LEFT_ANKLE: (142, 330),
        sk.RIGHT_ANKLE: (98, 330), sk.LEFT_BIG_TOE: (156, 344), sk.LEFT_SMALL_TOE: (162, 340),
        sk.LEFT_HEEL: (136, 340), sk.RIGHT_BIG_TOE: (84, 344), sk.RIGHT_SMALL_TOE: (78, 340),
        sk.RIGHT_HEEL: (104, 340),
    }  # fmt: skip
    for joint, place in body.items():
        xy[joint] = place
    angle = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    xy[sk.FACE_SLICE] = np.stack([120 + 12 * np.cos(angle), 40 + 14 * np.sin(angle)], 1)
    for part, wrist in ((sk.LEFT_HAND_SLICE, (180, 180)), (sk.RIGHT_HAND_SLICE, (60, 180))):
        xy[part] = np.array(wrist) + np.stack([np.arange(21) % 5 * 3 - 6, np.arange(21)], 1)
    return Pose(xy, score)


def draw(pose: Pose, size: tuple[int, int] = PICTURE, **options: Any) -> np.ndarray:
    scaled = replace(pose, xy=pose.xy * np.array([size[1] / 240, size[0] / 360], np.float32))
    return labels.label(scaled, size, PICTURE, LabelOptions(**options))


def without(pose: Pose, *joints: int) -> Pose:
    score = pose.score.copy()
    score[list(joints)] = 0
    return replace(pose, score=score)


def ink(picture: np.ndarray) -> np.ndarray:
    return np.asarray((picture < 250).any(-1))


def test_nobody_is_a_white_picture() -> None:
    assert (draw(Pose.unseen()) == 255).all()


@pytest.mark.parametrize("joints", [18, 23, 25])
def test_all_seen_joints_are_discs_and_unseen_ones_are_not_drawn(joints: int) -> None:
    options = {"joints": joints, "hands": False, "face": 0, "detail": 3}
    # The left ankle ends a leg in the 18 joints, so that the foot is left out in all.
    feet = tuple(range(17, 23))
    whole = ink(draw(without(standing(), *feet), **options))
    assert all(whole[y, x] for x, y in standing().xy[[0, 5, 6, 9, 10, 13, 16]].astype(int))
    half = ink(draw(without(standing(), *feet, sk.LEFT_ANKLE), **options))
    x, y = standing().xy[sk.LEFT_ANKLE].astype(int)
    assert whole[y, x] and not half[y, x]


def test_feet_tell_18_joints_23_and_25_apart() -> None:
    def foot(joints: int, joint: int) -> bool:
        x, y = standing().xy[joint].astype(int)
        return bool(ink(draw(standing(), joints=joints, detail=3))[y, x])

    assert [foot(n, sk.LEFT_BIG_TOE) for n in (18, 23, 25)] == [False, True, True]
    assert [foot(n, sk.LEFT_SMALL_TOE) for n in (18, 23, 25)] == [False, True, True]
    # The heel is nearer to the ankle, but still outside its disc.
    assert [foot(n, sk.LEFT_HEEL) for n in (18, 23, 25)] == [False, False, True]


def test_left_and_right_have_colours_of_their_own_in_rgb() -> None:
    picture = draw(standing(), joints=25, face=0, hands=False, detail=3)
    x, y = standing().xy[sk.RIGHT_SHOULDER].astype(int)
    assert tuple(picture[y, x]) == pytest.approx((0, 85, 255), abs=60)
    x, y = standing().xy[sk.LEFT_ANKLE].astype(int)
    assert picture[y, x - 1, 0] > 180 and picture[y, x - 1, 2] < 80


@pytest.mark.parametrize(("face", "dots"), [(0, 0), (8, 8), (9, 9), (22, 22)])
def test_as_many_face_points_are_drawn_as_asked_for(face: int, dots: int) -> None:
    pose = without(standing(), *range(23))
    xy = pose.xy.copy()
    # Far enough apart to be counted; pupils are the means of the eyes' points.
    xy[sk.FACE_SLICE] = np.stack([12 + np.arange(68) % 9 * 26, 20 + np.arange(68) // 9 * 44], 1)
    picture = draw(replace(pose, xy=xy), face=face, hands=False, detail=3)
    # Two pupils may lie on other points.
    count, _ = cv2.connectedComponents((picture.min(-1) < 128).astype(np.uint8))
    assert dots - 2 <= count - 1 <= dots


def test_a_face_seen_badly_on_the_whole_is_not_drawn() -> None:
    score = standing().score.copy()
    score[:23], score[91:] = 0, 0
    score[sk.FACE_SLICE] = 0.19
    assert not ink(draw(replace(standing(), score=score))).any()
    score[sk.FACE_SLICE] = 0.21
    assert ink(draw(replace(standing(), score=score))).any()


def test_hands_can_be_left_out() -> None:
    with_hands, without_hands = (ink(draw(standing(), hands=hands)) for hands in (True, False))
    assert with_hands[182:202, 172:190].sum() > without_hands[182:202, 172:190].sum() + 40


@pytest.mark.parametrize("size", [(90, 60), (180, 120), (720, 480), (256, 256)])
def test_strokes_are_in_proportion_at_every_size(size: tuple[int, int]) -> None:
    darkness, whole = (255 - draw(standing(), s).astype(float).mean() for s in (size, (1080, 720)))
    # In the smallest a finger is thinner than a pixel.
    assert darkness == pytest.approx(whole, rel=0.3 if size[0] < 100 else 0.06)


def test_a_squeezed_picture_is_the_drawing_squeezed() -> None:
    plain, squeezed = draw(standing(), (360, 240), detail=3), draw(standing(), (360, 120), detail=3)
    back = labels.resize(plain, (360, 120))
    assert np.abs(back.astype(int) - squeezed).mean() < 1.0


def test_half_a_pixel_of_movement_is_seen() -> None:
    moved = replace(standing(), xy=standing().xy + np.array([0.5, 0], np.float32))
    assert np.abs(draw(standing()).astype(int) - draw(moved)).max() > 30


def test_joints_far_outside_the_picture_do_no_harm() -> None:
    xy = standing().xy.copy()
    xy[sk.LEFT_WRIST] = 3e6, -2e7
    picture = draw(replace(standing(), xy=xy), hands=False)
    assert ink(picture).any() and ink(picture).mean() < 0.3


def test_the_pose_is_left_as_it_was() -> None:
    pose = standing()
    before = pose.xy.copy()
    draw(pose)
    assert np.array_equal(pose.xy, before)
