"""The light of the source is learnt from its shadow, and cast again."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np

from dance import skeleton as sk
from dance.finish import silhouette_shadow
from dance.finish.shadow import Floor
from dance.finish.silhouette_shadow import Slant
from dance.types import Array, Frame, Moment, Person, Pose, Track, View

SIZE = (240, 200)
TRUE = Slant(aside=0.5, down=-0.2, strength=0.4)


def standing() -> tuple[Pose, Array]:
    """Somebody with their legs apart and one arm out, and their matte."""
    xy, score = np.zeros((133, 2), np.float32), np.zeros(133, np.float32)
    places = {
        sk.LEFT_HIP: (112, 130), sk.RIGHT_HIP: (92, 130), sk.LEFT_KNEE: (116, 165), sk.RIGHT_KNEE: (88, 165),
        sk.LEFT_ANKLE: (120, 200), sk.RIGHT_ANKLE: (84, 200), sk.LEFT_HEEL: (120, 204), sk.RIGHT_HEEL: (84, 204),
        sk.LEFT_BIG_TOE: (123, 206), sk.RIGHT_BIG_TOE: (81, 206),
    }  # fmt: skip
    for joint, place in places.items():
        xy[joint], score[joint] = place, 1
    alpha = np.zeros(SIZE, np.float32)
    cv2.rectangle(alpha, (90, 60), (114, 132), 1, -1)
    cv2.circle(alpha, (102, 48), 12, 1, -1)
    cv2.line(alpha, (114, 70), (150, 62), 1, 8)
    for hip, foot in (((110, 130), (121, 205)), ((94, 130), (83, 205))):
        cv2.line(alpha, hip, foot, 1, 10)
    return Pose(xy, score), alpha


def person(slant: Slant | None) -> Person:
    pose, alpha = standing()
    plate = np.full((*SIZE, 3), 170, np.uint8)
    rgb = plate.copy()
    if slant is not None:
        silhouette_shadow.cast(rgb, alpha, slant, Floor(206, 76, Fraction(0)))
    rgb[alpha > 0.5] = (60, 90, 160)
    view = View(Frame(rgb), pose, alpha)
    return Person([view], plate, Track([pose], [Fraction(0)], SIZE))


def test_the_direction_and_depth_of_a_shadow_are_found() -> None:
    slant = silhouette_shadow.learn(person(TRUE))
    assert slant is not None
    assert abs(slant.aside - TRUE.aside) <= 0.15
    assert abs(slant.down - TRUE.down) <= 0.06
    assert abs(slant.strength - TRUE.strength) <= 0.08


def test_no_shadow_gives_no_light() -> None:
    assert silhouette_shadow.learn(person(None)) is None


def test_a_dark_thing_on_the_floor_is_no_shadow() -> None:
    one = person(None)
    one.views[0].frame.rgb[190:205, 10:40] = 20
    assert silhouette_shadow.learn(one) is None


def test_a_person_out_of_the_picture_casts_nothing() -> None:
    rgb = np.full((*SIZE, 3), 170, np.uint8)
    silhouette_shadow.cast(rgb, np.zeros(SIZE, np.float32), TRUE, Floor(206, 76, Fraction(0)))
    assert (rgb == 170).all()


def test_an_arm_that_moves_moves_its_shadow() -> None:
    _, alpha = standing()
    down = alpha.copy()
    down[:, 118:] = 0
    pictures = []
    for silhouette in (alpha, down):
        rgb = np.full((*SIZE, 3), 170, np.uint8)
        silhouette_shadow.cast(rgb, silhouette, TRUE, Floor(206, 76, Fraction(0)))
        pictures.append(rgb.astype(int))
    assert np.abs(pictures[0] - pictures[1]).max() > 30


def test_learning_needs_feet() -> None:
    one = person(TRUE)
    pose = one.views[0].pose
    pose.score[sk.LEFT_ANKLE :] = 0
    assert Moment(pose, Fraction(0)).pose.found
    assert silhouette_shadow.learn(one) is None
