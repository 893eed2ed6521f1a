"""The driver's dance on the source's body: against exact answers, and what must not change it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import stick_people as people

from dance import skeleton as sk
from dance.pose.retarget import GUESSED_SCORE, RetargetOptions, retarget
from dance.types import Array, InputError, Moment, Pose, Track

BODY = slice(0, 23)
SHORT, TALL = people.person(1.5, arm=0.9), people.person(1.9, leg=1.1)


def moved(driver: Track, source: Track, *, live: bool = False, **options: object) -> list[Moment]:
    chosen = RetargetOptions.model_validate(options)
    return list(retarget(driver, source, chosen, driver_size=driver.size, live=live))


def xy(moments: list[Moment]) -> Array:
    return np.stack([m.pose.xy[BODY] for m in moments])


def torso(track: Track) -> float:
    return float(np.linalg.norm(track.xy[0, 5:7].mean(0) - track.xy[0, 11:13].mean(0)))


def edited(track: Track, change: Callable[[Pose], Pose], frames: range | None = None) -> Track:
    poses = [change(p) if frames is None or i in frames else p for i, p in enumerate(track.poses)]
    return Track(poses, track.times, track.size, track.cuts)


def without(pose: Pose, *joints: int) -> Pose:
    score, places, world = pose.score.copy(), pose.xy.copy(), pose.world.copy()
    score[list(joints)] = 0
    places[list(joints)] = 0
    world[list(joints)] = 0
    return replace(pose, score=score, xy=places, world=world)


def test_a_tall_person_after_a_short_one_is_where_the_exact_answer_is() -> None:
    driver = people.clip(SHORT, people.wave)
    source = people.clip(TALL, people.stand, frames=1)
    answer = people.clip(TALL, people.wave)
    errors = np.linalg.norm(xy(moved(driver, source)) - answer.xy[:, BODY], axis=-1)
    assert errors.mean() < 0.05 * torso(answer)


def test_the_way_to_the_camera_is_scaled_by_the_legs() -> None:
    driver = people.clip(SHORT, people.wave, lambda t: (0.02 * t, 6 - 0.06 * t), 50)
    source = people.clip(TALL, people.stand, lambda _: (0.0, 6.5), 1)
    legs = (TALL["thigh"] + TALL["shin"]) / (SHORT["thigh"] + SHORT["shin"])
    answer = people.clip(TALL, people.wave, lambda t: (legs * 0.02 * t, 6.5 - legs * 0.06 * t), 50)
    result = xy(moved(driver, source))
    grown = np.ptp(result[-1, :, 1]) / np.ptp(result[0, :, 1])
    right = np.ptp(answer.xy[-1, BODY, 1]) / np.ptp(answer.xy[0, BODY, 1])
    assert grown == pytest.approx(right, rel=0.1)
    size = np.linalg.norm(answer.xy[:, 5:7].mean(1) - answer.xy[:, 11:13].mean(1), axis=-1)
    errors = np.linalg.norm(result - answer.xy[:, BODY], axis=-1) / size[:, None]
    assert errors.mean() < 0.2


def test_identity_moves_no_joint_more_than_a_pixel() -> None:
    track = people.clip(SHORT, people.wave, lambda t: (0.3 * np.sin(t / 9), 4 - 0.02 * t))
    rng = np.random.default_rng(3)
    noisy = edited(
        track, lambda p: replace(p, xy=p.xy + rng.normal(0, 1.5, p.xy.shape).astype(np.float32))
    )
    for clip in (track, noisy):
        assert np.abs(xy(moved(clip, clip)) - clip.xy[:, BODY]).max() < 1


def test_the_size_and_the_place_of_the_driver_in_its_picture_change_nothing() -> None:
    driver, source = people.clip(SHORT, people.wave), people.clip(TALL, people.stand, frames=1)
    straight = xy(moved(driver, source))
    larger = edited(driver, lambda p: replace(p, xy=p.xy * 2))
    larger = Track(larger.poses, larger.times, (2 * driver.size[0], 2 * driver.size[1]))
    shifted = edited(driver, lambda p: replace(p, xy=p.xy + np.float32([30, -20])))
    assert np.abs(xy(moved(larger, source)) - straight).max() < 0.1
    assert np.abs(xy(moved(shifted, source)) - straight).max() < 0.1


def test_one_hidden_arm_changes_nothing_elsewhere() -> None:
    driver, source = people.clip(SHORT, people.wave), people.clip(TALL, people.stand, frames=1)
    arm = (sk.LEFT_ELBOW, sk.LEFT_WRIST)
    hidden = edited(driver, lambda p: without(p, *arm), range(10, 25))
    elsewhere = [j for j in range(23) if j not in arm]
    change = np.abs(xy(moved(hidden, source)) - xy(moved(driver, source)))[:, elsewhere]
    assert change.max() < 1


def test_a_turned_or_crouched_first_frame_changes_little_later() -> None:
    def odd_start(t: int) -> dict[str, float]:
        return {"turn": 1.3, "crouch": 1.0, "reach": 1.2} if t < 3 else people.wave(t)

    source = people.clip(TALL, people.stand, frames=1)
    straight = xy(moved(people.clip(SHORT, people.wave), source))
    odd = xy(moved(people.clip(SHORT, odd_start), source))
    change = np.linalg.norm(odd[3:] - straight[3:], axis=-1)
    assert change.mean() < 0.05 * torso(source)


@pytest.mark.parametrize("frames", [0, 1, 2, 7])
@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("mode", ["limbs", "none"])
def test_clips_of_any_length_give_as_many_moments_at_the_same_times(
    frames: int, live: bool, mode: str
) -> None:
    driver = people.clip(SHORT, people.wave, frames=frames)
    source = people.clip(TALL, people.stand, frames=1)
    result = moved(driver, source, live=live, mode=mode)
    assert [m.time for m in result] == list(driver.times)
    assert all(np.isfinite(m.pose.xy).all() for m in result)


def test_frames_without_the_person_stay_so() -> None:
    driver = people.clip(SHORT, people.wave, frames=20)
    gone = edited(driver, lambda _: Pose.unseen(), range(0, 5))
    gone = edited(gone, lambda _: Pose.unseen(), range(12, 15))
    source = people.clip(TALL, people.stand, frames=1)
    for live in (False, True):
        result = moved(gone, source, live=live)
        assert [m.pose.found for m in result] == [p.found for p in gone.poses]
    never = edited(driver, lambda _: Pose.unseen())
    assert not any(m.pose.found for m in moved(never, source))


def test_a_joint_unseen_for_a_moment_gets_a_place_near_where_it_was() -> None:
    driver, source = people.clip(SHORT, people.wave), people.clip(TALL, people.stand, frames=1)
    blinking = edited(driver, lambda p: without(p, sk.RIGHT_WRIST), range(20, 22))
    straight, result = moved(driver, source), moved(blinking, source)
    assert result[20].pose.score[sk.RIGHT_WRIST] == pytest.approx(GUESSED_SCORE)
    off = result[20].pose.xy[sk.RIGHT_WRIST] - straight[20].pose.xy[sk.RIGHT_WRIST]
    assert np.linalg.norm(off) < 0.1 * torso(source)


def test_a_driver_without_legs_in_the_picture_stands_at_the_sources_hips() -> None:
    legs = [*range(sk.LEFT_KNEE, sk.RIGHT_ANKLE + 1), *range(17, 23)]
    driver = edited(people.clip(SHORT, people.wave), lambda p: without(p, *legs))
    source = people.clip(TALL, people.stand, frames=1)
    notes: list[str] = []
    result = list(retarget(driver, source, driver_size=driver.size, report=notes.append))
    hips = result[0].pose.xy[11:13].mean(0) - source.xy[0, 11:13].mean(0)
    assert np.linalg.norm(hips) < 2
    assert result[5].pose.xy[sk.LEFT_ANKLE, 1] > result[5].pose.xy[sk.LEFT_KNEE, 1]
    assert any("feet" in note for note in notes) and any("knee" in note for note in notes)


def test_a_head_and_shoulders_source_gets_average_legs_and_says_so() -> None:
    below = [*range(sk.LEFT_ELBOW, sk.RIGHT_ANKLE + 1), *range(17, 23)]
    source = edited(people.clip(TALL, people.stand, frames=1), lambda p: without(p, *below))
    driver = people.clip(SHORT, people.wave)
    notes: list[str] = []
    result = list(retarget(driver, source, driver_size=driver.size, report=notes.append))
    assert any("thighs" in note for note in notes)
    whole = xy(result)
    assert np.isfinite(whole).all()
    shoulders = np.linalg.norm(source.xy[0, 5] - source.xy[0, 6])
    assert np.linalg.norm(whole[0, 5] - whole[0, 6]) == pytest.approx(shoulders, rel=0.15)
    assert np.linalg.norm(whole[0, 5:7].mean(0) - source.xy[0, 5:7].mean(0)) < shoulders / 2


def test_a_source_cut_at_the_knees_keeps_its_hips_where_they_are() -> None:
    legs = [*range(sk.LEFT_ANKLE, sk.RIGHT_ANKLE + 1), *range(17, 23)]
    whole = people.clip(TALL, people.stand, frames=1)
    low = edited(whole, lambda p: replace(without(p, *legs), xy=p.xy + np.float32([0, 150])))
    result = moved(people.clip(SHORT, people.stand), low)
    hips = result[0].pose.xy[11:13].mean(0) - low.xy[0, 11:13].mean(0)
    assert np.linalg.norm(hips) < 0.15 * torso(low)


def test_a_jump_is_as_many_leg_lengths_high() -> None:
    def jumping(t: int) -> dict[str, float]:
        return {"jump": 0.3 * np.sin((t - 15) / 10 * np.pi) if 15 <= t < 25 else 0.0}

    driver = people.clip(SHORT, jumping)
    source = people.clip(TALL, people.stand, frames=1)
    legs = (TALL["thigh"] + TALL["shin"]) / (SHORT["thigh"] + SHORT["shin"])
    result = xy(moved(driver, source))
    height = result[0, 17:23, 1].max() - result[20, 17:23, 1].max()
    pixels = 0.3 * legs * people.FOCAL * max(people.SIZE) / 4
    assert height == pytest.approx(pixels, rel=0.2)


def test_a_planted_foot_stays_as_still_as_the_drivers() -> None:
    def sway(t: int) -> dict[str, float]:
        return {"arms": 1 + np.sin(t / 3), "reach": 0.6 * np.sin(t / 5) ** 2}

    driver = people.clip(SHORT, sway)
    source = people.clip(TALL, people.stand, frames=1)
    feet = xy(moved(driver, source))[:, 17:23]
    assert np.abs(np.diff(feet, axis=0)).max() < 0.01 * torso(source)


def test_a_driver_who_walks_past_the_camera_leaves_the_source_before_it() -> None:
    driver = people.clip(SHORT, people.stand, lambda t: (0.0, 8 - 0.16 * t), 45)
    source = people.clip(TALL, people.stand, lambda _: (0.0, 2.6), 1)
    notes: list[str] = []
    result = list(retarget(driver, source, driver_size=driver.size, report=notes.append))
    heights = np.array([np.ptp(m.pose.xy[BODY, 1]) for m in result])
    assert np.isfinite(heights).all() and heights.max() < 7 * heights[0]
    assert any("nearer" in note for note in notes)


def test_a_cut_keeps_the_person_at_the_last_spot() -> None:
    near = people.clip(SHORT, people.stand, lambda _: (0.0, 3.0), 10)
    far = people.clip(SHORT, people.stand, lambda _: (0.8, 6.0), 10)
    times = [Fraction(t, 25) for t in range(20)]
    driver = Track([*near.poses, *far.poses], times, near.size, frozenset([10]))
    source = people.clip(TALL, people.stand, frames=1)
    for live in (False, True):
        result = moved(driver, source, live=live)
        assert [m.cut for m in result] == [t == 10 for t in range(20)]
        jump = result[10].pose.xy[BODY] - result[9].pose.xy[BODY]
        assert np.abs(jump).max() < 0.1 * torso(source)


def test_live_is_near_the_clips_result_and_looks_at_nothing_ahead() -> None:
    driver, source = people.clip(SHORT, people.wave, frames=30), people.clip(TALL, people.stand, frames=1)  # fmt: skip
    live = moved(driver, source, live=True)
    taken = 0

    def counted() -> object:
        nonlocal taken
        for moment in driver:
            taken += 1
            yield moment

    first = next(iter(retarget(counted(), source, driver_size=driver.size, live=True)))  # type: ignore[arg-type]
    assert taken == 1 and np.array_equal(first.pose.xy, live[0].pose.xy)
    off = np.linalg.norm(xy(live) - xy(moved(driver, source)), axis=-1)
    assert off.mean() < 0.1 * torso(source)


def test_the_same_input_gives_the_same_result() -> None:
    driver, source = people.clip(SHORT, people.wave), people.clip(TALL, people.stand, frames=1)
    assert np.array_equal(xy(moved(driver, source)), xy(moved(driver, source)))


def test_on_the_drivers_place_the_person_stands_where_the_driver_does_as_tall() -> None:
    driver = people.clip(SHORT, people.wave, lambda t: (0.5, 5 - 0.03 * t))
    source = people.clip(TALL, people.stand, frames=1, size=(300, 200))
    result = xy(moved(driver, source, place="driver"))
    wanted = driver.xy[:, BODY] / 2
    assert np.abs(result[:, 17:23].mean(1) - wanted[:, 17:23].mean(1)).max() < 0.15 * torso(source)
    assert np.ptp(result[0, :, 1]) == pytest.approx(np.ptp(wanted[0, :, 1]), rel=0.08)


def test_hands_and_face_are_carried_along_at_the_sources_size() -> None:
    def with_hand(pose: Pose) -> Pose:
        places, score = pose.xy.copy(), pose.score.copy()
        hand = range(sk.LEFT_HAND_SLICE.start, sk.LEFT_HAND_SLICE.stop)
        places[hand] = places[sk.LEFT_WRIST] + np.arange(21)[:, None] * np.float32([0.5, 1.0])
        face = range(sk.FACE_SLICE.start, sk.FACE_SLICE.stop)
        places[face] = places[sk.NOSE] + np.arange(68)[:, None] * np.float32([0.1, 0.1])
        score[[*hand, *face]] = 1
        return replace(pose, xy=places, score=score)

    driver = edited(people.clip(SHORT, people.wave), with_hand)
    result = moved(driver, people.clip(TALL, people.stand, frames=1))
    pose = result[7].pose
    assert np.linalg.norm(pose.xy[sk.LEFT_HAND_SLICE.start] - pose.xy[sk.LEFT_WRIST]) < 2
    assert (pose.score[sk.LEFT_HAND_SLICE] == 1).all()
    scale = np.linalg.norm(pose.xy[111] - pose.xy[91]) / np.linalg.norm(
        driver.xy[7, 111] - driver.xy[7, 91]
    )
    assert 1.0 < scale < 1.7
    assert (pose.score[sk.RIGHT_HAND_SLICE] == 0).all()
    assert np.linalg.norm(pose.xy[23] - pose.xy[sk.NOSE]) < 2


def test_none_fits_the_drivers_picture_into_the_sources_whole_and_in_the_middle() -> None:
    driver = people.clip(SHORT, people.wave, frames=3)
    source = people.clip(TALL, people.stand, frames=1, size=(300, 600))
    result = xy(moved(driver, source, mode="none"))
    corners = (driver.xy[:, BODY] + 0.5) / 2 - 0.5 + [200, 0]
    assert np.abs(result - corners).max() < 1e-3


def test_a_source_without_a_person_and_edn_live_are_refused() -> None:
    driver = people.clip(SHORT, people.wave, frames=3)
    nobody = Track([Pose.unseen()], [Fraction(0)], driver.size)
    with pytest.raises(InputError, match="source"):
        moved(driver, nobody)
    with pytest.raises(InputError, match="edn"):
        moved(driver, driver, live=True, mode="edn")
