"""Smoothing a dancer whose joints are known: trembling, outliers, gaps, cuts, odd times."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dancers import SEEN, TORSO, all_scores, all_xy, dance, error, hidden, noisy

from dance import devices
from dance import skeleton as sk
from dance.pose import sides
from dance.pose.smooth import SmoothOptions, smooth
from dance.types import Moment, Pose

Array = np.ndarray[Any, Any]

METHODS = ["kalman", "one_euro", "none"]


def smoothed(moments: Sequence[Moment], *, live: bool = False, **options: Any) -> list[Moment]:
    return list(smooth(moments, SmoothOptions(**options), live=live))


def unevenness(moments: Sequence[Moment], truth: Sequence[Moment]) -> float:
    """Mean error of the accelerations."""
    off = (all_xy(moments) - all_xy(truth))[:, SEEN]
    return float(np.linalg.norm(off[2:] - 2 * off[1:-1] + off[:-2], axis=2).mean())


@pytest.mark.parametrize("live", [False, True])
def test_trembling_is_taken_out_without_losing_the_dance(live: bool) -> None:
    truth = dance(100)
    shaky = noisy(truth, 0.03)
    steady = smoothed(shaky, live=live)
    assert unevenness(steady, truth) < 0.3 * unevenness(shaky, truth)
    assert error(steady, truth).mean() < 0.75 * error(shaky, truth).mean()


def test_one_euro_takes_trembling_out_too() -> None:
    truth = dance(100)
    shaky = noisy(truth, 0.03)
    assert unevenness(smoothed(shaky, method="one_euro"), truth) < 0.75 * unevenness(shaky, truth)


def test_depth_and_space_are_smoothed_along() -> None:
    truth = dance(100)
    shaky, steady = noisy(truth, 0.05), smoothed(noisy(truth, 0.05))

    def off(moments: Sequence[Moment], name: str) -> float:
        a = np.stack([getattr(m.pose, name)[SEEN] for m in moments])
        b = np.stack([getattr(m.pose, name)[SEEN] for m in truth])
        return float(np.abs(a - b).mean())

    assert off(steady, "depth") < 0.75 * off(shaky, "depth")
    assert off(steady, "world") < 0.75 * off(shaky, "world")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 40])
def test_every_moment_comes_out_at_its_time(method: str, live: bool, count: int) -> None:
    moments = [replace(m, cut=t in (5, 6, 20)) for t, m in enumerate(dance(count))]
    out = smoothed(moments, live=live, method=method)
    assert [(m.time, m.cut) for m in out] == [(m.time, m.cut) for m in moments]
    for a, b in zip(out, moments, strict=True):
        assert a.pose.region == b.pose.region
        assert a.pose.mask is None
        np.testing.assert_array_equal(a.pose.score, b.pose.score)
        np.testing.assert_allclose(a.pose.xy[SEEN], b.pose.xy[SEEN], atol=0.5 * TORSO)


def test_none_passes_everything_through_as_it_is() -> None:
    moments = dance(5)
    assert all(a is b for a, b in zip(smoothed(moments, method="none"), moments, strict=True))


def test_masks_are_dropped() -> None:
    moments = [replace(m, pose=replace(m.pose, mask=np.ones((9, 9)))) for m in dance(5)]
    assert all(m.pose.mask is None for m in smoothed(moments))


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("length", [1, 2])
def test_an_outlier_does_not_show(live: bool, length: int) -> None:
    truth = dance(80)
    bad = noisy(truth, 0.01)
    for t in range(40, 40 + length):
        xy = bad[t].pose.xy.copy()
        xy[sk.LEFT_WRIST] += (150, -80)
        bad[t] = replace(bad[t], pose=replace(bad[t].pose, xy=xy))
    off = np.linalg.norm(all_xy(smoothed(bad, live=live)) - all_xy(truth), axis=2)[:, sk.LEFT_WRIST]
    assert off[38:44].max() < (0.2 if length == 1 else 0.5) * TORSO


def test_a_real_fast_move_is_kept() -> None:
    # The wrist shoots a whole torso length away within three frames, and stays.
    moments = []
    for t, moment in enumerate(dance(80)):
        xy = moment.pose.xy.copy()
        xy[sk.LEFT_WRIST, 0] += TORSO * np.clip((t - 40) / 3, 0, 1)
        moments.append(replace(moment, pose=replace(moment.pose, xy=xy)))
    assert error(smoothed(moments), moments).max() < 0.25
    assert error(smoothed(moments), moments)[46:].max() < 0.1


def test_joints_seen_badly_count_less() -> None:
    def bump(value: float) -> float:
        """How far the curve follows a wrist off by a fifth of a torso for three frames."""
        truth = dance(60)
        bad = []
        for t, m in enumerate(truth):
            xy, score = m.pose.xy.copy(), m.pose.score.copy()
            if 30 <= t < 33:
                xy[sk.LEFT_WRIST, 0] += 0.2 * TORSO
                score[sk.LEFT_WRIST] = value
            bad.append(replace(m, pose=replace(m.pose, xy=xy, score=score)))
        return float((all_xy(smoothed(bad)) - all_xy(smoothed(truth)))[31, sk.LEFT_WRIST, 0])

    assert 0 < bump(0.1) < 0.5 * bump(1.0)


def gap(moments: Sequence[Moment], frames: range, joints: Sequence[int] | Array) -> list[Moment]:
    return [
        replace(m, pose=hidden(m.pose, joints)) if t in frames else m for t, m in enumerate(moments)
    ]


@pytest.mark.parametrize("method", ["kalman", "one_euro"])
def test_short_gaps_are_filled_with_a_falling_score_and_long_ones_stay(method: str) -> None:
    truth = dance(120)
    holes = gap(gap(truth, range(30, 40), [sk.LEFT_WRIST]), range(60, 90), [sk.LEFT_WRIST])
    score = all_scores(smoothed(holes, method=method, gap=0.5))[:, sk.LEFT_WRIST]
    assert (score[30:40] > 0).all()
    assert score[35] < score[31] < score[29]
    if method == "kalman":
        assert (score[60:90] == 0).all()
    assert (score[90:] > 0.9).all()
    np.testing.assert_array_equal(
        np.delete(score, range(30, 90)),
        np.delete(all_scores(truth)[:, sk.LEFT_WRIST], range(30, 90)),
    )


def test_a_filled_joint_is_about_where_it_was() -> None:
    truth = dance(100)
    holes = gap(truth, range(50, 56), [sk.LEFT_WRIST, sk.RIGHT_KNEE])
    assert error(smoothed(holes), truth)[50:56].max() < 0.35


def test_a_whole_pose_missing_for_a_moment_is_filled() -> None:
    truth = dance(80)
    holes = [replace(m, pose=Pose.unseen()) if 40 <= t < 44 else m for t, m in enumerate(truth)]
    out = smoothed(holes)
    assert all(m.pose.found for m in out)
    assert error(out, truth)[40:44].max() < 0.4
    assert out[41].pose.depth is not None
    assert out[41].pose.world is not None


def test_long_absences_stay_and_do_not_reach_into_what_is_seen() -> None:
    truth = dance(120)
    holes = [replace(m, pose=Pose.unseen()) if 40 <= t < 80 else m for t, m in enumerate(truth)]
    out = smoothed(holes)
    assert [m.pose.found for m in out] == [t < 40 or t >= 80 for t in range(120)]
    assert error(out, truth)[[39, 80]].max() < 0.15


def test_gap_zero_fills_nothing_and_still_smooths() -> None:
    truth = dance(80)
    shaky = gap(noisy(truth, 0.03), range(40, 41), [sk.NOSE])
    out = smoothed(shaky, gap=0)
    assert all_scores(out)[40, sk.NOSE] == 0
    assert unevenness(out[:40], truth[:40]) < 0.5 * unevenness(shaky[:40], truth[:40])


def test_live_a_hidden_joint_coasts_and_fades() -> None:
    holes = gap(dance(80), range(40, 80), [sk.LEFT_WRIST])
    out = smoothed(holes, live=True, gap=0.4)
    score = all_scores(out)[:, sk.LEFT_WRIST]
    assert (np.diff(score[40:51]) <= 0).all()
    assert score[40] > 0.5
    assert (score[51:] == 0).all()
    assert error(out, dance(80))[40:45].max() < 0.5


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("method", ["kalman", "one_euro"])
def test_nothing_reaches_over_a_cut(live: bool, method: str) -> None:
    first, second = noisy(dance(30), 0.02), noisy(dance(30), 0.02, seed=1)
    moved = [replace(m, pose=replace(m.pose, xy=m.pose.xy + np.float32(500))) for m in second]
    moved[0] = replace(moved[0], cut=True)
    both = smoothed([*first, *moved], live=live, method=method)
    apart = smoothed(first, live=live, method=method) + smoothed(moved, live=live, method=method)
    np.testing.assert_array_equal(all_xy(both), all_xy(apart))
    np.testing.assert_array_equal(all_scores(both), all_scores(apart))


def test_the_real_times_count() -> None:
    # A steady walk, with frames dropped in bursts: by its times the path is straight.
    kept = sorted({t for t in range(120) if t % 7 != 3 and not 50 <= t < 56})
    walk = []
    for t in kept:
        pose = dance(1)[0].pose
        xy = pose.xy + np.array([4.0 * t, 0], np.float32)
        walk.append(Moment(replace(pose, xy=xy), Fraction(t, 25)))
    assert error(smoothed(walk), walk).max() < 0.02
    wrong_times = [replace(m, time=Fraction(i, 25)) for i, m in enumerate(walk)]
    assert error(smoothed(wrong_times), walk).max() > 0.02


def test_equal_and_falling_times_do_no_harm() -> None:
    moments = dance(40)
    times = [m.time for m in moments]
    times[10] = times[9]
    times[20] = Fraction(0)
    odd = [replace(m, time=t) for m, t in zip(moments, times, strict=True)]
    for live in (False, True):
        out = smoothed(odd, live=live)
        assert np.isfinite(all_xy(out)).all()
        assert error(out, moments).max() < 0.5


def test_a_larger_person_is_smoothed_alike() -> None:
    def scaled(moments: Sequence[Moment], factor: float) -> list[Moment]:
        return [
            replace(m, pose=replace(m.pose, xy=m.pose.xy * np.float32(factor))) for m in moments
        ]

    shaky = noisy(dance(60), 0.03)
    for method in ("kalman", "one_euro"):
        small = all_xy(smoothed(shaky, method=method))
        large = all_xy(smoothed(scaled(shaky, 4), method=method))
        np.testing.assert_allclose(large, 4 * small, atol=0.05)


def test_fingers_and_face_are_smoothed_along() -> None:
    rng = np.random.default_rng(0)
    offsets = rng.normal(0, 8, (133, 2))

    def whole(m: Moment) -> Moment:
        xy, score = m.pose.xy.copy(), m.pose.score.copy()
        for where, joint in (
            (sk.FACE_SLICE, sk.NOSE),
            (sk.LEFT_HAND_SLICE, sk.LEFT_WRIST),
            (sk.RIGHT_HAND_SLICE, sk.RIGHT_WRIST),
        ):
            xy[where] = xy[joint] + offsets[where]
            score[where] = 0.9
        return replace(m, pose=replace(m.pose, xy=xy, score=score))

    truth = [whole(m) for m in dance(60)]
    shaky = noisy(truth, 0.03)
    steady = smoothed(shaky)
    before = np.abs(all_xy(shaky) - all_xy(truth))[:, 23:].mean()
    after = np.abs(all_xy(steady) - all_xy(truth))[:, 23:].mean()
    assert after < 0.75 * before


def test_blocks_do_not_show() -> None:
    truth = noisy(dance(700), 0.03)
    out = all_xy(smoothed(truth, sides=False))
    # The same frames in the middle of one block.
    shifted = all_xy(smoothed(truth[150:500], sides=False))
    np.testing.assert_allclose(out[200:400][:, SEEN], shifted[50:250][:, SEEN], atol=0.05)


def test_swapped_sides_are_mended_unless_told_not_to() -> None:
    truth = dance(60)
    legs = np.array([False, False, False, True])
    bad = [
        replace(m, pose=sides.swap(m.pose, legs)) if 25 <= t < 31 else m
        for t, m in enumerate(truth)
    ]
    assert error(smoothed(bad), truth)[25:31].max() < 0.25
    assert error(smoothed(bad, sides=False), truth)[25:31].max() > 0.25


@pytest.mark.parametrize("lag", [0, 1, 4, 9])
def test_live_is_late_by_the_lag_and_no_more(lag: int) -> None:
    taken = 0

    def counted() -> Iterator[Moment]:
        nonlocal taken
        for moment in dance(40):
            taken += 1
            yield moment

    given = 0
    late = []
    for given, _ in enumerate(smooth(counted(), SmoothOptions(lag=lag), live=True), start=1):
        late.append(taken - given)
    assert given == 40
    assert max(late) == lag


def test_long_clips_are_not_held_whole() -> None:
    taken = 0
    most = 0

    def counted() -> Iterator[Moment]:
        nonlocal taken
        still = dance(1)[0]
        for t in range(1500):
            taken += 1
            yield replace(still, time=Fraction(t, 25))

    for given, _ in enumerate(smooth(counted(), SmoothOptions()), start=1):
        most = max(most, taken - given)
    assert most < 700


@pytest.mark.slow
def test_whole_bodies_of_long_clips_take_seconds() -> None:
    moments = []
    for m in dance(1000):
        pose = m.pose
        score = np.full(133, 0.9, np.float32)
        moments.append(replace(m, pose=replace(pose, score=score)))
    # As in a run; otherwise the waiting of BLAS's threads is counted too.
    with devices.cores_for_stages():
        began = time.process_time()
        smoothed(moments)
        assert time.process_time() - began < 15


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "pck", "mean"),
    [
        ("d1_proportions", 0.965, 0.069),
        ("d2_child_small", 0.973, 0.081),
        ("d3_turned", 0.914, 0.089),
        ("d4_to_camera", 0.983, 0.066),
    ],
)
def test_the_benchmarks_drivers_are_met_better_than_by_the_mediapipe_runtime(
    shared: Path, name: str, pck: float, mean: float
) -> None:
    from dance import video
    from dance.pose.estimators import blazepose
    from dance.pose.follow import FollowOptions, follow

    folder = shared / "benchmark" / name
    truth = np.load(folder / "driver_keypoints.npz")["xyv"].astype(float)[:, 5:17, :2]
    middles = (truth[:, 0] + truth[:, 1] - truth[:, 6] - truth[:, 7]) / 2
    torso = np.linalg.norm(middles, axis=1)
    estimator = blazepose.build(blazepose.Config(), "cpu")
    raw = list(follow(video.read(folder / "driver.mp4"), estimator, FollowOptions()))
    out = smoothed(raw)

    def measure(moments: Sequence[Moment]) -> tuple[float, float, float]:
        off = all_xy(moments)[:, 5:17] - truth
        share = np.linalg.norm(off, axis=2) / torso[:, None]
        jerk = np.linalg.norm(off[2:] - 2 * off[1:-1] + off[:-2], axis=2).mean()
        return float((share < 0.2).mean()), float(share.mean()), float(jerk)

    before, after = measure(raw), measure(out)
    assert after[0] > pck
    assert after[1] < mean
    assert after[1] <= before[1]
    assert after[2] < 0.5 * before[2]
