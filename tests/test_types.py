from dataclasses import FrozenInstanceError
from fractions import Fraction

import numpy as np
import pytest

from dance.types import JOINTS, Box, Frame, Moment, Person, Pose, Track, View


def pose(x: float = 1.0) -> Pose:
    return Pose(np.full((JOINTS, 2), x, np.float32), np.ones(JOINTS, np.float32))


@pytest.mark.parametrize(
    "rgb",
    [
        np.zeros((4, 6), np.uint8),
        np.zeros((4, 6, 4), np.uint8),
        np.zeros((4, 6, 3), np.float32),
        np.zeros((1, 4, 6, 3), np.uint8),
    ],
)
def test_a_frame_refuses_what_is_not_an_rgb_picture(rgb: np.ndarray) -> None:
    with pytest.raises(ValueError, match="rgb must be"):
        Frame(rgb)


def test_a_frame_refuses_an_inexact_time() -> None:
    with pytest.raises(ValueError, match=r"Fraction, got 0\.04"):
        Frame(np.zeros((4, 6, 3), np.uint8), 0.04)  # type: ignore[arg-type]


def test_a_frame_refuses_an_alpha_of_another_size() -> None:
    with pytest.raises(ValueError, match="alpha must be"):
        Frame(np.zeros((4, 6, 3), np.uint8), alpha=np.ones((6, 4), np.float32))


def test_sizes_are_height_then_width() -> None:
    assert Frame(np.zeros((4, 6, 3), np.uint8)).size == (4, 6)


def test_records_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        pose().xy = np.zeros((JOINTS, 2), np.float32)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("field", "shape"),
    [("xy", (17, 2)), ("score", (17,)), ("depth", (17,)), ("world", (JOINTS, 2))],
)
def test_a_pose_refuses_a_field_of_another_shape(field: str, shape: tuple[int, ...]) -> None:
    fields = {"xy": np.zeros((JOINTS, 2)), "score": np.zeros(JOINTS), field: np.zeros(shape)}
    with pytest.raises(ValueError, match=f"{field} must be"):
        Pose(**fields)


def test_an_unseen_pose_has_no_joint() -> None:
    assert not Pose.unseen().found
    assert pose().found


def test_a_box_knows_its_sides() -> None:
    box = Box(1, 2, 4, 8)
    assert (box.width, box.height) == (3, 6)


def test_a_track_gathers_moments_and_gives_them_back() -> None:
    moments = [Moment(pose(i), Fraction(i, 25), cut=i == 2) for i in range(4)]
    track = Track.gather(iter(moments), (10, 20))
    assert len(track) == 4 and track.cuts == {2} and track.size == (10, 20)
    assert list(track) == moments
    assert track.xy.shape == (4, JOINTS, 2) and track.xy[3, 0, 0] == 3
    assert track.score.shape == (4, JOINTS)


def test_an_empty_track_has_empty_arrays() -> None:
    track = Track.gather([], (10, 20))
    assert len(track) == 0
    assert track.xy.shape == (0, JOINTS, 2) and track.score.shape == (0, JOINTS)


def test_a_track_refuses_more_poses_than_times() -> None:
    with pytest.raises(ValueError, match="got 2 and 1"):
        Track([pose(), pose()], [Fraction(0)], (10, 20))


def test_a_person_needs_a_view_and_has_the_size_of_the_plate() -> None:
    frame = Frame(np.zeros((4, 6, 3), np.uint8))
    track = Track([pose()], [Fraction(0)], (4, 6))
    view = View(frame, pose(), np.ones((4, 6), np.float32))
    assert Person([view], frame.rgb, track).size == (4, 6)
    with pytest.raises(ValueError, match="at least one view"):
        Person([], frame.rgb, track)
