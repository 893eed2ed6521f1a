"""The plate shows the place without the person: from moving and still cameras, without their shadow."""

import cv2
import numpy as np
import pytest
from figure import mask_of, painted, pose_at, room

from dance import plate
from dance.types import Array

SIZE = (240, 320)
UNIT = 48.0


def sample(background: Array, x: float) -> plate.Sample:
    mask = mask_of(pose_at(x, 120, UNIT), SIZE, UNIT)
    person = cv2.dilate((mask > 0.02).astype(np.uint8), np.ones((5, 5))) > 0
    return plate.Sample(painted(background, mask), person)


def psnr(a: Array, b: Array) -> float:
    return float(10 * np.log10(255**2 / max(1e-9, np.mean((a.astype(float) - b) ** 2))))


def test_a_still_cameras_plate_is_the_room() -> None:
    background = room(SIZE)
    samples = [sample(background, x) for x in (90, 130, 170, 210, 250)]
    clean, known = plate.from_video(samples, pose_at(90, 120, UNIT))
    assert psnr(clean, background) > 40
    assert known is not None and known.known.mean() > 0.9


def test_a_drifting_cameras_plate_is_the_first_pictures_room() -> None:
    wide = room((300, 420), seed=3)
    samples = [
        sample(np.ascontiguousarray(wide[20 + k : 260 + k, 30 + 2 * k : 350 + 2 * k]), 90 + 30 * k)
        for k in range(6)
    ]
    clean, known = plate.from_video(samples, pose_at(90, 120, UNIT))
    assert psnr(clean, wide[20:260, 30:350]) > 32
    assert known is None


def test_a_flash_and_another_scene_are_left_out() -> None:
    background = room(SIZE)
    samples = [sample(background, x) for x in (90, 140, 190, 240)]
    flash = plate.Sample(
        np.clip(samples[1].rgb.astype(int) + 90, 0, 255).astype(np.uint8), samples[1].person
    )
    other = sample(np.ascontiguousarray(room(SIZE, seed=9)[::-1]), 160)
    clean, _ = plate.from_video([samples[0], flash, other, *samples[1:]], pose_at(90, 120, UNIT))
    assert psnr(clean, background) > 38


def test_a_sleeve_that_mattes_miss_again_and_again_does_not_stay() -> None:
    background = room(SIZE)
    samples = [sample(background, x) for x in np.linspace(150, 170, 12)]
    where = (slice(90, 120), slice(150, 166))  # inside the person in every picture
    shirt = samples[0].rgb[samples[0].person].astype(int)
    colour = shirt[np.argmax(shirt[:, 0] - shirt[:, 1])]
    for missed in samples[:3]:
        missed.rgb[where], missed.person[where] = colour, False
    clean, _ = plate.from_video(samples, pose_at(150, 120, UNIT))
    assert (np.abs(clean[where].astype(int) - colour).sum(-1) > 60).mean() > 0.95


def test_what_is_never_seen_is_filled_without_the_persons_colour() -> None:
    background = room(SIZE)
    samples = [sample(background, x) for x in (158, 160, 162)]
    clean, _ = plate.from_video(samples, pose_at(158, 120, UNIT))
    assert (clean[..., 0].astype(int) - clean[..., 1]).max() < 40
    assert psnr(clean, background) > 24


def test_black_bars_stay_black() -> None:
    background = room(SIZE)
    background[:30], background[-24:] = 0, 0
    samples = [sample(background, x) for x in (90, 150, 210)]
    for each in samples:
        each.rgb[:30], each.rgb[-24:] = 0, 0
    bars = plate.letter_box(samples[0].rgb)
    assert bars[:30].all() and bars[-24:].all() and not bars[40:200].any()
    clean, _ = plate.from_video(samples, pose_at(90, 120, UNIT))
    assert clean[:28].max() == 0 and clean[60:100].min() > 0


def test_a_bright_picture_has_no_bars() -> None:
    assert not plate.letter_box(room(SIZE)).any()


def shadowed(colour: tuple[float, float, float]) -> tuple[Array, Array, Array]:
    """A photo with something soft and dark on the floor by the feet; its area; the person's."""
    background = room(SIZE)
    spot = np.zeros(SIZE, np.float32)
    cv2.ellipse(spot, (200, 203), (48, 8), 0, 0, 360, 1, -1)
    spot = cv2.GaussianBlur(spot, (0, 0), 2)[..., None]
    photo = background * (1 - spot) + background * np.array(colour) * spot
    one = sample(photo.astype(np.uint8), 160)
    return one.rgb, spot[..., 0] > 0.5, one.person


def test_a_cast_shadow_is_found_and_taken_out() -> None:
    photo, spot, person = shadowed((0.55, 0.55, 0.55))
    found = plate.cast_shadow(photo, person, pose_at(160, 120, UNIT))
    assert found[spot & ~person].mean() > 0.9 and found.mean() < 3 * spot.mean()
    clean = plate.from_photo(photo, person, pose_at(160, 120, UNIT))
    assert psnr(clean[spot], room(SIZE)[spot]) > 24 > psnr(photo[spot], room(SIZE)[spot])


