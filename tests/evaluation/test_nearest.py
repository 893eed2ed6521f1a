from dataclasses import replace

import numpy as np
import pytest
from figure import pose_at
from waving import waving

from dance import skeleton as sk
from dance.evaluation.nearest import COMPARED, NOBODY, fit, nearest
from dance.geometry import transform
from dance.types import Pose

KNOWN = [waving(40 + i, 20, 0.3 * i) for i in range(8)]


def moved(pose: Pose, scale: float, shift: tuple[float, float]) -> Pose:
    return replace(pose, xy=(pose.xy * scale + np.array(shift)).astype(np.float32))


def test_the_nearest_of_a_known_pose_is_that_pose() -> None:
    numbers, apart = nearest(KNOWN, KNOWN)
    assert numbers.tolist() == list(range(8))
    assert np.allclose(apart, 0, atol=1e-5)


def test_place_and_size_do_not_matter() -> None:
    wanted = [moved(KNOWN[5], 1.7, (300, -40)), moved(KNOWN[2], 0.4, (-9, 2))]
    numbers, apart = nearest(wanted, KNOWN)
    assert numbers.tolist() == [5, 2]
    assert np.allclose(apart, 0, atol=1e-5)


def test_the_distance_is_in_torso_lengths() -> None:
    off = waving(40, 20, 0.3)
    apart = [nearest([moved(off, scale, (0, 0))], [KNOWN[0]])[1][0] for scale in (1, 3)]
    assert 0.005 < apart[0] < 0.1
    assert apart[1] == pytest.approx(apart[0], rel=1e-4)


def test_of_equals_the_first_is_taken() -> None:
    assert nearest([KNOWN[3]], [KNOWN[0], KNOWN[3], KNOWN[3]])[0].tolist() == [1]


def test_joints_that_are_not_seen_are_not_compared_whatever_they_hold() -> None:
    xy, score = KNOWN[4].xy.copy(), KNOWN[4].score.copy()
    xy[sk.RIGHT_KNEE], score[sk.RIGHT_KNEE] = np.nan, 0
    numbers, apart = nearest([Pose(xy, score)], KNOWN)
    assert numbers.tolist() == [4] and apart[0] == pytest.approx(0, abs=1e-5)
    assert np.allclose(fit(Pose(xy, score), KNOWN[4]), np.eye(2, 3), atol=1e-6)


def test_a_pose_that_shows_too_little_is_never_the_nearest() -> None:
    score = np.where(np.arange(133) < 5, KNOWN[4].score, 0)
    numbers, _ = nearest([KNOWN[4]], [Pose(KNOWN[4].xy, score), KNOWN[0]])
    assert numbers.tolist() == [1]


def test_nobody_is_near_to_nobody() -> None:
    numbers, apart = nearest([Pose.unseen(), KNOWN[1]], KNOWN)
    assert numbers.tolist() == [NOBODY, 1] and np.isnan(apart[0])
    assert np.array_equal(fit(Pose.unseen(), KNOWN[0]), np.eye(2, 3))


def test_the_fit_finds_a_scale_and_a_shift_again() -> None:
    matrix = fit(KNOWN[2], moved(KNOWN[2], 1.5, (12, -7)))
    assert np.allclose(matrix, [[1.5, 0, 12], [0, 1.5, -7]], atol=1e-4)


def test_no_other_scale_and_shift_bring_a_pose_nearer() -> None:
    known, wanted = KNOWN[0], moved(KNOWN[6], 1.2, (5, 3))
    weight = (known.score * wanted.score)[COMPARED]

    def error(matrix: np.ndarray) -> float:
        apart = transform(known.xy[COMPARED].astype(float), matrix) - wanted.xy[COMPARED]
        return float((weight * (apart**2).sum(-1)).sum())

    best = fit(known, wanted)
    for change in (
        [[0.01, 0, 0], [0, 0.01, 0]],
        [[0, 0, 0.2], [0, 0, 0]],
        [[0, 0, 0], [0, 0, 0.2]],
    ):
        for sign in (1, -1):
            assert error(best + sign * np.array(change)) > error(best)


def test_a_mirrored_pose_is_not_the_same() -> None:
    front, back = pose_at(40, 40, 20), pose_at(40, 40, 20, facing=-1)
    numbers, _ = nearest([front], [back, KNOWN[7]])
    assert numbers.tolist() == [1]
    assert fit(back, front)[0, 0] > 0
