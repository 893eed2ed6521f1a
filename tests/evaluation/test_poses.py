from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from dance import skeleton
from dance.config import load
from dance.evaluation import mediapipe_runtime, poses
from dance.pipeline import VideoConfig
from dance.types import Pose, Track


def dancer(frames: int = 12) -> np.ndarray:
    """True joints (T, 23, 2) of somebody who sways; the torso is 50 pixels long."""
    rng = np.random.default_rng(0)
    still = rng.uniform(0, 200, (23, 2))
    places = {5: (60, 20), 6: (40, 20), 7: (75, 45), 8: (25, 45), 9: (80, 70), 10: (20, 70),
              11: (58, 70), 12: (42, 70), 13: (60, 110), 14: (40, 110), 15: (60, 150), 16: (40, 150)}  # fmt: skip
    for joint, place in places.items():
        still[joint] = place
    sway = np.stack([10 * np.sin(np.arange(frames) / 3), np.zeros(frames)], -1)
    return still + sway[:, None]


def estimates(truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    xy, score = np.zeros((len(truth), 133, 2)), np.zeros((len(truth), 133))
    xy[:, :23], score[:, :23] = truth, 1
    return xy, score


def track(xy: np.ndarray, score: np.ndarray) -> Track:
    made = [
        Pose(a.astype(np.float32), b.astype(np.float32)) for a, b in zip(xy, score, strict=True)
    ]
    return Track(made, [Fraction(i, 25) for i in range(len(made))], (200, 200))


def test_perfect_poses_are_perfect() -> None:
    truth = dancer()
    figures = poses.against_truth(*estimates(truth), truth)
    assert figures == pytest.approx(
        {"PCK@0.2": 1, "mean error": 0, "acceleration error": 0, "swapped": 0, "unseen": 0}
    )


def test_an_offset_of_a_tenth_of_the_torso_is_a_tenth() -> None:
    truth = dancer()
    xy, score = estimates(truth)
    assert poses.against_truth(xy + 5 / np.sqrt(2), score, truth)["mean error"] == pytest.approx(
        0.1
    )


def test_a_joint_without_an_estimate_is_missed_not_left_out() -> None:
    truth = dancer()
    xy, score = estimates(truth)
    xy[:, skeleton.LEFT_WRIST], score[:, skeleton.LEFT_WRIST] = 0, 0
    figures = poses.against_truth(xy, score, truth)
    assert figures["unseen"] == pytest.approx(1 / 12)
    assert figures["PCK@0.2"] == pytest.approx(11 / 12)
    assert figures["mean error"] == pytest.approx(1 / 12)
    assert figures["acceleration error"] == pytest.approx(0)


def test_swapped_sides_are_counted_pair_by_pair() -> None:
    truth = dancer()
    xy, score = estimates(truth)
    legs = [skeleton.LEFT_KNEE, skeleton.RIGHT_KNEE, skeleton.LEFT_ANKLE, skeleton.RIGHT_ANKLE]
    xy[:6, legs] = xy[:6][:, [legs[1], legs[0], legs[3], legs[2]]]
    assert poses.against_truth(xy, score, truth)["swapped"] == pytest.approx(6 * 2 / (12 * 6))


def runtime(truth: np.ndarray) -> mediapipe_runtime.RuntimePoses:
    landmarks = np.zeros((len(truth), 33, 4), np.float32)
    for name, i in skeleton.BLAZEPOSE.items():
        joint = skeleton.INDEX[name]
        if joint < 23:
            landmarks[:, i, :2], landmarks[:, i, 3] = truth[:, joint], 0.9
    return mediapipe_runtime.RuntimePoses(landmarks, np.ones(len(truth), bool), 1.0, 0.5)


def test_parity_is_the_distance_of_joints_both_call_visible(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    truth = dancer()
    xy, score = estimates(truth)
    hidden = xy.copy()
    hidden[:, :5] += 500
    sure = score.copy()
    sure[:, :5] = 0.4
    estimated = poses.Estimated(
        track(hidden + np.array([0, 1]), sure), track(hidden + np.array([0, 2]), sure)
    )
    monkeypatch.setattr(poses, "estimate", lambda clip, config: estimated)
    monkeypatch.setattr(mediapipe_runtime, "run", lambda python, clip, **how: runtime(truth))
    row = poses.parity_row(Path("a clip.mp4"), load(VideoConfig), Path("python"))
    assert row["clip"] == "a clip.mp4" and row["frames"] == 12
    assert row["median, raw"] == pytest.approx(1 / 50, abs=1e-5)
    assert row["median, smoothed"] == pytest.approx(2 / 50, abs=1e-5)


def test_a_clip_the_runtime_finds_nobody_in_compares_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    truth = dancer()
    estimated = poses.Estimated(track(*estimates(truth)), track(*estimates(truth)))
    found = runtime(truth)
    nobody = mediapipe_runtime.RuntimePoses(found.landmarks, np.zeros(12, bool), 1.0, 0.5)
    monkeypatch.setattr(poses, "estimate", lambda clip, config: estimated)
    monkeypatch.setattr(mediapipe_runtime, "run", lambda python, clip, **how: nobody)
    row = poses.parity_row(Path("clip.mp4"), load(VideoConfig), Path("python"))
    assert row["joints compared"] == 0 and np.isnan(row["median, raw"])  # type: ignore[arg-type]


def test_every_driver_gives_a_row_for_each_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = dancer()
    xyv = np.concatenate([truth, np.full((12, 23, 1), 2)], -1)
    (tmp_path / "one").mkdir()
    np.savez(tmp_path / "one" / "driver_keypoints.npz", xyv=xyv)
    shaky = track(*estimates(truth + 5 * (np.arange(12) % 2)[:, None, None]))
    steady = track(*estimates(truth))
    monkeypatch.setattr(poses, "estimate", lambda clip, config: poses.Estimated(shaky, steady))
    monkeypatch.setattr(mediapipe_runtime, "run", lambda python, clip: runtime(truth))
    config = load(VideoConfig)
    rows = list(poses.benchmark_rows([tmp_path / "one"], config, Path("python")))
    assert [row["poses"] for row in rows] == ["raw", "smoothed", "runtime"]
    assert rows[0]["acceleration error"] > 0.1 > rows[1]["acceleration error"]  # type: ignore[operator]
    assert len(list(poses.benchmark_rows([tmp_path / "one"], config, None))) == 2
