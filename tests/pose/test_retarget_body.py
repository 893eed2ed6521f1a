"""Retargeting with fitted 3-D bodies, against exact answers."""

from __future__ import annotations

from dataclasses import replace

import body_people as people
import numpy as np
import pytest

from dance.pose.retarget import GUESSED_SCORE, RetargetOptions, retarget
from dance.pose.retarget_body import Bodies
from dance.surface import stances
from dance.types import Camera, InputError, Moment, Physique, Pose, Track

SHORT = people.person(height=0.35, weight=0.8, gender=1.0)
TALL = people.person(height=0.7, legs=0.1, weight=0.3, gender=0.0)


def moved(
    driver: Track, source: Track, of: Physique = SHORT, own: Physique = TALL, **options: object
) -> Track:
    chosen = RetargetOptions.model_validate({"mode": "body"} | options)
    made = retarget(iter(driver), source, chosen, driver_size=driver.size, bodies=Bodies(of, own))
    return Track.gather(made, source.size)


@pytest.fixture(scope="module")
def driver() -> Track:
    return people.clip(SHORT, people.wave, lambda t: (0.02 * t, 4.0 - 0.03 * t))


@pytest.fixture(scope="module")
def source() -> Track:
    return people.clip(TALL, people.stand, frames=1)


def test_a_tall_person_after_a_short_one_is_where_the_exact_answer_is(
    driver: Track, source: Track
) -> None:
    legs = people.leg(TALL) / people.leg(SHORT)
    answer = people.clip(TALL, people.wave, lambda t: (0.02 * t * legs, 4.0 - 0.03 * t * legs))
    assert legs > 1.2
    assert people.unlike(moved(driver, source), answer).max() < 0.05


def test_a_person_after_themselves_is_the_driver() -> None:
    track = people.clip(SHORT, people.wave, lambda t: (0.02 * t, 4.0 - 0.03 * t))
    assert people.unlike(moved(track, track, SHORT, SHORT), track).max() < 0.02


def test_poses_have_the_bodys_joints_depths_and_places(driver: Track, source: Track) -> None:
    pose = moved(driver, source).poses[7]
    assert pose.stance is not None and pose.world is not None and pose.depth is not None
    points = stances.joints([pose.stance], TALL)[0]
    assert np.allclose(stances.project(points, TALL.camera), pose.xy, atol=1e-2)
    assert np.allclose(pose.world, points - points[11:13].mean(0), atol=1e-5)
    assert np.allclose(pose.depth * points[11:13, 2].mean() / TALL.camera.focal, pose.world[:, 2], atol=1e-4)  # fmt: skip
    assert np.array_equal(pose.stance.turns[1:], driver.poses[7].stance.turns[1:])


def test_a_driver_who_dances_aside_and_farther_away_changes_nothing(source: Track) -> None:
    here = people.clip(SHORT, people.wave, lambda t: (0.02 * t, 4.0 - 0.03 * t))
    aside = people.clip(SHORT, people.wave, lambda t: (0.02 * t - 0.9, 5.0 - 0.03 * t))
    assert people.unlike(moved(aside, source), moved(here, source)).max() < 0.02


def test_frames_without_the_driver_stay_so_and_unseen_joints_are_guesses(
    driver: Track, source: Track
) -> None:
    poses = list(driver.poses)
    poses[3] = Pose.unseen()
    score = poses[4].score.copy()
    score[[9, 100]] = 0
    poses[4] = replace(poses[4], score=score)
    result = moved(replace(driver, poses=poses), source)
    assert not result.poses[3].found and result.poses[3].stance is None
    assert result.poses[4].score[9] == np.float32(GUESSED_SCORE)
    assert result.poses[4].score[100] == 0
    rest = [i for i in range(len(driver)) if i not in (3, 4)]
    whole = moved(driver, source)
    assert np.abs(result.xy[rest] - whole.xy[rest]).max() < 1


def test_a_clip_without_the_driver_stays_one(driver: Track, source: Track) -> None:
    nobody = replace(driver, poses=[Pose.unseen()] * len(driver))
    assert not any(pose.found for pose in moved(nobody, source).poses)


def test_on_the_drivers_floor_the_person_is_where_and_as_tall_as_the_driver(
    driver: Track, source: Track
) -> None:
    wide = Physique(TALL.shape, Camera(0.8 * TALL.camera.focal, (470.0, 350.0)))
    result = moved(driver, source, own=wide, place="driver")
    height = np.ptp(driver.xy[:, :23, 1], axis=1)
    assert np.abs(np.ptp(result.xy[:, :23, 1], axis=1) / height - 1).max() < 0.06
    assert np.abs(result.xy[:, 17:23].mean(1) - driver.xy[:, 17:23].mean(1)).max() < 0.06 * height.mean()  # fmt: skip


def test_a_new_scene_goes_on_where_the_last_one_ended(driver: Track, source: Track) -> None:
    away = people.clip(SHORT, people.wave, lambda t: (-1.0, 6.0))
    both = Track(
        [*driver.poses, *away.poses],
        [*driver.times, *(t + 1 for t in away.times)],
        driver.size,
        frozenset({len(driver)}),
    )
    roots = np.stack([pose.stance.root for pose in moved(both, source).poses])
    assert np.linalg.norm((roots[len(driver)] - roots[len(driver) - 1])[[0, 2]]) < 0.05


def test_a_live_run_is_refused(driver: Track, source: Track) -> None:
    with pytest.raises(InputError, match="mode = body: needs the whole clip"):
        next(
            retarget(
                iter(driver), source, RetargetOptions(mode="body"),
                driver_size=driver.size, live=True, bodies=Bodies(SHORT, TALL),
            )
        )  # fmt: skip


def test_a_source_without_a_body_is_refused(driver: Track, source: Track) -> None:
    bare = replace(source, poses=[replace(source.poses[0], stance=None)])
    with pytest.raises(InputError, match="limbs needs none"):
        moved(driver, bare)


def test_a_driver_who_comes_too_near_is_told_of(source: Track) -> None:
    told: list[str] = []
    track = people.clip(SHORT, people.wave, lambda t: (0.0, 6.0 - 0.22 * t))
    moments: list[Moment] = list(
        retarget(
            iter(track), source, RetargetOptions(mode="body"),
            driver_size=track.size, bodies=Bodies(SHORT, TALL), report=told.append,
        )
    )  # fmt: skip
    assert any("comes nearer" in note for note in told)
    assert min(m.pose.stance.root[2] for m in moments if m.pose.stance) > 0.5
