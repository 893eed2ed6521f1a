"""The light of a place, learnt from a body's shadow, and how it falls on bodies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from coloured_body import PHYSIQUE, SIZE, pose, stance, surface
from lit_body import FACES, lamp, lit

from dance.surface import body as bodies
from dance.surface import light as lights
from dance.surface.fields import neighbours
from dance.types import Array, Light

MEAN = neighbours(FACES, len(bodies.load().weights))


def angle(a: Array, b: Array) -> float:
    return float(np.degrees(np.arccos(np.clip(a @ b, -1, 1))))


@pytest.mark.parametrize(("aside", "away"), [(0.6, 0.7), (-0.9, 0.4), (0.9, -0.2)])
def test_the_way_to_the_lamp_and_its_share_are_found(aside: float, away: float) -> None:
    true = lamp(aside, away)
    found = lights.learn(lit(true), PHYSIQUE)
    assert found is not None
    assert angle(found.towards, true.towards) < 12
    assert abs(found.share - true.share) < 0.08


def test_without_a_shadow_nothing_is_known_of_the_light() -> None:
    assert lights.learn(lit(None), PHYSIQUE) is None


def test_a_dark_thing_beside_the_feet_is_no_shadow() -> None:
    view = lit(None)
    rgb = view.frame.rgb.copy()
    rgb[150:, :40][view.alpha[150:, :40] < 0.01] = 60
    assert lights.learn(replace(view, frame=replace(view.frame, rgb=rgb)), PHYSIQUE) is None


def test_a_coloured_shape_is_no_shadow() -> None:
    """A mat that is as large and as dark as a shadow has a colour of its own."""
    dark, plain = lit(lamp(0.6, 0.7)).frame.rgb.astype(int), lit(None)
    there = (plain.frame.rgb.astype(int) - dark).mean(2) > 30
    rgb = plain.frame.rgb.copy()
    rgb[there] = (40, 90, 200)
    assert lights.learn(replace(plain, frame=replace(plain.frame, rgb=rgb)), PHYSIQUE) is None


def test_a_view_without_a_body_tells_nothing() -> None:
    view = lit(lamp(0.6, 0.7))
    assert lights.learn(replace(view, pose=pose(None)), PHYSIQUE) is None


def test_a_lamp_above_puts_the_shadow_under_the_feet_and_one_aside_beside_them() -> None:
    vertices = surface(stance())

    def middle(light: Light) -> float:
        height = lights.lowest(vertices, light)
        dark = lights.shadow(vertices, FACES, light, height, PHYSIQUE.camera, SIZE)
        return float(np.nonzero(dark)[1].mean())

    assert abs(middle(lamp(0.0, 0.0)) - 71.5) < 3
    assert middle(lamp(0.8, 0.0)) > 85


def test_what_faces_the_lamp_gets_more_light_than_what_is_turned_away() -> None:
    vertices = surface(stance())
    left = lights.falling(vertices, FACES, MEAN, lamp(-0.9, 0.3))  # the lamp is at the right
    right, other = vertices[:, 0] > 0.12, vertices[:, 0] < -0.12
    assert left[right].mean() > left[other].mean() + 0.2
    assert left.min() >= 0


def test_an_arm_before_the_body_keeps_the_light_from_it() -> None:
    light = lamp(-1.0, 1.0)
    held = stance(left_upper_arm=(0, 1.0, 0), left_forearm=(0, 1.3, 0))
    arms = [
        b
        for b, name in enumerate(bodies.BONES)
        if name.partition("_")[2] in ("clavicle", "upper_arm", "forearm", "hand", "fingers")
    ]
    elsewhere = bodies.load().weights.numpy()[:, arms].sum(1) < 0.01
    free, covered = (
        lights.falling(surface(shown), FACES, MEAN, light)[elsewhere] for shown in (stance(), held)
    )
    assert (free - covered > 0.2).sum() > 80
    assert (covered - free > 0.2).sum() < 10
