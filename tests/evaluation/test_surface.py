"""Fitted bodies against exact truth: masks from an empty room, parts, bars."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from dance import skeleton as sk
from dance.evaluation import surface
from dance.surface import body, stances
from dance.types import Array, Camera, Physique, Pose, Stance, Track

SIZE = (240, 320)
ADULT = Physique(np.array(body.AVERAGE, np.float32), Camera(1.2 * 320, (159.5, 119.5)))


def standing(x: float = 0.0) -> Stance:
    count = len(body.BONES)
    root = np.array([x, 0.0, 3.0], np.float32)
    return Stance(np.zeros((count, 3), np.float32), root, np.ones(count, np.float32))


def track(*given: Stance | None) -> Track:
    blank = Pose(np.full((133, 2), 7, np.float32), np.full(133, 0.9, np.float32))
    poses = [replace(blank, stance=stance) for stance in given]
    return Track(poses, [Fraction(i, 25) for i in range(len(given))], SIZE)


@pytest.fixture
def answer(tmp_path: Path) -> Path:
    """The parts of a body that stands in the middle, as the answer's frames 0 and 6."""
    part = surface.part_map(ADULT, standing(), SIZE)
    iuv = np.zeros((2, *SIZE, 3), np.uint8)
    iuv[..., 0] = part
    np.savez(tmp_path / "iuv.npz", iuv=iuv, index=np.array([0, 6]))
    return tmp_path / "iuv.npz"


def test_the_part_map_is_a_whole_body_where_it_stands() -> None:
    part = surface.part_map(ADULT, standing(), SIZE)
    rows, columns = np.nonzero(part)
    assert len(np.unique(part)) > 12
    assert abs(columns.mean() - ADULT.camera.centre[0]) < 3
    head, left_foot = part[rows.min() + 5][part[rows.min() + 5] > 0], part[rows.max() - 2]
    assert set(head) <= {23, 24}
    assert set(left_foot[left_foot > 0]) <= {5, 6}


def test_the_same_body_has_all_parts_right_and_one_beside_it_few(answer: Path) -> None:
    same = track(*[standing()] * 7)
    assert surface.part_accuracy(answer, same, ADULT) == (1.0, 1.0)
    inside, whole = surface.part_accuracy(answer, track(*[standing(0.12)] * 7), ADULT)
    assert whole < inside < 0.9


def test_a_frame_without_a_body_counts_as_all_wrong(answer: Path) -> None:
    half = track(standing(), *[None] * 6)
    inside, whole = surface.part_accuracy(answer, half, ADULT)
    assert inside == 1.0 and whole == pytest.approx(0.5)


@pytest.fixture(scope="module")
def room() -> tuple[Array, Array, Array, Array]:
    """A patterned room, a picture of somebody red in it, their mask, and that of their shadow."""
    rng = np.random.default_rng(0)
    noise = cv2.GaussianBlur(rng.normal(0, 40, (*SIZE, 3)), (0, 0), 2)
    plate = np.clip(140 + 3 * noise, 30, 220).astype(np.uint8)
    person, shadow = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
    cv2.ellipse(person, (160, 110), (30, 90), 0, 0, 360, 1, -1)
    cv2.ellipse(shadow, (215, 195), (60, 14), 0, 0, 360, 1, -1)
    picture = np.where(shadow[..., None] > 0, plate * 0.6, plate.astype(float))
    picture = np.where(person[..., None] > 0, (200, 20, 30), picture)
    noisy = np.clip(picture + rng.normal(0, 2, picture.shape), 0, 255).astype(np.uint8)
    return plate, noisy, person > 0, (shadow > 0) & (person == 0)


def test_the_person_is_found_in_the_empty_room_and_the_shadow_is_doubtful(
    room: tuple[Array, Array, Array, Array],
) -> None:
    plate, picture, person, shadow = room
    mask, doubtful = surface.person_mask(picture, plate)
    sure = ~doubtful
    assert (mask & person & sure).sum() / ((mask | person) & sure).sum() > 0.95
    assert (doubtful & shadow).sum() > 0.8 * shadow.sum()
    assert not (mask & shadow & ~cv2.dilate(person.astype(np.uint8), np.ones((7, 7))).astype(bool)).any()  # fmt: skip


def test_the_empty_room_has_nobody_in_it(room: tuple[Array, Array, Array, Array]) -> None:
    mask, doubtful = surface.person_mask(room[0], room[0])
    assert not mask.any() and not doubtful.any()


def test_packed_masks_come_back(tmp_path: Path) -> None:
    masks = np.random.default_rng(1).random((3, 5, 7)) > 0.5
    np.savez(tmp_path / "m.npz", bits=np.packbits(masks.ravel()), shape=np.array(masks.shape))
    assert np.array_equal(surface.read_masks(tmp_path / "m.npz"), masks)


def test_joints_are_the_bodys_where_there_is_one() -> None:
    seen = surface.joints_seen(track(standing(), None), ADULT)
    there = stances.project(stances.joints([standing()], ADULT), ADULT.camera)[0]
    assert np.allclose(seen.xy[0], there, atol=1e-3)
    assert (seen.xy[1] == 7).all()


def test_limb_joints_of_a_skeleton_are_where_its_bones_begin() -> None:
    coco = surface.joints_seen(track(standing(), None), ADULT)
    seen = surface.with_bones(coco, ADULT)
    begins = body.rest(body.load(), torch.from_numpy(ADULT.shape))[1].numpy()
    shin = begins[body.BONES.index("left_shin")] - begins[0] + standing().root
    knee = stances.project(shin, ADULT.camera)
    assert np.allclose(seen.xy[0][sk.LEFT_KNEE], knee, atol=1e-2)
    assert np.array_equal(seen.xy[0][sk.NOSE], coco.xy[0][sk.NOSE])
    assert (seen.xy[1] == 7).all()


def test_bars_are_met_by_good_figures_and_each_is_missed_by_a_bad_one() -> None:
    good = {"keypoints": 0.06, "fitted": 0.05, "iou": 0.9, "parts": 0.85, "limbs": 0.14, "body": 0.1}  # fmt: skip
    assert [row["met"] for row in surface.verdicts([good, good])] == [True] * 4 + [None, True]
    changes = ({"fitted": 0.2, "keypoints": 0.3}, {"fitted": 0.0605, "keypoints": 0.06}, {"iou": 0.8}, {"parts": 0.7}, {"body": 0.2})  # fmt: skip
    for number, change in enumerate(changes):
        met = [row["met"] for row in surface.verdicts([good, good | change])]
        del met[4]
        assert met == [i != number for i in range(5)], change
