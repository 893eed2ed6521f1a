"""The source is studied once, in a stream: its best views from all sides, and the place without them."""

import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest
from figure import by_colour, mask_of, painted, pose_at, room

from dance.person import PersonOptions, choose, direction, judge, sharpness, study, with_mask
from dance.types import Frame, InputError, Pose, Track

SIZE = (240, 320)
UNIT = 48.0


def clip(poses: list[Pose]) -> tuple[Callable[[], Iterator[Frame]], Track]:
    """A still camera's clip of the drawn person in those poses, and its track."""
    background = room(SIZE)

    def read() -> Iterator[Frame]:
        for i, pose in enumerate(poses):
            rgb = painted(background, mask_of(pose, SIZE, UNIT)) if pose.found else background
            yield Frame(rgb.copy(), Fraction(i, 25), i)

    return read, Track(poses, [Fraction(i, 25) for i in range(len(poses))], SIZE)


def walk(count: int = 8) -> list[Pose]:
    return [pose_at(90 + 20 * i, 120, UNIT) for i in range(count)]


class Masks:
    """An estimator that finds two people, and whose masks say which is which."""

    def __init__(self, people: list[Pose]) -> None:
        self.people = people

    def __call__(self, frame: Frame, near: Pose | None) -> list[Pose]:
        return [
            replace(p, mask=np.full(frame.size, i + 1, np.float32))
            for i, p in enumerate(self.people)
        ]

    def close(self) -> None:
        """Nothing is held."""


def test_a_clip_gives_views_and_the_empty_room() -> None:
    read, track = clip(walk())
    person = study(read, track, PersonOptions(views=3), segment=by_colour)
    assert 1 <= len(person.views) <= 3
    error = np.abs(person.plate.astype(int) - room(SIZE)).mean()
    assert error < 3
    for view in person.views:
        truth = mask_of(view.pose, SIZE, UNIT)
        both = ((view.alpha > 0.5) & (truth > 0.5)).sum() / (
            (view.alpha > 0.5) | (truth > 0.5)
        ).sum()
        assert both > 0.9


def test_a_photo_gives_one_view_and_a_filled_plate() -> None:
    read, track = clip([pose_at(160, 120, UNIT)])
    person = study(read, track, PersonOptions(), segment=by_colour)
    assert len(person.views) == 1 and person.track is track
    assert (person.plate[..., 0].astype(int) - person.plate[..., 1]).max() < 40


def test_a_clip_is_read_once_and_never_held_whole() -> None:
    poses = [pose_at(60 + 2 * i, 120, UNIT) for i in range(100)]
    pictures, track = clip(poses)
    alive: set[int] = set()
    most, reads = 0, 0

    def read() -> Iterator[Frame]:
        nonlocal most, reads
        reads += 1
        for frame in pictures():
            alive.add(frame.index)
            weakref.finalize(frame.rgb, alive.discard, frame.index)
            most = max(most, len(alive))
            yield frame

    study(read, track, PersonOptions(views=2, samples=6), segment=by_colour)
    assert reads == 1 and most <= 3 * 2 + 6 + 3


def test_a_turning_person_is_taken_from_all_sides_frontal_first() -> None:
    angles = np.linspace(0, 2 * np.pi, 48)
    poses = []
    for angle in angles:
        pose = pose_at(160, 120, UNIT, facing=float(np.cos(angle)))
        world = pose.world.copy()
        world[:, 2] *= np.sign(np.sin(angle))
        poses.append(replace(pose, world=world))
    _, track = clip(poses)
    chosen = choose(judge(track), 4)
    facing = np.array([direction(poses[i], UNIT) for i in chosen])
    assert facing[0, 0] > 0.95
    assert facing[:, 0].min() < -0.9 and facing[:, 1].min() < -0.7 and facing[:, 1].max() > 0.7


@pytest.mark.parametrize("known", ["world", "depth", "neither"])
def test_direction_is_known_with_and_without_depth(known: str) -> None:
    front, back = pose_at(0, 0, UNIT), pose_at(0, 0, UNIT, facing=-1)
    for pose, expected in ((front, 1), (back, -1)):
        depth = np.zeros(133, np.float32) if known == "depth" else None
        world = pose.world if known == "world" else None
        towards, _ = direction(replace(pose, world=world, depth=depth), UNIT)
        assert towards * expected > 0.9


def test_blurred_pictures_and_flashes_are_not_chosen() -> None:
    pictures, track = clip([pose_at(100 + 0.5 * i, 120, UNIT) for i in range(12)])

    def read() -> Iterator[Frame]:
        for frame in pictures():
            if frame.index < 4:
                yield replace(frame, rgb=cv2.GaussianBlur(frame.rgb, (0, 0), 4))
            elif frame.index < 8:
                yield replace(
                    frame, rgb=np.clip(frame.rgb.astype(int) + 90, 0, 255).astype(np.uint8)
                )
            else:
                yield frame

    person = study(read, track, PersonOptions(views=4), segment=by_colour)
    assert person.views[0].frame.index >= 8


def test_a_fast_moving_picture_is_worth_less_than_a_still_one() -> None:
    poses = [pose_at(x, 120, UNIT) for x in (100, 100, 100, 130, 160, 160, 160)]
    _, track = clip(poses)
    looks = judge(track)
    assert looks[3].quality < 0.6 * looks[1].quality


def test_a_person_cut_by_the_picture_is_worth_less_than_a_whole_one() -> None:
    _, track = clip([pose_at(160, 120, UNIT), pose_at(5, 120, UNIT)])
    looks = judge(replace(track, cuts=frozenset({1})))
    assert looks[1].quality < 0.7 * looks[0].quality


def test_sharpness_falls_with_blur() -> None:
    pose = pose_at(160, 120, UNIT)
    rgb = painted(room(SIZE), mask_of(pose, SIZE, UNIT))
    assert sharpness(cv2.GaussianBlur(rgb, (0, 0), 3), pose) < 0.5 * sharpness(rgb, pose)


def test_the_mask_of_the_same_person_is_taken() -> None:
    mine, other = pose_at(100, 120, UNIT), pose_at(240, 120, UNIT)
    frame = Frame(room(SIZE))
    found = with_mask(frame, mine, Masks([other, mine]))
    assert found.mask is not None and found.mask[0, 0] == 2
    assert with_mask(frame, pose_at(30, 120, UNIT), Masks([other])).mask is None


def test_only_the_first_scene_makes_the_plate() -> None:
    pictures, track = clip(walk(8) + walk(8))

    def read() -> Iterator[Frame]:
        for frame in pictures():
            yield frame if frame.index < 8 else replace(frame, rgb=frame.rgb[::-1].copy())

    person = study(read, replace(track, cuts=frozenset({8})), PersonOptions(), segment=by_colour)
    assert np.abs(person.plate.astype(int) - room(SIZE)).mean() < 3


def test_a_beginning_without_the_person_does_no_harm() -> None:
    read, track = clip([Pose.unseen(), Pose.unseen(), *walk(6), Pose.unseen()])
    person = study(read, track, PersonOptions(views=2), segment=by_colour)
    assert all(view.pose.found for view in person.views)


def test_nobody_is_an_error_that_says_what_would_be_right() -> None:
    read, track = clip([Pose.unseen()] * 3)
    with pytest.raises(InputError, match="whole person"):
        study(read, track, PersonOptions(), segment=by_colour)
