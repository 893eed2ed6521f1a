import numpy as np
import pytest

from dance.evaluation import motion


def walk(frames: int = 20, joints: int = 23) -> np.ndarray:
    """Joints that drift together; the torso is 50 pixels long."""
    rng = np.random.default_rng(0)
    still = rng.uniform(0, 100, (joints, 2))
    still[[5, 6]], still[[11, 12]] = [[40, 20], [60, 20]], [[45, 70], [55, 70]]
    way = np.stack([np.linspace(0, 30, frames), np.zeros(frames)], -1)
    return still + way[:, None]


def test_the_torso_is_measured_from_the_middle_of_the_shoulders_to_the_middle_of_the_hips() -> None:
    assert motion.torso_lengths(walk()) == pytest.approx(np.full(20, 50.0))


def test_an_error_of_a_tenth_of_the_torso_is_a_tenth() -> None:
    truth = walk()
    torso = motion.torso_lengths(truth)
    assert motion.mean_error(truth + np.array([3, 4]), truth, torso) == pytest.approx(0.1)
    assert motion.pck(truth + np.array([3, 4]), truth, torso) == 1
    assert motion.pck(truth + np.array([30, 40]), truth, torso) == 0


def test_joints_left_out_do_not_count() -> None:
    truth = walk()
    xy = truth.copy()
    xy[:, 0] += 500
    seen = np.ones(xy.shape[:2], bool)
    seen[:, 0] = False
    torso = motion.torso_lengths(truth)
    assert motion.mean_error(xy, truth, torso) > 0.1
    assert motion.mean_error(xy, truth, torso, seen) == 0
    assert motion.acceleration_error(xy + 1, truth, torso, seen) == pytest.approx(0, abs=1e-12)


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="truth's shape"):
        motion.mean_error(walk(), walk(19), motion.torso_lengths(walk()))


def test_a_steady_offset_has_no_acceleration_error_and_a_jitter_has_its_own() -> None:
    truth = walk()
    torso = motion.torso_lengths(truth)
    jitter = truth.copy()
    jitter[::2] += [5, 0]
    assert motion.acceleration_error(truth + 7, truth, torso) == pytest.approx(0, abs=1e-12)
    assert motion.acceleration_error(jitter, truth, torso) == pytest.approx(2 * 5 / 50)


def test_a_foot_that_should_stand_and_moves_slides() -> None:
    truth = walk(10)
    truth[:, 17] = truth[0, 17]
    torso = motion.torso_lengths(truth)
    still = motion.planted(truth, torso)
    assert still[:, 17].all() and not still[:, 18].any()
    slid = truth.copy()
    slid[:, 17, 0] += np.arange(10) * 2.5
    assert motion.foot_sliding(truth, torso, still) == 0
    assert motion.foot_sliding(slid, torso, still) == pytest.approx(2.5 / 50)


def test_measures_of_nothing_are_nan() -> None:
    one = walk(1)
    assert np.isnan(motion.acceleration_error(one, one, motion.torso_lengths(one)))
    assert np.isnan(
        motion.flicker([np.zeros((4, 4, 3), np.uint8)], [np.zeros((4, 4, 3), np.uint8)])
    )
    assert np.isnan(motion.warping_error([]))


def test_flicker_counts_only_change_the_truth_has_not() -> None:
    rng = np.random.default_rng(0)
    truth = [rng.integers(50, 200, (16, 16, 3)).astype(np.uint8) for _ in range(5)]
    darker = [frame - np.uint8(20) for frame in truth]
    blinking = [frame + np.uint8(20 * (i % 2)) for i, frame in enumerate(truth)]
    assert motion.flicker(darker, truth) == 0
    assert motion.flicker(blinking, truth) == pytest.approx(20)


def test_flicker_refuses_clips_of_different_length() -> None:
    frame = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        motion.flicker([frame, frame], [frame])


def textured(size: int = 96) -> np.ndarray:
    rng = np.random.default_rng(5)
    rough = rng.uniform(30, 225, (size // 6, size // 6, 3))
    return np.kron(rough, np.ones((6, 6, 1))).astype(np.uint8)


def test_moving_a_picture_is_no_warping_error_but_blinking_is() -> None:
    base = textured()
    moving = [np.roll(base, 2 * i, axis=1) for i in range(4)]
    blinking = [np.clip(base.astype(int) + 25 * (i % 2), 0, 255).astype(np.uint8) for i in range(4)]
    assert motion.warping_error([base] * 3) == pytest.approx(0, abs=0.5)
    assert motion.warping_error(moving) < 8
    assert motion.warping_error(blinking) > 15


@pytest.mark.parametrize("size", [(6, 6), (12, 96), (96, 12)])
def test_tiny_and_slender_pictures_can_be_measured(size: tuple[int, int]) -> None:
    crop = textured()[: size[0], : size[1]]
    assert motion.warping_error([crop] * 3) == pytest.approx(0, abs=0.5)
