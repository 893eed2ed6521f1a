"""Colours of hands where the body's fingers lie on something else in the picture."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from coloured_body import rest

from dance.surface import body as bodies
from dance.surface import clothing, fields, hands
from dance.surface.body import BONES
from dance.surface.looks import Look
from dance.types import Array

SKIN, DARK_SKIN, COAT, GLOVE, SHADE = (220, 165, 150), (96, 62, 48), (20, 22, 30), (40, 70, 190), (150, 105, 95)  # fmt: skip
PALETTE = np.array([SKIN, DARK_SKIN, COAT, GLOVE, SHADE], np.uint8)


@dataclass(frozen=True, eq=False)
class Known:
    """The resting body with masks of its vertices."""

    vertices: Array
    joints: Array
    weights: Array
    faces: Array
    palms: dict[str, Array]
    fingers: dict[str, Array]

    def cleared(self, *shown: Look) -> tuple[list[Look], tuple[Array, Array] | None]:
        mean = fields.neighbours(self.faces, len(self.weights))
        out = clothing.directions(self.vertices, self.faces)
        found, hint = hands.cleared(
            shown, self.weights, (self.vertices, self.joints), out, self.faces, mean
        )
        return list(found), hint

    def look(self, body: tuple[int, ...] = SKIN, **hand: tuple[int, ...]) -> Look:
        """A picture in which everything has the colour of `body` but for what is named, such as left_fingers."""
        number = np.full(len(self.weights), colour(body))
        for name, value in hand.items():
            side, part = name.split("_")
            number[(self.palms if part == "palm" else self.fingers)[side]] = colour(value)
        # Patches of the palette, 9 pixels wide; hands lie far below the rest.
        rgb = np.repeat(np.tile(PALETTE, (109, 1, 1)), 9, axis=1)
        xy = np.column_stack([9 * number + 4, np.full(len(number), 4)]).astype(np.float32)
        for side in ("left", "right"):
            hand = self.palms[side] | self.fingers[side]
            xy[hand, 1] = np.linspace(101, 107, int(hand.sum()))
        ones = np.ones(len(number), np.float32)
        return Look(rgb, xy, ones, ones, np.zeros((len(BONES), 3, 3), np.float32), 2.0)


def colour(value: tuple[int, ...]) -> int:
    return PALETTE.tolist().index(list(value))


@pytest.fixture(scope="module")
def known() -> Known:
    body = bodies.load()
    vertices, joints = rest()
    weights = body.weights.numpy()
    palms, fingers = {}, {}
    for side in ("left", "right"):
        bone = BONES.index(f"{side}_hand")
        far = np.linalg.norm(vertices - joints[bone], axis=1) > np.linalg.norm(
            joints[BONES.index(f"{side}_fingers")] - joints[bone]
        )
        hand = weights[:, [bone, BONES.index(f"{side}_fingers")]].sum(1) > 0.5
        palms[side], fingers[side] = hand & ~far, hand & far
    faces = np.ascontiguousarray(body.faces.numpy(), np.int32)
    return Known(vertices, joints, weights, faces, palms, fingers)


@pytest.mark.parametrize("skin", [SKIN, DARK_SKIN])
def test_a_coat_beside_the_palm_is_not_taken_for_fingers(
    known: Known, skin: tuple[int, ...]
) -> None:
    given = known.look(skin, left_fingers=COAT)
    (look,), hint = known.cleared(given)
    inner = known.fingers["left"]
    assert look.seen[inner].max() == 0 and look.behind[inner].max() == 0
    assert look.seen[known.fingers["right"]].min() > 0.9
    assert hint is not None and np.abs(hint[1] - skin).max() < 2
    others = sum(known.palms.values()) + sum(known.fingers.values()) == 0
    assert np.array_equal(look.seen[others], given.seen[others])


def test_a_hand_in_a_pocket_shows_nothing(known: Known) -> None:
    (look,), hint = known.cleared(known.look(right_palm=COAT, right_fingers=COAT))
    assert look.seen[known.palms["right"] | known.fingers["right"]].max() < 0.9
    assert np.median(look.seen[known.palms["right"]]) == 0
    assert np.median(look.seen[known.palms["left"]]) == 1
    assert hint is not None and np.abs(hint[1] - SKIN).max() < 2


def test_gloves_are_kept(known: Known) -> None:
    worn = dict.fromkeys(("left_palm", "right_palm", "left_fingers", "right_fingers"), GLOVE)
    (look,), hint = known.cleared(known.look(**worn))
    assert look.seen[known.palms["left"] | known.fingers["left"]].min() > 0.9
    assert hint is not None and np.abs(hint[1] - GLOVE).max() < 2


def test_a_hand_in_another_light_is_kept(known: Known) -> None:
    shaded = known.look(left_palm=SHADE, left_fingers=SHADE)
    (_, look), _ = known.cleared(known.look(), shaded)
    assert np.median(look.seen[known.fingers["left"]]) > 0.9


def test_without_hands_or_a_face_nothing_changes(known: Known) -> None:
    unseen = replace(known.look(), seen=np.zeros(len(known.weights), np.float32))
    assert known.cleared(unseen) == ([unseen], None)


def test_the_rest_of_a_real_hand_is_not_painted_on_the_hip(known: Known) -> None:
    look = known.look(COAT, left_palm=SKIN, left_fingers=SKIN, right_palm=SKIN, right_fingers=SKIN)
    names = np.array(BONES)[known.weights.argmax(1)]
    thigh, xy = np.isin(names, ("left_thigh", "right_thigh")), look.xy.copy()
    stray = np.flatnonzero(thigh)[:40]
    xy[stray] = xy[known.palms["left"]][0] + [1, 0]
    (found,), _ = known.cleared(replace(look, xy=xy))
    assert found.seen[stray].max() == 0
    assert found.seen[names == "chest"].min() == 1


def test_hands_are_painted_over_with_what_is_around_them(known: Known) -> None:
    look = known.look()
    rgb = np.full((60, 60, 3), COAT, np.uint8)
    rgb[24:34, 24:34], rgb[:6, :6] = SKIN, SKIN
    hand = known.palms["left"] | known.fingers["left"]
    xy = np.full_like(look.xy, 200)
    xy[hand] = np.linspace([22, 22], [36, 36], int(hand.sum()))
    bare = hands.without(replace(look, rgb=rgb, xy=xy), known.weights, np.float32(SKIN))
    assert np.abs(bare[24:34, 24:34].astype(int) - COAT).max() < 10
    assert (bare[:6, :6] == SKIN).all()
