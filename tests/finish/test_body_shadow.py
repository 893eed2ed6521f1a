"""The shadow of a 3-D body: where its lamp leaves the floor dark, and under the feet."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from coloured_body import PHYSIQUE, SIZE, pose, stance

from dance.finish import body_shadow, compose
from dance.finish.body_shadow import Ground, Lamp
from dance.finish.compose import ComposeOptions
from dance.types import Array, Layer, Light, Moment, Pose

TOWARDS = np.array([-0.6, -1.0, -0.5], np.float32)
LAMP = Lamp(
    PHYSIQUE, Light(TOWARDS / np.linalg.norm(TOWARDS), np.array([0, -1, 0], np.float32), 0.5)
)
FLOOR = 200


def moment(shown: Pose, time: Fraction = Fraction(0), *, cut: bool = False) -> Moment:
    return Moment(shown, time, cut)


def darkened(shown: Pose, ground: Ground | None = None, contact: float = 0.3) -> Array:
    """How many levels each pixel of the floor loses."""
    rgb = np.full((*SIZE, 3), FLOOR, np.uint8)
    body_shadow.cast(rgb, moment(shown), LAMP, ground, contact)
    return FLOOR - rgb[..., 0].astype(int)


def test_the_shadow_falls_away_from_the_lamp_and_takes_its_share() -> None:
    dark = darkened(pose(stance()), contact=0.0)
    assert abs(dark.max() - 100) <= 5
    rows, columns = np.nonzero(dark > 50)
    assert columns.mean() > 80
    assert rows.min() > 110
    assert (dark[:100] == 0).all()


def test_under_the_feet_all_light_is_less() -> None:
    with_contact, without = (
        darkened(pose(stance()), contact=0.3),
        darkened(pose(stance()), contact=0),
    )
    added = with_contact - without
    rows, _ = np.nonzero(added > 10)
    assert len(rows) > 20
    assert rows.min() > 150


def test_an_arm_that_moves_moves_its_shadow() -> None:
    raised = stance(right_upper_arm=(0, 0, 1.2))
    changed = np.abs(darkened(pose(stance())) - darkened(pose(raised)))
    assert (changed > 20).sum() > 80


def test_one_who_jumps_leaves_the_shadow_on_the_floor() -> None:
    standing = stance()
    ground = body_shadow.follow(None, moment(pose(standing)), -0.9)
    later = moment(pose(standing), Fraction(1, 25))
    assert body_shadow.follow(ground, later, -0.5).height == pytest.approx(-0.9 + 0.2 / 25)
    assert body_shadow.follow(ground, later, -1.1).height == -1.1
    assert body_shadow.follow(ground, replace(later, cut=True), -0.5).height == -0.5


def test_nobody_casts_nothing_and_the_floor_is_remembered_until_a_cut() -> None:
    rgb = np.full((*SIZE, 3), FLOOR, np.uint8)
    ground = Ground(-0.9, Fraction(0))
    assert body_shadow.cast(rgb, moment(Pose.unseen()), LAMP, ground, 0.3) is ground
    assert body_shadow.cast(rgb, moment(Pose.unseen(), cut=True), LAMP, ground, 0.3) is None
    assert (rgb == FLOOR).all()


def test_one_beside_the_picture_and_one_behind_the_camera_do_no_harm() -> None:
    for root in ((9.0, 0.0, 2.3), (0.0, 0.0, -1.0), (0.0, 0.0, 0.05)):
        shown = replace(stance(), root=np.array(root, np.float32))
        dark = darkened(pose(shown))
        assert dark.min() >= 0


@pytest.mark.parametrize("background", ["source", "white"])
def test_composed_the_lamp_is_that_of_the_source(background: str) -> None:
    clear = Layer(
        np.zeros((*SIZE, 3), np.uint8), np.zeros(SIZE, np.float32), moment(pose(stance()))
    )
    plate = np.full((*SIZE, 3), FLOOR, np.uint8)
    options = ComposeOptions(background=background)
    (frame,) = compose.compose([clear], options, plate=plate, lamp=LAMP)
    assert (np.ptp(frame.rgb) > 50) == (background == "source")
    none = ComposeOptions(background=background, shadow=0)
    (frame,) = compose.compose([clear], none, plate=plate, lamp=LAMP)
    assert np.ptp(frame.rgb) == 0