def test_a_coloured_rug_is_no_shadow() -> None:
    photo, spot, person = shadowed((0.2, 0.4, 1.0))
    assert not plate.cast_shadow(photo, person, pose_at(160, 120, UNIT))[spot].any()


def test_a_photos_plate_keeps_every_pixel_away_from_the_person() -> None:
    one = sample(room(SIZE), 160)
    clean = plate.from_photo(one.rgb, one.person, pose_at(160, 120, UNIT))
    assert np.abs(clean[:, :60].astype(int) - one.rgb[:, :60]).max() <= 2
    assert (clean[..., 0].astype(int) - clean[..., 1]).max() < 40


def test_noise_is_evened_out_and_edges_stay() -> None:
    wall = np.full((120, 160, 3), 120, np.uint8)
    wall[:, 80:] = 170
    noise = np.random.default_rng(2).normal(0, 3, wall.shape)
    photo = np.clip(np.round(wall + noise), 0, 255).astype(np.uint8)
    assert np.abs(plate.noise_level(photo) - 3).max() < 0.6
    calm = plate.without_noise(photo).astype(float)
    assert (calm - wall)[:, 8:72].std() < 0.5 * (photo.astype(float) - wall)[:, 8:72].std()
    assert np.abs(calm[:, [78, 81]].mean(0) - wall[0, [78, 81]]).max() < 4
    assert np.array_equal(plate.without_noise(wall), wall)


def test_a_picture_smaller_than_a_block_of_noise_has_a_noise_level() -> None:
    assert plate.without_noise(np.full((5, 7, 3), 9, np.uint8)).shape == (5, 7, 3)


def test_the_floor_keeps_its_lines_in_a_taken_out_shadow() -> None:
    floor = np.full((100, 160, 3), 150.0)
    floor[:, ::16] = 100
    shadow = np.zeros((100, 160), bool)
    shadow[30:70, 40:120] = True
    light = cv2.GaussianBlur(np.where(shadow, 0.55, 1.0), (0, 0), 2)[..., None]
    photo = np.round(floor * light).astype(np.uint8)
    grown = cv2.dilate(shadow.astype(np.uint8), np.ones((13, 13))) > 0
    plain = np.where(grown[..., None], 147, floor).astype(np.uint8)
    nobody, unknown = np.zeros_like(shadow), np.ones(shadow.shape, np.float32)
    clean = plate.lit(photo, plain, grown, nobody, UNIT, unknown)
    assert np.array_equal(clean[~grown], plain[~grown])
    assert psnr(clean[shadow], floor[shadow]) > psnr(plain[shadow], floor[shadow]) + 3
    known = plate.lit(photo, plain, grown, nobody, UNIT, light[..., 0].astype(np.float32))
    assert psnr(known[grown], floor[grown]) > psnr(clean[grown], floor[grown]) + 1


def test_a_shadow_that_reaches_the_pictures_edge_is_taken_out_where_it_is_known() -> None:
    background, pose = room(SIZE), pose_at(160, 120, UNIT)
    fallen = np.zeros(SIZE, np.float32)
    cv2.line(fallen, (165, 203), (319, 190), 1, 12)
    left = 1 - 0.45 * cv2.GaussianBlur(fallen, (0, 0), 1.5)
    one = sample((background * left[..., None]).astype(np.uint8), 160)
    dark = (fallen > 0) & ~one.person
    assert psnr(plate.from_photo(one.rgb, one.person, pose)[dark], background[dark]) < 16
    clean = plate.from_photo(one.rgb, one.person, pose, left)
    assert psnr(clean[dark], background[dark]) > 26


def test_hands_a_matte_has_missed_are_the_persons() -> None:
    pose = pose_at(160, 120, UNIT)
    area = plate.person_area(np.zeros(SIZE, np.float32), pose)
    for wrist, elbow in ((9, 7), (10, 8)):
        forearm = pose.xy[wrist] - pose.xy[elbow]
        x, y = np.round(pose.xy[wrist] + 0.2 * UNIT * forearm / np.linalg.norm(forearm)).astype(int)
        assert area[y, x]


def test_the_person_area_reaches_beyond_a_tight_matte() -> None:
    pose = pose_at(160, 120, UNIT)
    mask = mask_of(pose, SIZE, UNIT)
    area = plate.person_area(mask * (mask > 0.5), pose)
    assert area[mask > 0].all() and area.mean() < 2.2 * (mask > 0).mean()


@pytest.mark.parametrize("covered", [0, 1, 2])
def test_the_robust_median_ignores_covered_values(covered: int) -> None:
    pictures = [np.full((4, 4, 3), v, np.uint8) for v in (100, 102, 104)]
    persons = [np.zeros((4, 4), bool) for _ in pictures]
    pictures[covered][1, 1], persons[covered][1, 1] = 255, True
    samples = [plate.Sample(r, p) for r, p in zip(pictures, persons, strict=True)]
    out, seen = plate.robust_median(samples, np.full((4, 4), 0.5, np.float32))
    assert seen.all() and 100 <= out[1, 1, 0] <= 104 and out[0, 0, 0] == 102
