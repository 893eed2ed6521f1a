"""A view as a texture of the body."""

import numpy as np
import pytest
from coloured_body import GREY, colours, person, photographed, rest, stance

from dance.surface import looks
from dance.surface.body import BONES
from dance.surface.dressed import dress
from dance.surface.looks import Look
from dance.types import Array

# The left hand before the belly.
HELD = stance(left_upper_arm=(0, 1.0, 0), left_forearm=(0, 1.3, 0))


@pytest.fixture(scope="module")
def front() -> Look:
    return dress(person(photographed(stance())), side=64).looks[0]


@pytest.fixture(scope="module")
def held() -> Look:
    return dress(person(photographed(HELD)), side=64).looks[0]


def chest() -> Array:
    vertices, _ = rest()
    names = np.array(BONES)[dress(person(photographed(stance())), side=64).weights.argmax(1)]
    return np.isin(names, ("spine", "chest", "upper_chest")) & (np.abs(vertices[:, 0]) < 0.12)


def test_what_faces_the_camera_is_seen_and_the_far_side_is_not(front: Look) -> None:
    vertices, _ = rest()
    middle = chest()
    near = middle & (vertices[:, 2] < np.percentile(vertices[middle, 2], 30))
    far = middle & (vertices[:, 2] > np.percentile(vertices[middle, 2], 70))
    assert front.seen[near].min() > 0.1 and np.median(front.seen[near]) > 0.8
    assert front.seen[far].max() == 0 and np.median(front.behind[far]) > 0.5


def test_vertices_lie_where_their_colours_are(front: Look) -> None:
    well = front.seen > 0.5
    wrong = np.abs(looks.sampled(front.rgb, front.xy[well]) - colours()[well])
    assert np.median(wrong) < 4


def test_a_hand_hides_the_belly_and_does_not_stand_for_its_back(front: Look, held: Look) -> None:
    names = np.array(BONES)[dress(person(photographed(stance())), side=64).weights.argmax(1)]
    trunk = np.isin(names, ("pelvis", "spine", "chest", "left_thigh", "right_thigh"))
    hidden = trunk & (front.seen > 0.3) & (held.seen == 0)
    assert hidden.sum() > 30
    assert held.behind[trunk].sum() < 0.97 * front.behind[trunk].sum()


def test_the_wall_is_nowhere_in_the_texture(front: Look) -> None:
    assert not (front.rgb == GREY).all(2).any()


def test_colours_are_carried_outward_from_well_inside() -> None:
    rgb, alpha = np.zeros((40, 60, 3), np.uint8), np.zeros((40, 60), np.float32)
    rgb[:, 20:40], alpha[:, 20:40] = (200, 100, 50), 1
    rgb[:, 19], alpha[:, 19] = (90, 90, 90), 0.6  # half wall
    carried = looks.carried(rgb, alpha, 2)
    assert (carried == (200, 100, 50)).all()


def test_places_are_sampled_between_pixels_and_held_at_the_edge() -> None:
    ramp = np.arange(12, dtype=np.float32).reshape(3, 4)
    places = np.array([[0.5, 0], [1, 1.5], [-5, 0], [9, 9]], np.float32)
    assert looks.sampled(ramp, places).tolist() == [0.5, 7.0, 0.0, 11.0]
    many = np.tile(places, (3000, 1))
    assert looks.sampled(ramp, many).reshape(3000, 4)[-1].tolist() == [0.5, 7.0, 0.0, 11.0]
