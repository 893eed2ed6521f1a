"""DensePose's parts on our body."""

import numpy as np
import pytest
import torch

from dance.surface import body as bodies
from dance.surface import parts
from dance.surface.body import AVERAGE, BONES, Body
from dance.types import Array


@pytest.fixture(scope="module")
def body() -> Body:
    return bodies.load()


@pytest.fixture(scope="module")
def part(body: Body) -> Array:
    return parts.part_of_faces(body)


@pytest.fixture(scope="module")
def middles(body: Body) -> Array:
    points = bodies.rest(body, torch.tensor(AVERAGE))[0].numpy()
    return points[body.faces.numpy()].mean(1)


def number(name: str) -> int:
    return parts.PARTS.index(name)


def test_numbers_are_those_of_denseposes_annotations() -> None:
    # "1, 2 = Torso, 3 = Right Hand, 4 = Left Hand, 5 = Left Foot, 6 = Right Foot, 7, 9 = Upper Leg Right, ..."
    assert [number("right hand"), number("left hand")] == [3, 4]
    assert [number("left foot"), number("right foot")] == [5, 6]
    for pair, name in (
        ((1, 2), "torso"), ((7, 9), "right thigh"), ((8, 10), "left thigh"), ((11, 13), "right shin"),
        ((12, 14), "left shin"), ((15, 17), "left upper arm"), ((16, 18), "right upper arm"),
        ((19, 21), "left forearm"), ((20, 22), "right forearm"), ((23, 24), "head"),
    ):  # fmt: skip
        assert {i for i, whole in enumerate(parts.PARTS) if name in whole} == set(pair)


def test_opposites_change_sides_and_nothing_else() -> None:
    for i, j in enumerate(parts.OPPOSITE):
        assert parts.OPPOSITE[j] == i
        swapped = {"left": "right", "right": "left"}
        words = [swapped.get(word, word) for word in parts.PARTS[i].split()]
        assert parts.PARTS[j].split() == words


def test_every_part_is_there_and_both_sides_alike(body: Body, part: Array) -> None:
    assert part.dtype == np.uint8 and set(np.unique(part)) == set(range(1, 25))
    twins = parts.twin_faces(body.faces.numpy(), body.mirror.numpy())
    np.testing.assert_array_equal(part[twins], np.array(parts.OPPOSITE)[part])


def test_parts_lie_where_their_names_say(body: Body, part: Array, middles: Array) -> None:
    joints = bodies.rest(body, torch.tensor(AVERAGE))[1].numpy()
    named = dict(zip(BONES, joints, strict=True))

    def middle(name: str) -> Array:
        where: Array = middles[part == number(name)].mean(0)
        return where

    # x to the picture's right (the person's left), y down, z away from the camera they look into.
    for name in parts.PARTS[1:]:
        if name.startswith(("left", "right")):
            assert (middle(name)[0] > 0) == name.startswith("left"), name
        if name.endswith("front"):
            assert middle(name)[2] < middle(name.replace("front", "back"))[2] - 0.02, name
    assert middle("left head")[1] < named["neck"][1] < middle("torso front")[1]
    assert named["left_thigh"][1] < middle("left thigh front")[1] < named["left_shin"][1]
    assert named["left_shin"][1] < middle("left shin back")[1] < named["left_foot"][1]
    assert named["left_upper_arm"][0] < middle("left upper arm back")[0] < named["left_forearm"][0]
    assert named["left_forearm"][0] < middle("left forearm front")[0] < named["left_hand"][0]


def test_every_part_hangs_together_but_for_the_eyes(body: Body, part: Array) -> None:
    patch, cut, origin = parts.patches(body.faces.numpy(), part)
    pieces = {int(p): len(np.unique(patch[part == p])) for p in np.unique(part)}
    eyes = {number("left head"), number("right head")}
    assert pieces == {p: 2 if p in eyes else 1 for p in range(1, 25)}
    np.testing.assert_array_equal(origin[cut], body.faces.numpy())


def test_what_juts_out_and_crumbs_go_to_their_neighbours() -> None:
    # A sheet of 6 x 6 quads, its left half 1, its right half 2, with a tooth and a crumb of 1 in the right.
    wanted = np.where(np.arange(36) % 6 < 3, 1, 2)
    labels = wanted.copy()
    labels[[9, 17]] = 1
    rows, columns = np.divmod(np.arange(36), 6)
    beside = np.stack(
        [
            np.where(columns > 0, np.arange(36) - 1, -1),
            np.where(columns < 5, np.arange(36) + 1, -1),
            np.where(rows > 0, np.arange(36) - 6, -1),
            np.where(rows < 5, np.arange(36) + 6, -1),
        ],
        1,
    )
    np.testing.assert_array_equal(parts.smoothed(labels, beside), wanted)


def test_a_patch_is_cut_where_it_only_touches_itself() -> None:
    # Two pairs of triangles that share one vertex, 2: of one label, yet two patches, and 2 is there twice.
    faces = np.array([[0, 1, 2], [0, 2, 3], [2, 4, 5], [2, 5, 6]])
    patch, cut, origin = parts.patches(faces, np.zeros(4))
    assert patch[0] == patch[1] != patch[2] == patch[3]
    assert (origin == 2).sum() == 2 and len(origin) == 8
    np.testing.assert_array_equal(origin[cut], faces)


def test_neighbours_are_found_behind_every_edge() -> None:
    faces = np.array([[0, 1, 2], [2, 1, 3], [0, 2, 4]])
    np.testing.assert_array_equal(parts.neighbours(faces), [[-1, 1, 2], [0, -1, -1], [0, -1, -1]])
