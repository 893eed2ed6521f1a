"""Everybody Dance Now's normalisation against recorded runs of the published code, and its mended variant."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import stick_people as people

from dance.pose import edn_normalise as edn
from dance.pose.retarget import RetargetOptions, retarget
from dance.types import Track

PARTS = ("pose", "face", "hand_right", "hand_left")


@pytest.fixture(params=["edn_pose_normalisation", "edn_pose_normalisation_small_range"])
def run(shared: Path, request: pytest.FixtureRequest) -> dict[str, np.ndarray]:
    with np.load(shared / "oracles" / f"{request.param}.npz") as arrays:
        return dict(arrays)


def poses(run: dict[str, np.ndarray], key: str) -> np.ndarray:
    return run[key].reshape(len(run[key]), -1, 3)


def mapping(run: dict[str, np.ndarray]) -> edn.Norm:
    driver, person = poses(run, "in.source.pose"), poses(run, "in.target.pose")
    first, second = edn.replay(
        run["in.random_frame_draws_in_call_order_source_then_target"],
        edn.statistics(driver), edn.statistics(person), len(driver) - 1,
    )  # fmt: skip
    return edn.norm(second, first)


def test_statistics_of_frames_are_the_published_codes(run: dict[str, np.ndarray]) -> None:
    ours = edn.statistics(poses(run, "in.source.pose"))
    theirs = run["out.source_pose_stats_height_mintoe_maxtoe_nan_if_none"]
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_scales_and_ranges_are_the_published_codes(run: dict[str, np.ndarray]) -> None:
    norm = mapping(run)
    ours = [
        norm.scale_close, norm.scale_far, norm.max_toe, norm.horizon,
        norm.driver_max_toe, norm.driver_horizon,
    ]  # fmt: skip
    key = "out.norm_params_scaleclose_scalefar_mmaxtoe_mhorizon_tmaxtoe_thorizon"
    np.testing.assert_allclose(ours, run[key], rtol=1e-9, atol=1e-12)
    shifts = [norm.at(toe) for toe in run["in.t_coord"]]
    np.testing.assert_allclose(shifts, run["out.calculate_translation_diff_scale"], rtol=1e-9)


def test_normalised_and_filtered_joints_are_the_published_codes(
    run: dict[str, np.ndarray],
) -> None:
    driver = poses(run, "in.source.pose")
    transforms = edn.transforms(driver, mapping(run), 1920)
    for part in PARTS:
        points = poses(run, f"in.source.{part}")
        moved = np.stack(
            [
                np.concatenate([edn.apply(t, p[:, :2]), p[:, 2:]], -1)
                for t, p in zip(transforms, points, strict=True)
                if t is not None
            ]
        )
        ours = edn.median_filter(moved).reshape(-1, points.shape[1] * 3)
        np.testing.assert_allclose(ours, run[f"out.median.{part}"], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["edn_average_smoothing", "edn_average_smoothing_portrait"])
def test_averages_are_the_published_codes(shared: Path, name: str) -> None:
    facts = json.loads((shared / "oracles" / f"{name}.json").read_text(encoding="utf-8"))
    with np.load(shared / "oracles" / f"{name}.npz") as run:
        for part in PARTS:
            points = run[f"in.{part}"].reshape(len(run[f"in.{part}"]), -1, 3)
            framed = edn.into_frame(points, tuple(facts["frame_size_hw"]))
            ours = edn.average_smoothing(framed, facts["window"])
            theirs = run[f"out.average.{part}"].reshape(ours.shape)
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


def test_a_pose_is_body_23_in_the_published_order() -> None:
    xy = np.arange(266, dtype=np.float64).reshape(1, 133, 2)
    body = edn.body_23(xy, np.ones((1, 133)))[0]
    assert body.shape == (23, 3)
    right_ankle, left_ankle, nose, right_ear, left_ear = 16, 15, 0, 4, 3
    for place, joint in (
        (edn.RIGHT_ANKLE, right_ankle), (edn.LEFT_ANKLE, left_ankle), (edn.NOSE, nose),
        (edn.RIGHT_EAR, right_ear), (edn.LEFT_EAR, left_ear),
    ):  # fmt: skip
        assert tuple(body[place, :2]) == tuple(xy[0, joint])


def test_published_tests_the_left_ear_and_fixed_the_left_ankle() -> None:
    pose = np.ones((2, 23, 3))
    pose[0, edn.LEFT_EAR, 2] = 0
    pose[1, edn.LEFT_ANKLE, 2] = 0
    assert list(np.isnan(edn.statistics(pose, "published")[:, 0])) == [True, False]
    assert list(np.isnan(edn.statistics(pose, "fixed")[:, 0])) == [False, True]


def test_published_extrapolates_beyond_the_range_and_fixed_stops_at_its_ends() -> None:
    norm = edn.Norm(2.0, 1.0, 200.0, 100.0, 60.0, 40.0)
    assert norm.at(70.0, "published") == (180.0, 2.5)
    assert norm.at(70.0, "fixed") == (130.0, 2.0)
    assert norm.at(50.0, "published") == norm.at(50.0, "fixed") == (100.0, 1.5)


def test_fixed_heights_are_never_nothing() -> None:
    one = np.array([[100.0, 50.0, 60.0]])
    many = np.stack([np.full(9, 50.0), np.zeros(9), np.linspace(20, 60, 9)], 1)
    norm = edn.norm(one, many, "fixed")
    assert norm.scale_close == norm.scale_far == 2.0


@pytest.mark.parametrize("variant", ["published", "fixed"])
def test_edn_mode_keeps_the_count_and_times(variant: Literal["published", "fixed"]) -> None:
    person = people.person(1.7)
    driver = people.clip(person, people.wave, frames=5)
    source = people.clip(person, people.wave, frames=20)
    options = RetargetOptions(mode="edn", variant=variant)
    result = list(retarget(driver, source, options, driver_size=driver.size))
    assert [m.time for m in result] == list(driver.times)


def test_edn_mode_of_a_person_after_themselves_stays_near() -> None:
    track = people.clip(people.person(1.7), people.wave, frames=30)
    options = RetargetOptions(mode="edn", variant="fixed")
    result = Track.gather(retarget(track, track, options, driver_size=track.size), track.size)
    assert np.abs(result.xy[10:20, :17] - track.xy[10:20, :17]).mean() < 6
    assert result.times[3] == Fraction(3, 25)
