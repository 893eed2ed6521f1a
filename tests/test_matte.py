"""The matte ends where the person does, whoever else is there, with or without an estimator's mask."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from figure import blurred, by_colour, mask_of, painted, pose_at, room

from dance import skeleton as sk
from dance.matte import Background, foreground, matte, torso_length
from dance.matte.held import held
from dance.matte.refine import guided
from dance.types import Array, Frame, Pose

SIZE = (320, 256)
UNIT = 75.0


def person(x: float = 128) -> tuple[Array, Pose]:
    pose = pose_at(x, 160, UNIT)
    return mask_of(pose, SIZE, UNIT), pose


def iou(a: Array, b: Array) -> float:
    return float(((a > 0.5) & (b > 0.5)).sum() / ((a > 0.5) | (b > 0.5)).sum())


def test_the_matte_follows_the_picture_where_the_mask_is_coarse() -> None:
    mask, pose = person()
    coarse = blurred(mask, 10)
    frame = Frame(painted(room(SIZE), mask))
    alpha = matte(frame, replace(pose, mask=coarse), segment=by_colour)
    assert iou(alpha, mask) > 0.97 > iou(coarse, mask)
    assert float(np.abs(alpha - mask).mean()) < 0.25 * float(np.abs(coarse - mask).mean())


def test_without_an_estimators_mask_network_and_skeleton_do() -> None:
    mask, pose = person()
    alpha = matte(Frame(painted(room(SIZE), mask)), pose, segment=by_colour)
    assert iou(alpha, mask) > 0.96


def test_the_gap_between_the_legs_is_not_the_persons() -> None:
    mask, pose = person()
    frame = Frame(painted(room(SIZE), mask))
    alpha = matte(frame, replace(pose, mask=blurred(mask, 12)), segment=by_colour)
    assert alpha[245, 128] < 0.05 and alpha[245, 103] > 0.9


@pytest.mark.parametrize("masked", [True, False])
def test_somebody_else_in_the_picture_is_left_out(masked: bool) -> None:
    size = (320, 420)
    pose, other = pose_at(120, 160, UNIT), pose_at(320, 160, UNIT)
    mask, others = mask_of(pose, size, UNIT), mask_of(other, size, UNIT)
    frame = Frame(painted(painted(room(size), others), mask))
    near = replace(pose, mask=blurred(mask)) if masked else pose
    alpha = matte(frame, near, segment=by_colour)
    assert alpha[others > 0.5].mean() < 0.02
    assert iou(alpha, mask) > 0.95


def test_a_known_background_finds_the_hand_the_mask_has_lost() -> None:
    mask, pose = person()
    background = room(SIZE)
    coarse = blurred(mask)
    coarse[140:170, 185:] = 0
    frame = Frame(painted(background, mask))
    hand = (slice(150, 160), slice(183, 187))
    known = Background(background, np.ones(SIZE, bool))
    nothing = np.zeros
    plain = matte(
        frame, replace(pose, mask=coarse), segment=lambda x: nothing(x.shape[:2], np.float32)
    )
    helped = matte(
        frame, replace(pose, mask=coarse), background=known,
        segment=lambda x: nothing(x.shape[:2], np.float32),
    )  # fmt: skip
    assert helped[hand].mean() >= plain[hand].mean()
    assert iou(helped, mask) > 0.93


def test_a_cut_out_keeps_its_own_alpha() -> None:
    mask, pose = person()
    frame = Frame(painted(room(SIZE), mask), alpha=mask)
    assert np.array_equal(matte(frame, pose, segment=by_colour), mask)


def test_an_opaque_alpha_is_no_cut_out() -> None:
    mask, pose = person()
    frame = Frame(painted(room(SIZE), mask), alpha=np.ones(SIZE, np.float32))
    assert iou(matte(frame, pose, segment=by_colour), mask) > 0.9


def test_nobody_gives_an_empty_matte() -> None:
    assert not matte(Frame(room(SIZE)), Pose.unseen(), segment=by_colour).any()


def test_a_person_outside_the_picture_gives_an_empty_matte() -> None:
    assert not matte(Frame(room(SIZE)), pose_at(3000, 160, UNIT), segment=by_colour).any()


def test_the_same_matte_comes_out_twice() -> None:
    mask, pose = person()
    frame = Frame(painted(room(SIZE), mask))
    assert np.array_equal(*(matte(frame, pose, segment=by_colour) for _ in range(2)))


def test_foreground_colours_are_free_of_the_background() -> None:
    mask, _ = person()
    red, blue = np.array([200, 60, 60]), np.array([20, 40, 230])
    mixed = mask[..., None] * red + (1 - mask[..., None]) * blue
    colours = foreground(np.round(mixed).astype(np.uint8), mask)
    rim = (mask > 0.05) & (mask < 0.95)
    assert rim.sum() > 200
    assert np.abs(colours[rim] - red).mean() < 6 < np.abs(mixed[rim] - red).mean()


def test_foreground_continues_outside_the_matte() -> None:
    mask, _ = person()
    red = np.array([200, 60, 60])
    mixed = mask[..., None] * red + (1 - mask[..., None]) * np.array([20, 40, 230])
    colours = foreground(np.round(mixed).astype(np.uint8), mask)
    outside = (mask == 0) & (np.roll(mask, 2, 1) > 0.9)
    assert np.abs(colours[outside] - red).mean() < 12


def test_pixels_without_weight_do_not_count_in_the_guided_filter() -> None:
    guide = np.full((20, 20, 3), 0.5, np.float32)
    p, weight = np.zeros((20, 20), np.float32), np.full((20, 20), 1e-6, np.float32)
    p[:, 10:], weight[:, 10:] = 1, 1
    filtered = guided(guide, p, weight, radius=3, eps=1e-4)
    assert filtered[10, 9] > 0.8  # a plain mean gives 0.4


def test_torso_length_is_not_fooled_by_foreshortening() -> None:
    pose = pose_at(100, 100, 50)
    turned = pose_at(100, 100, 50, facing=0.1)
    assert torso_length(turned) == pytest.approx(torso_length(pose), rel=0.1)


def with_bag(background: Array) -> tuple[Frame, Pose, Array]:
    mask, pose = person()
    bag = np.zeros(SIZE, np.uint8)
    wrist = pose.xy[sk.LEFT_WRIST].astype(int)
    cv2.line(bag, tuple(wrist), (int(wrist[0]) + 6, int(wrist[1]) + 30), 1, 3)
    cv2.ellipse(bag, (int(wrist[0]) + 8, int(wrist[1]) + 46), (16, 20), 0, 0, 360, 1, -1)
    rgb = painted(background, mask)
    rgb[(bag > 0) & (mask < 0.5)] = (40, 70, 160)
    return Frame(rgb), pose, (bag > 0) & (mask < 0.5)


def test_a_bag_before_a_plain_wall_is_the_persons() -> None:
    wall = (
        np.full((*SIZE, 3), 225, np.uint8) - np.linspace(0, 15, SIZE[1]).astype(np.uint8)[:, None]
    )
    frame, pose, bag = with_bag(wall)
    alpha = matte(frame, pose, segment=by_colour)
    assert alpha[bag].mean() > 0.85
    mask, _ = person()
    assert iou(alpha, np.maximum(mask, bag)) > 0.93


def test_on_a_busy_background_nothing_is_taken_for_a_bag() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (*SIZE, 3))
    mask, pose = person()
    frame = Frame(painted(cv2.GaussianBlur(noise.astype(np.uint8), (0, 0), 2), mask))
    assert not held(frame.rgb, mask, pose, UNIT).any()


def test_a_shadow_on_a_plain_wall_is_no_bag() -> None:
    mask, pose = person()
    wall = np.full((*SIZE, 3), 225, np.uint8)
    wall[100:260, 190:240] = 180
    assert not held(painted(wall, mask), mask, pose, UNIT).any()
