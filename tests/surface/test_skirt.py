"""Cloth between the legs."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from coloured_body import PHYSIQUE, SIZE, person, photographed, pose, rest, stance

from dance.generators import avatar
from dance.surface.body import BONES
from dance.surface.dressed import Dressed, bones_of, dress
from dance.surface.outline import project
from dance.types import Array, Stance, View

RED = (250, 30, 30)
APART, WIDER = 0.12, 0.4


def parted(by: float, **turns: tuple[float, float, float]) -> Stance:
    return stance(left_thigh=(0, 0, -by), right_thigh=(0, 0, by), **turns)


def ends(shown: Stance, share: float) -> Array:
    """Where both legs are at that share of the thighs, (2, 2) pixels."""
    _, starts = bones_of(shown, rest()[1])
    hips, knees = (starts[[BONES.index(f"{side}_{part}") for side in ("left", "right")]] for part in ("thigh", "shin"))  # fmt: skip
    return project(hips + share * (knees - hips), PHYSIQUE.camera)


def skirted(shown: Stance | None = None, hem: float = 0.9) -> View:
    """The body in a red skirt that is straight between its thighs."""
    shown = shown or parted(APART)
    view = photographed(shown)
    cloth = np.zeros(SIZE, np.uint8)
    corners = np.concatenate([ends(shown, 0), ends(shown, hem)[::-1]])
    cv2.fillPoly(cloth, [np.round(corners).astype(np.int32)], 1)
    rgb, alpha = view.frame.rgb.copy(), view.alpha.copy()
    rgb[cloth > 0], alpha[cloth > 0] = RED, 1
    return View(replace(view.frame, rgb=rgb), view.pose, alpha)


@pytest.fixture(scope="module")
def dressed() -> Dressed:
    return dress(person(skirted()), side=64)


def drawn(view: View, shown: Stance) -> tuple[Array, Array]:
    generator = avatar.build(avatar.Config(side=64), "cpu")
    found, _ = generator.render(generator.encode(person(view)), [pose(shown)], None)
    assert found.alpha is not None
    return found.rgb[0].permute(1, 2, 0).numpy(), found.alpha[0, 0].numpy()


def test_a_skirt_is_found_and_legs_without_one_have_none(dressed: Dressed) -> None:
    (sheet,) = dressed.skirts
    assert sheet is not None
    row = ends(parted(APART), 0.9)[0, 1]
    assert abs(sheet.uv[:, 1].max() - row) < 8
    assert dress(person(photographed(parted(APART))), side=64).skirts == [None]
    assert dress(person(photographed(stance())), side=64).skirts == [None]


def test_in_the_pose_it_was_seen_in_it_is_where_it_was(dressed: Dressed) -> None:
    (sheet,) = dressed.skirts
    assert sheet is not None
    there = project(sheet.posed(*bones_of(parted(APART), rest()[1])), PHYSIQUE.camera)
    assert np.abs(there - sheet.uv).max() < 1.5


def test_it_stays_whole_between_legs_that_part() -> None:
    rgb, alpha = drawn(skirted(), parted(WIDER))
    middle = ends(parted(WIDER), 0.6).mean(0).round().astype(int)
    here = np.s_[middle[1] - 2 : middle[1] + 3, middle[0] - 3 : middle[0] + 4]
    assert alpha[here].min() > 0.95
    assert np.abs(rgb[here].astype(int) - RED).mean() < 15
    _, bare = drawn(photographed(parted(APART)), parted(WIDER))
    assert bare[here].max() == 0


def test_it_hangs_behind_the_legs(dressed: Dressed) -> None:
    rgb, _ = drawn(skirted(), parted(WIDER))
    plain, _ = drawn(photographed(parted(APART)), parted(WIDER))
    left = ends(parted(WIDER), 1.3)[0].round().astype(int)
    assert np.abs(rgb[left[1], left[0]].astype(int) - plain[left[1], left[0]]).max() < 25


def test_a_picture_that_ends_above_a_hem_tells_nothing() -> None:
    near = parted(APART)
    low = replace(near, root=near.root + np.float32([0, 0.65, 0]))
    assert ends(low, 1.0)[0, 1] > SIZE[0] - 1
    assert dress(person(skirted(low, 1.0)), side=64).skirts == [None]


def test_one_view_of_many_does_not_make_a_skirt() -> None:
    bare = photographed(parted(APART))
    assert dress(person(skirted(), bare, bare), side=64).skirts == [None] * 3
