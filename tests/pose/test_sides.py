"""Left and right are mended where they were swapped, and left alone where they were not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dancers import all_xy, dance, noisy

from dance import skeleton as sk
from dance.pose import sides
from dance.types import Moment, Pose

SHOULDERS, ARMS, HIPS, LEGS = range(4)
OFFLINE = {"ahead": 100, "block": 100}
LIVE = {"ahead": 2, "care": 3.0}


def swapped(moments: Sequence[Moment], frames: range, parts: Sequence[int]) -> list[Moment]:
    which = np.zeros(4, bool)
    which[list(parts)] = True
    return [
        replace(m, pose=sides.swap(m.pose, which)) if t in frames else m
        for t, m in enumerate(moments)
    ]


def mended(moments: Sequence[Moment], **how: float) -> list[Moment]:
    return list(sides.mend(moments, **how))  # type: ignore[arg-type]


def wrong(moments: Sequence[Moment], truth: Sequence[Moment]) -> int:
    """Frames in which anything differs from the truth."""
    return int((np.abs(all_xy(moments) - all_xy(truth)).max((1, 2)) > 0).sum())


@pytest.mark.parametrize("how", [OFFLINE, LIVE])
@pytest.mark.parametrize("turn", [0.0, 1.5, -4.0])
@pytest.mark.parametrize("rate", [8.0, 30.0])
def test_a_person_who_turns_and_dances_is_left_alone(
    how: dict[str, float], turn: float, rate: float
) -> None:
    truth = noisy(dance(int(4 * rate), rate=rate, turn=turn), 0.02)
    assert wrong(mended(truth, **how), truth) == 0


@pytest.mark.parametrize("how", [OFFLINE, LIVE])
@pytest.mark.parametrize("parts", [[LEGS], [ARMS], [HIPS, LEGS], [SHOULDERS, ARMS, HIPS, LEGS]])
@pytest.mark.parametrize("length", [1, 3, 10])
def test_swaps_are_mended(how: dict[str, float], parts: list[int], length: int) -> None:
    truth = noisy(dance(80, turn=0.5), 0.02)
    bad = swapped(truth, range(20, 20 + length), parts)
    assert wrong(bad, truth) == length
    assert wrong(mended(bad, **how), truth) == 0


def test_the_fast_exchange_of_two_legs_is_no_swap() -> None:
    truth = dance(60)
    crossing = []
    for t, moment in enumerate(truth):
        # The ankles run through each other sideways within three frames, then stay crossed.
        shift = 120 * np.clip((t - 28) / 3, 0, 1)
        xy = moment.pose.xy.copy()
        xy[[sk.LEFT_ANKLE, sk.LEFT_KNEE], 0] -= shift / 2
        xy[[sk.RIGHT_ANKLE, sk.RIGHT_KNEE], 0] += shift / 2
        crossing.append(replace(moment, pose=replace(moment.pose, xy=xy)))
    assert wrong(mended(crossing, **OFFLINE), crossing) == 0


def test_everything_that_belongs_to_a_part_swaps_along() -> None:
    rng = np.random.default_rng(0)
    pose = Pose(
        rng.normal(size=(133, 2)).astype(np.float32),
        rng.uniform(0.1, 1, 133).astype(np.float32),
        rng.normal(size=133).astype(np.float32),
        rng.normal(size=(133, 3)).astype(np.float32),
    )
    other = sides.swap(pose, np.array([True, True, True, True]))
    for left, right in (
        (sk.LEFT_WRIST, sk.RIGHT_WRIST),
        (sk.LEFT_HEEL, sk.RIGHT_HEEL),
        (sk.INDEX["left_pinky_4"], sk.INDEX["right_pinky_4"]),
    ):
        for a, b in ((left, right), (right, left)):
            np.testing.assert_array_equal(other.xy[a], pose.xy[b])
            assert other.score[a] == pose.score[b]
            assert pose.depth is not None and other.depth is not None
            assert other.depth[a] == pose.depth[b]
            assert pose.world is not None and other.world is not None
            np.testing.assert_array_equal(other.world[a], pose.world[b])
    np.testing.assert_array_equal(other.xy[:5], pose.xy[:5])
    again = sides.swap(other, np.array([True, True, True, True]))
    np.testing.assert_array_equal(again.xy, pose.xy)


@pytest.mark.parametrize("how", [OFFLINE, LIVE])
def test_unseen_frames_and_missing_space_are_no_obstacle(how: dict[str, float]) -> None:
    truth = [
        replace(m, pose=Pose.unseen() if 30 <= t < 34 else replace(m.pose, world=None, depth=None))
        for t, m in enumerate(dance(80))
    ]
    bad = swapped(truth, range(50, 55), [LEGS])
    assert wrong(mended(bad, **how), truth) == 0


def test_a_cut_starts_anew() -> None:
    # The next scene shows the person mirrored: that is no swap.
    first, second = dance(40), dance(40)
    second = swapped(second, range(40), [SHOULDERS, ARMS, HIPS, LEGS])
    moments = [*first, replace(second[0], cut=True), *second[1:]]
    assert wrong(mended(moments, **OFFLINE), moments) == 0


@pytest.mark.parametrize("ahead", [0, 2, 5])
def test_no_frame_waits_longer_than_asked(ahead: int) -> None:
    taken = 0

    def counted(moments: Sequence[Moment]) -> object:
        nonlocal taken
        for moment in moments:
            taken += 1
            yield moment

    moments = dance(30)
    given = 0
    for given, _ in enumerate(sides.mend(counted(moments), ahead=ahead), start=1):  # type: ignore[arg-type]
        assert taken - given <= ahead
    assert given == 30


@pytest.mark.slow
def test_no_side_of_the_benchmarks_dancers_is_touched(shared: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    from dance import video
    from dance.pose.estimators import blazepose
    from dance.pose.follow import FollowOptions, follow

    estimator = blazepose.build(blazepose.Config(), "cpu")
    for clip in sorted((shared / "benchmark").glob("*/driver.mp4")):
        moments = list(follow(video.read(clip), estimator, FollowOptions()))
        assert wrong(mended(moments, **OFFLINE), moments) == 0, clip
